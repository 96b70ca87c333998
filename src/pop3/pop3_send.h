/* SPDX-License-Identifier: MIT */
#ifndef ROOST_POP3_SEND_H
#define ROOST_POP3_SEND_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/str.h"

/*
 * A message as the body of a multi-line response (RFC 1939 section 3): lines end in CRLF whatever
 * they end in on disk, a dot at the start of one is doubled, and the last line has an end. Nothing
 * is copied; the sink gets slices of the message and of constants. The final ".\r\n" is the
 * caller's.
 */
typedef enum err (*pop3_sink)(void *arg, const char *p, size_t len);

/* max_lines: body lines behind the header (TOP); UINT64_MAX: all. An error of the sink ends it. */
enum err pop3_send_message(struct str message, uint64_t max_lines, pop3_sink sink, void *arg);

/* Whether the bytes can be sent as they are: CRLF at the end, no line that begins with a dot. */
int pop3_is_plain(struct str message);

#endif
