/* SPDX-License-Identifier: MIT */
#ifndef ROOST_PROXY_TRACE_H
#define ROOST_PROXY_TRACE_H

#include <stddef.h>

#include "lib/str.h"
#include "lib/trace_want.h"
#include "proxy/prelogin.h"

/*
 * `roostctl trace` of clients that are not handed over yet. Their session daemon, which the
 * administrator asks, says what is wanted, and is told the lines (SESSION_TRACES, SESSION_TRACED in
 * lib/session.h); credentials are left out here (trace/trace_text.h). Whose dialogue it is, auth
 * says at the end of an attempt: until then lines are kept for who wants a user's.
 */

struct proxy;
struct client;
struct client_trace; /* of one client */
struct event;

/* ---- traces.c: what one session daemon wants ---- */

struct proxy_traces {
	struct proxy *px;
	struct link *link; /* borrowed */
	struct trace_want *wants;
	size_t count;
	struct event *retry; /* NULL: not started */
};

/* traces_start is in proxy.h. */
void traces_stop(struct proxy_traces *t);
/* Whether one that wants this kind is there; and one that this client fits, as in trace_want.h. */
int traces_has(const struct proxy_traces *t, enum trace_kind kind);
int traces_match(
	const struct proxy_traces *t, const char *session, const char *user, const char *peer);

/* ---- trace.c: what one client gives ---- */

/* Begins or ends, as is wanted now; within an exchange of credentials it does not begin. */
void trace_look(struct client *c);
void trace_end(struct client *c);
/* The client has another dialogue: TLS has begun. */
void trace_afresh(struct client *c);
/* What happens beside the dialogue, shown in brackets. */
void trace_note(struct client *c, const char *text);
/* Whose attempt this is; empty: a new one begins. */
void trace_user(struct client *c, struct str user);
/* For struct prelogin_host. */
void trace_heard(struct prelogin *p, struct str bytes, int unclear);
void trace_said(struct prelogin *p, struct str bytes);

#endif
