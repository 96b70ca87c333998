/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_PIPE_TRANSPORT_H
#define ROOST_MTA_PIPE_TRANSPORT_H

#include <stdint.h>

#include "lib/buf.h"
#include "lib/conf.h"
#include "lib/err.h"
#include "lib/str.h"

/*
 * Mail to programs, as Postfix's pipe(8) has it: an item of pipe_transports is
 *
 *	NAME user=USER[:GROUP] [flags=LETTERS] [size=BYTES] [directory=PATH] [null_sender=ADDRESS]
 *	     [recipient_limit=N] [time_limit=SECONDS] argv=/PROGRAM ARGUMENT...
 *
 * argv comes last. An argument with blanks in it stands in braces. No shell sees any of this.
 * Pure: no I/O.
 */

enum pipe_flag {
	PIPE_BLANK_LINE = 1, /* B: an empty line behind the message */
	PIPE_DELIVERED_TO = 2, /* D: such a field before it, and none that has been here */
	PIPE_FROM_LINE = 4, /* F: "From sender date" before it */
	PIPE_ORIGINAL_TO = 8, /* O: X-Original-To */
	PIPE_RETURN_PATH = 16, /* R: Return-Path */
	PIPE_FINAL = 32, /* X: the program is where mail ends */
	PIPE_FOLD_DOMAIN = 64, /* h: domain and nexthop in lower case */
	PIPE_FOLD_USER = 128, /* u: the local parts, too */
	PIPE_QUOTED = 256, /* q: quotes of local parts stay */
	PIPE_QUOTE_FROM = 512, /* >: before lines that begin with "From " */
};

enum { PIPE_RECIPIENTS = 50, PIPE_ARGUMENTS_MAX = 1000 };

/* Borrowed from the item. */
struct pipe_transport {
	struct str name, user, group; /* group: "" for the user's own */
	struct str directory, null_sender;
	struct str argv; /* as written */
	unsigned flags; /* enum pipe_flag */
	uint64_t size; /* bytes; 0: any */
	uint32_t recipient_limit; /* of one call of the program */
	uint32_t time_limit_s; /* 0: command_time_limit */
};

/* E_PARSE: *why (may be NULL) says what is wrong. */
enum err pipe_transport_parse(struct str item, struct pipe_transport *out, struct buf *why);
/* All of pipe_transports. E_PARSE: logged. */
enum err pipe_transports_check(const struct config *conf);
/* The one of "NAME" or "NAME:NEXTHOP". 0: there is none. */
int pipe_transport_find(const struct config *conf, struct str name, struct pipe_transport *out);
/* How long its program may run. */
int64_t pipe_transport_time_limit_ms(const struct config *conf, const struct pipe_transport *t);

struct pipe_recipient {
	const char *address, *original; /* original: "" when it is the address */
};
/* What the arguments may tell. */
struct pipe_mail {
	const char *queue_id, *envid, *sender; /* sender: "" for <> */
	struct str nexthop;
	const char *client; /* queue_entry.xforward; "" */
	uint64_t size;
	char delimiter; /* the first of recipient_delimiter; 0 */
	const struct pipe_recipient *rcpts;
	size_t rcpt_count;
};
/*
 * The program's arguments, ended by NULL; an argument that tells of recipients stands there once
 * for each. E_PARSE: an address would be taken for an option; E_TOOBIG. pipe_argv_free frees.
 */
enum err pipe_argv(const struct pipe_transport *t, const struct pipe_mail *mail, char ***out);
void pipe_argv_free(char ***argv);

#endif
