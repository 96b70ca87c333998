/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_DOVECOT_CONN_H
#define ROOST_AUTH_DOVECOT_CONN_H

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"

struct event_base;

/*
 * A connection of lines in the event loop, each ended by LF. Bounded both ways: a longer line, or a
 * peer that does not read what it asked for, ends it.
 */
enum {
	DOVECOT_LINE_MAX = 16 * 1024, /* without the LF */
	DOVECOT_OUT_MAX = 1024 * 1024,
};

struct dovecot_conn;

struct dovecot_conn_handler {
	/* line: borrowed, may be wiped. An error closes the connection. */
	enum err (*on_line)(void *arg, struct str line);
	/* Closed, for this reason (E_CLOSED: by the peer); it is freed after the call. */
	void (*on_close)(void *arg, enum err e);
};

/* Owns fd. */
struct dovecot_conn *dovecot_conn_create(
	struct event_base *base, int fd, const struct dovecot_conn_handler *handler, void *arg);
/* Closes without on_close; sets *c to NULL. Not from inside on_line. */
void dovecot_conn_free(struct dovecot_conn **c);
/* Closes soon, with on_close(arg, e); what could not be sent yet is dropped. From anywhere. */
void dovecot_conn_close(struct dovecot_conn *c, enum err e);
/* Appends a LF, sends, and wipes and frees b. A failure is told from the loop. */
void dovecot_conn_send(struct dovecot_conn *c, struct buf *b);
/* No line is handed over while it is paused, and little is read. */
void dovecot_conn_pause(struct dovecot_conn *c, int on);

#endif
