/* SPDX-License-Identifier: MIT */
#ifndef ROOST_POP3_COMMAND_H
#define ROOST_POP3_COMMAND_H

#include <stdint.h>

#include "lib/err.h"
#include "lib/str.h"

/* Command lines of the TRANSACTION state (RFC 1939 sections 3, 5 and 7, RFC 2449). */
enum pop3_verb {
	POP3_UNKNOWN,
	POP3_STAT,
	POP3_LIST,
	POP3_UIDL,
	POP3_TOP,
	POP3_RETR,
	POP3_DELE,
	POP3_NOOP,
	POP3_RSET,
	POP3_QUIT,
	POP3_CAPA,
	POP3_LANG,
};

/* RFC 2449 section 4: 255 octets with the CRLF; some room for clients that pad. */
enum { POP3_LINE_MAX = 512, POP3_ARGS_MAX = 2 };

struct pop3_command {
	enum pop3_verb verb;
	uint32_t args[POP3_ARGS_MAX];
	int arg_count;
	struct str text; /* LANG: its argument, "" if none; borrowed from the line */
};

/*
 * Parses a line without its end. All arguments but that of LANG are numbers. E_UNSUPPORTED: no
 * such command; E_PARSE: not the arguments it takes; E_RANGE: a number that names no message (0, or
 * over 32 bits).
 */
enum err pop3_command_parse(struct str line, struct pop3_command *out);

#endif
