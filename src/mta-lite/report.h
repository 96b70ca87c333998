/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_REPORT_H
#define ROOST_MTA_REPORT_H

#include <stdint.h>

#include "lib/buf.h"
#include "mta-lite/queue_file.h"

/*
 * Delivery status notifications (RFC 3461 section 6, RFC 3464, multipart/report of RFC 6522): text
 * for people, fields for programs, and the message or its header.
 */

/* Whether the sender is to hear how it ended with this recipient. */
int report_is_due(const struct queue_rcpt *r);
/* Whether the sender, of a message that has waited long, is to hear that it waits for this one. */
int report_delay_is_due(const struct queue_rcpt *r);

enum report_kind {
	REPORT_FINAL, /* about recipients for which report_is_due() */
	REPORT_DELAY, /* about those for which report_delay_is_due() */
};

struct report {
	enum report_kind kind;
	const struct queue_entry *entry;
	const char *hostname; /* ours */
	const char *to; /* who gets it: the header's To */
	const char *id; /* queue id of the report, for its Message-ID and boundary */
	int64_t now; /* Unix time */
	int64_t retry_until; /* DELAY: Unix time */
	int postmaster; /* a copy for the postmaster */
	struct str content; /* the original message, or at least its header */
	int whole; /* content is all of it */
	int stays_here; /* it goes to mailboxes of ours, which have SMTPUTF8 */
};
/* Appends the whole message with CRLF line ends. E_TOOBIG. */
enum err report_write(const struct report *r, struct buf *out);
/* Whether addresses or text in the report need SMTPUTF8 (RFC 6533). */
int report_needs_utf8(const struct report *r);
/* Whether the original is to be returned whole: asked for, and not too large; or a small failure.
 */
int report_returns_whole(const struct queue_entry *q);

#endif
