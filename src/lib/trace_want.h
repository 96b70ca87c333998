/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LIB_TRACE_WANT_H
#define ROOST_LIB_TRACE_WANT_H

#include "lib/err.h"
#include "lib/net.h"
#include "lib/str.h"

/* Whose dialogue the administrator wants to see (`roostctl trace`). */
enum trace_kind { TRACE_SESSION, TRACE_USER, TRACE_NETWORK };

struct trace_want {
	enum trace_kind kind;
	char *what; /* a session id, a user's address, an IP address or a network of such */
	struct net_cidr network; /* TRACE_NETWORK */
};

/* E_PARSE: no such kind, or not an address; *out holds nothing then. */
enum err trace_want_init(struct trace_want *out, unsigned kind, struct str what);
void trace_want_fini(struct trace_want *w);
/* user: "" when nobody knows. peer: "ip:port". */
int trace_want_match(
	const struct trace_want *w, const char *session, const char *user, const char *peer);

#endif
