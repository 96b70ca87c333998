/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMAP_PARSE_PRIVATE_H
#define ROOST_IMAP_PARSE_PRIVATE_H

#include "imap/parse.h"

/* Private to parse*.c. */

/* A NUL-terminated copy that lives until imap_parser_reset. */
char *imap_parser_keep(struct imap_parser *p, struct str bytes);
/* Reads the literal at the parser's place, which is a "{", and the line behind it. binary: NULs may
 * be in it. */
enum err imap_parser_literal(struct imap_parser *p, int binary, struct str *out);

#endif
