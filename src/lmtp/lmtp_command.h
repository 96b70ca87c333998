/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LMTP_COMMAND_H
#define ROOST_LMTP_COMMAND_H

#include <stdint.h>

#include "lib/err.h"
#include "lib/str.h"

/*
 * Command lines of LMTP (RFC 2033; the syntax is RFC 5321 section 4.1). Functions on text, without
 * any state. Slices in the results borrow from the line.
 */
enum lmtp_verb {
	LMTP_UNKNOWN,
	LMTP_LHLO,
	LMTP_HELO, /* HELO or EHLO: not LMTP (RFC 2033 section 4.1) */
	LMTP_MAIL,
	LMTP_RCPT,
	LMTP_DATA,
	LMTP_BDAT,
	LMTP_RSET,
	LMTP_NOOP,
	LMTP_VRFY,
	LMTP_QUIT,
	LMTP_STARTTLS,
	LMTP_XCLIENT,
};

enum {
	LMTP_LINE_MAX = 4096, /* bytes of a command line; RFC 5321 section 4.5.3.1.4 asks for 512 */
	LMTP_LOCAL_MAX =
		256, /* bytes of a local part, unquoted; the RFC's 64 are too few in practice */
	LMTP_DOMAIN_MAX = 255, /* RFC 5321 section 4.5.3.1.2 */
	LMTP_HELO_MAX = 255,
};

/* The verb of a line, without its line end; *args is what follows it, trimmed. */
enum lmtp_verb lmtp_command_split(struct str line, struct str *args);

/* A mailbox between angle brackets. */
struct lmtp_path {
	struct str raw; /* as given, without brackets and source route; "" for <> */
	char address[LMTP_LOCAL_MAX + 1 + LMTP_DOMAIN_MAX + 1]; /* local part unquoted; "" for <> */
	int utf8; /* it has characters beyond ASCII */
};

/*
 * Parses "<path>" at the start of *text and cuts it off. Source routes (RFC 5321 appendix C) are
 * dropped. "<postmaster>" needs no domain. null_ok: "<>" is allowed. E_PARSE; E_TOOBIG: a part is
 * over its limit. E_UNSUPPORTED: bytes beyond ASCII that are not UTF-8, or without utf8_ok any.
 */
enum err lmtp_path_parse(struct str *text, int null_ok, int utf8_ok, struct lmtp_path *out);

struct lmtp_mail {
	struct lmtp_path path;
	uint64_t size; /* SIZE= (RFC 1870), 0 when not given */
	int body_8bit; /* BODY=8BITMIME (RFC 6152) */
	int utf8; /* SMTPUTF8 (RFC 6531 section 3.4) */
};
/*
 * args of MAIL: "FROM:<path> [parameters]". E_PARSE, E_TOOBIG, E_UNSUPPORTED as above, the last
 * also when SMTPUTF8 is missing; E_RANGE: a parameter that is unknown, doubled or has a wrong
 * value.
 */
enum err lmtp_mail_parse(struct str args, struct lmtp_mail *out);
/* args of RCPT: "TO:<path>"; no parameter is offered, any is E_RANGE. */
enum err lmtp_rcpt_parse(struct str args, int utf8_ok, struct lmtp_path *out);

/* args of BDAT: "size [LAST]" (RFC 3030 section 2). E_PARSE, E_RANGE. */
enum err lmtp_bdat_parse(struct str args, uint64_t *size, int *last);

/* Whether it may stand as a domain or address literal in a Received field. */
int lmtp_helo_ok(struct str name);

#endif
