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

/* Whether the sender is to hear about this recipient now. */
int report_is_due(const struct queue_rcpt *r);

struct report {
	const struct queue_entry *entry; /* recipients for which report_is_due() */
	const char *hostname; /* ours */
	const char *to; /* who gets it: the header's To; printable ASCII */
	const char *id; /* queue id of the report, for its Message-ID and boundary */
	int64_t now; /* Unix time */
	int double_bounce; /* about a report that could not be delivered */
	struct str content; /* the original message, or at least its header */
	int whole; /* content is all of it */
};
/* Appends the whole message with CRLF line ends. E_TOOBIG. */
enum err report_write(const struct report *r, struct buf *out);
/* Whether the original is to be returned whole: asked for, and not too large; or a small failure.
 */
int report_returns_whole(const struct queue_entry *q);

#endif
