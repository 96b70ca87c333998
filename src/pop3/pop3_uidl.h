/* SPDX-License-Identifier: MIT */
#ifndef ROOST_POP3_UIDL_H
#define ROOST_POP3_UIDL_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"

/* Unique ids of messages (RFC 1939 section 7): 1 to 70 characters from 0x21 to 0x7e. */

#define POP3_UIDL_DEFAULT "%v.%u"

struct pop3_uidl_parts {
	uint32_t uidvalidity, uid;
	const char *file; /* needed when the format has %f; see pop3_maildrop_file */
};

/*
 * Appends the id that format (the setting pop3_uidl_format) gives a message: %u is its UID, %v the
 * UIDVALIDITY, each with an optional "0", width and "X" for hexadecimal, as Dovecot has it
 * ("%08Xu%08Xv"); %f is the name of its file; %% is a percent sign. E_RANGE, nothing is appended:
 * the format is not usable: it has neither %u nor %f, anything else behind a percent sign, or gives
 * no valid id.
 */
enum err pop3_uidl_build(const char *format, const struct pop3_uidl_parts *parts, struct buf *out);
/* Whether there is an %f in it. */
int pop3_uidl_needs_file(const char *format);

/* Ids that messages had on the server before: "UID ID" lines of the file roost-uidl. */
struct pop3_uidls {
	struct pop3_uidl {
		uint32_t uid;
		char *id;
	} * v;
	size_t count, cap;
};
/* What is no such line is skipped. */
void pop3_uidls_parse(struct str text, struct pop3_uidls *out);
/* NULL: none. */
const char *pop3_uidls_find(const struct pop3_uidls *u, uint32_t uid);
void pop3_uidls_free(struct pop3_uidls *u);

#endif
