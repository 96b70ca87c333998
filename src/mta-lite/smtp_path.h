/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_SMTP_PATH_H
#define ROOST_MTA_SMTP_PATH_H

#include "lib/err.h"
#include "lib/str.h"

/*
 * Reverse-path and Forward-path of MAIL and RCPT (RFC 5321 section 4.1.2). Longer local parts than
 * the 64 octets that everybody must take are accepted (VERP and SRS make them).
 */
enum { SMTP_LOCAL_MAX = 128, SMTP_DOMAIN_MAX = 255, SMTP_PATH_MAX = 512, SMTP_ADDRESS_SIZE = 400 };

struct smtp_path {
	/*
	 * The mailbox in its shortest form: quoted only where the local part needs it, source route
	 * dropped, domain in lower case and A-labels. "" for "<>"; without "@" for
	 * "<postmaster>". Printable ASCII and blanks, in the local part other characters as
	 * UTF-8; NUL-terminated.
	 */
	char address[SMTP_ADDRESS_SIZE];
	size_t domain; /* offset of the domain in address; 0: there is none */
	int literal; /* the domain is an address literal */
	int utf8; /* as it was given it has characters beyond ASCII (RFC 6531) */
};

/*
 * Cuts a path in angle brackets off the front of *s. OK: *s goes on behind ">". E_PARSE: malformed;
 * E_TOOBIG: over a bound; E_UNSUPPORTED: bytes over 0x7f that are not UTF-8.
 */
enum err smtp_path_cut(struct str *s, struct smtp_path *out);
/* A bare mailbox, without brackets: what a command line or a header holds. All of s is used. */
enum err smtp_mailbox_parse(struct str s, struct smtp_path *out);

#endif
