/* SPDX-License-Identifier: MIT */
#ifndef ROOST_TRACE_TEXT_H
#define ROOST_TRACE_TEXT_H

#include <stddef.h>

#include "lib/str.h"

/*
 * What of a dialogue may be shown to whoever traces a session: its lines, without credentials, and
 * without the content of messages unless that was asked for. It follows the protocol only as far as
 * that takes, and believes nobody: what it does not understand are lines.
 */
enum trace_protocol { TRACE_IMAP, TRACE_POP3, TRACE_SMTP /* and LMTP */ };

struct trace_text;

/* A line to be shown, without its end; borrowed for the call. from_client: who said it. */
typedef void (*trace_line)(void *arg, int from_client, struct str line);

struct trace_text *trace_text_create(enum trace_protocol protocol, trace_line line, void *arg);
void trace_text_free(struct trace_text **t);
/* content: messages are shown from here on, too. Credentials never are. */
void trace_text_set_content(struct trace_text *t, int content);
/* Bytes that the client, or the server, said; in pieces of any size. */
void trace_text_feed(struct trace_text *t, int from_client, const char *p, size_t len);

#endif
