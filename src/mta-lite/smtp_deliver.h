/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_SMTP_DELIVER_H
#define ROOST_MTA_SMTP_DELIVER_H

#include "mta-lite/agent.h"
#include "mta-lite/smtp_out.h"
#include "mta-lite/transcript.h"

/*
 * A process's way to one destination: the connection stays open from one message to the next.
 * Zeroed but for out at first.
 */
struct smtp_session {
	const struct smtp_out *out;
	struct smtp_client *client; /* NULL: none */
	char *hop; /* where it leads, as the job had it */
	unsigned flags; /* of the messages that it is good for: SMTP_SESSION_FLAGS */
	char host[DNS_NAME_SIZE];
	char ip[NET_ADDR_TEXT];
	struct transcript transcript; /* of the connection, if notify_classes has protocol */
};
/* Messages with other ones of these want a connection of their own. */
enum { SMTP_SESSION_FLAGS = QUEUE_REQUIRETLS | QUEUE_TLS_OPTIONAL };

/*
 * Delivers the job to its next hop: finds the hosts (RFC 5321 section 5.1), tries them in order
 * until each recipient was taken or refused. All answers are set afterwards.
 */
void smtp_deliver(struct smtp_session *s, struct agent *a);
void smtp_session_close(struct smtp_session *s);
/* Sends the postmaster the transcript, by qmgr, when there is a reason to. */
void smtp_session_notice(struct smtp_session *s, struct agent *a);

#endif
