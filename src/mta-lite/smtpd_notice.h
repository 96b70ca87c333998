/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_SMTPD_NOTICE_H
#define ROOST_MTA_SMTPD_NOTICE_H

#include "mta-lite/smtpd.h"

/* What roost-smtpd tells the administrator in a message of its own. */
struct smtpd_notice {
	const char *to; /* without a domain: an address of this host; "": nobody */
	const char *origin; /* a word or two for the queue's list of clients */
	const char *subject;
	struct str text; /* lines with CRLF */
};
/*
 * Queues it. E_NOTFOUND: nobody has the address; other errors: it may work later. id: its own, for
 * the log; set in any case. No report is ever made about it.
 */
enum err smtpd_notice_send(struct smtpd *d, const struct smtpd_notice *n, char id[QUEUE_ID_SIZE]);

/*
 * The transcript of a session, which error_notice_recipient gets when something happened in it
 * that notify_classes name: policy, protocol, resource, software, or bounce (an address that
 * nobody has).
 */
void smtpd_transcript_start(struct smtpd *d);
/* What was refused before the client came here (session_info.state). */
void smtpd_transcript_before(struct smtpd *d, struct str troubles);
/* A command, without its line end; and what was answered, one line or several. */
void smtpd_transcript_in(struct smtpd *d, struct str line);
void smtpd_transcript_out(struct smtpd *d, struct str reply);
/* Sends it if it is wanted. */
void smtpd_transcript_stop(struct smtpd *d);

#endif
