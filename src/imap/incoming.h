/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMAP_INCOMING_H
#define ROOST_IMAP_INCOMING_H

#include "imap/imap.h"

/*
 * One message of APPEND or REPLACE on its way in: flags, date and bytes (RFC 4466 section 2.3,
 * "append-message"). The bytes are a literal, a literal8 (RFC 3516 section 4.4), or are put
 * together from texts and messages that are here already (CATENATE, RFC 4469).
 */
struct imap_incoming {
	struct index_append *message;
	struct index_append_info info;
	struct imap_flags flags; /* what info points into */
	uint64_t size; /* octets so far */
	int replaces; /* set by the caller: another message goes for it, so the quota can wait */

	/* Why it is refused, e or text; the parser has its own error. */
	enum err e;
	const char *code, *text;
	struct buf code_text; /* of a code with an argument */
};

/*
 * Reads one message for the mailbox from where its options begin. OK: it is finished, to be
 * committed by the caller. E_CANCELLED: refused, imap_incoming_reply says why. Others are the
 * parser's. The caller calls imap_incoming_fini in each case.
 */
enum err imap_incoming_take(
	struct imap_session *s, struct imap_parser *p, uint32_t mailbox, struct imap_incoming *in);
/* For an error that the caller met: E_NOTFOUND is TRYCREATE. Returns E_CANCELLED. */
enum err imap_incoming_refuse(struct imap_incoming *in, enum err e);
/* The tagged NO. */
enum err imap_incoming_reply(struct imap_session *s, const struct imap_incoming *in);
/* A message that was not committed is gone then. A zeroed one is valid. */
void imap_incoming_fini(struct imap_incoming *in);

#endif
