/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LMTP_DATA_H
#define ROOST_LMTP_DATA_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/str.h"

/* Takes some bytes of a message. Errors are the sink's to remember. */
typedef void (*lmtp_sink)(void *arg, const char *p, size_t len);

/*
 * The end of DATA (RFC 5321 sections 4.1.1.4 and 4.5.2). Only CRLF "." CRLF ends it; a bare LF or
 * CR is a byte like any other and begins no line, so that what one server takes for the text of a
 * message can never be the next command for another.
 */
struct lmtp_dot {
	int state;
};
#define LMTP_DOT_INIT ((struct lmtp_dot){0})

/*
 * Passes the text of p on with the dots unstuffed. Returns 1 once the end was seen; *used tells how
 * many bytes belong to the data, all of them when it returns 0.
 */
int lmtp_dot_feed(
	struct lmtp_dot *d, const char *p, size_t len, size_t *used, lmtp_sink sink, void *arg);

enum {
	LMTP_FIELD_LOOK = 1024, /* bytes of a header line that are looked at */
	LMTP_DELIVERED_MAX = 64 * 1024, /* bytes of Delivered-To values kept */
	LMTP_RECEIVED_MAX = 100, /* RFC 5321 section 6.3: more of them are a loop */
};

/*
 * Looks at the header on its way into the file: takes out Return-Path fields, which final delivery
 * replaces (RFC 5321 section 4.4), counts Received fields, keeps Delivered-To values and the
 * Message-ID. The body, and anything that is no header field, passes unchanged. Fields are private
 * but for the last three.
 */
struct lmtp_header {
	int in_body, dropping, in_line;
	char look[LMTP_FIELD_LOOK];
	size_t look_len;

	unsigned received;
	struct buf delivered; /* addresses in lower case, each ended by LF */
	struct buf message_id; /* as written, with its angle brackets; "" if none */
};
void lmtp_header_init(struct lmtp_header *h);
void lmtp_header_fini(struct lmtp_header *h);
void lmtp_header_feed(struct lmtp_header *h, const char *p, size_t len, lmtp_sink sink, void *arg);
/* The end of the message: passes on what was still being looked at. */
void lmtp_header_finish(struct lmtp_header *h, lmtp_sink sink, void *arg);
/* Whether address (in lower case) stood in a Delivered-To field. */
int lmtp_header_delivered_to(const struct lmtp_header *h, const char *address);

#endif
