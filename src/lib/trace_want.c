/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "lib/trace_want.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/mem.h"

enum err
trace_want_init(struct trace_want *out, unsigned kind, struct str what)
{
	*out = (struct trace_want){0};
	if (kind > TRACE_NETWORK || what.len == 0 ||
		(kind == TRACE_NETWORK && net_cidr_parse(what, &out->network)))
		return E_PARSE;
	out->kind = (enum trace_kind)kind;
	out->what = str_dup(what);
	return OK;
}

void
trace_want_fini(struct trace_want *w)
{
	MEM_FREE(w->what);
}

int
trace_want_match(
	const struct trace_want *w, const char *session, const char *user, const char *peer)
{
	struct net_addr addr;

	switch (w->kind) {
	case TRACE_SESSION:
		return strcmp(w->what, session) == 0;
	case TRACE_USER:
		return strcasecmp(w->what, user) == 0;
	case TRACE_NETWORK:
		return net_addr_parse(str_of(peer), 0, &addr) == OK &&
		       net_cidr_match(&w->network, &addr);
	}
	return 0;
}
