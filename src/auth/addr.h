/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_ADDR_H
#define ROOST_AUTH_ADDR_H

#include "lib/err.h"
#include "lib/str.h"

/* Bytes, without a NUL. RFC 5321 section 4.5.3.1 asks for 64 and 255; a mailbox is held to 64. */
enum { ADDR_LOCAL_MAX = 255, ADDR_DOMAIN_MAX = 255, ADDR_MAILBOX_LOCAL_MAX = 64 };
enum { ADDR_TEXT_SIZE = ADDR_LOCAL_MAX + ADDR_DOMAIN_MAX + 2 };

/*
 * A normalised address. Two addresses are the same for us when their text is.
 * local: lower case (Unicode: NFC and case folding), without quotes where none are needed.
 * raw_local: the same in the letters it came in, for addresses of other servers and details.
 * domain: lower case, A-labels (RFC 5891), or an address literal in brackets.
 */
struct addr {
	char local[ADDR_LOCAL_MAX + 1];
	char raw_local[ADDR_LOCAL_MAX + 1];
	char domain[ADDR_DOMAIN_MAX + 1];
	char text[ADDR_TEXT_SIZE]; /* local@domain */
};

/*
 * local-part "@" domain of RFC 5321 section 4.1.2 with UTF-8 (RFC 6531): a dot-string or quoted
 * string. E_PARSE: not that, control characters, not UTF-8; E_TOOBIG: too long. *out is set with OK
 * only.
 */
enum err addr_parse(struct str text, struct addr *out);
/* The same for "@domain", a catch-all: local is "". */
enum err addr_parse_pattern(struct str text, struct addr *out);
/* A domain alone into out[ADDR_DOMAIN_MAX + 1]; no address literals. */
enum err addr_domain_parse(struct str text, char *out);
/*
 * Whether the local part may name a mailbox, which is a directory: a dot-string without "/", at
 * most ADDR_MAILBOX_LOCAL_MAX bytes.
 */
int addr_is_mailbox_name(const struct addr *a);
/*
 * Splits the local part at the first of the delimiters that is not its first byte. OK: *base is a
 * without the rest; detail[ADDR_LOCAL_MAX + 1] is the rest behind the delimiter, as it was written.
 * E_NOTFOUND: there is none, or it is a quoted string.
 */
enum err addr_split_detail(
	const struct addr *a, const char *delimiters, struct addr *base, char *detail);
/* Puts another domain (normalised, at most ADDR_DOMAIN_MAX) in. */
void addr_set_domain(struct addr *a, const char *domain);

#endif
