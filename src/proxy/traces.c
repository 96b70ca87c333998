/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include <event2/event.h>

#include "lib/ipc.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/session.h"
#include "proxy/client.h"

enum { RETRY_MS = 500, WANTS_MAX = 64 };

static void
forget(struct proxy_traces *t)
{
	for (size_t i = 0; i < t->count; i++)
		trace_want_fini(&t->wants[i]);
	MEM_FREE(t->wants);
	t->count = 0;
}

/* Something is wanted of clients that are here, or no more. */
static void
look_at_clients(struct proxy_traces *t)
{
	for (struct client *c = t->px->clients; c; c = c->next)
		if (proxy_target_link(t->px, c->listener->proto) == t->link)
			trace_look(c);
}

static void
on_notice(struct link *l, struct ipc_msg *m, void *arg)
{
	struct proxy_traces *t = arg;
	struct ipc_reader r = ipc_reader_of(buf_str(&m->body));
	uint32_t count;
	(void)l;

	if (m->type != SESSION_TRACES)
		return;
	forget(t);
	count = ipc_get_u32(&r);
	t->wants = mem_realloc(NULL, WANTS_MAX, sizeof *t->wants);
	for (uint32_t i = 0; i < count && i < WANTS_MAX && !r.err; i++) {
		uint8_t kind = ipc_get_u8(&r);
		struct str what = ipc_get_str(&r);

		if (!r.err && trace_want_init(&t->wants[t->count], kind, what) == OK)
			t->count++;
	}
	if (ipc_reader_end(&r))
		log_event(LOGL_ERROR, "proxy.traces malformed", NULL);
	if (!t->count)
		forget(t);
	look_at_clients(t);
}

static void
retry_later(struct proxy_traces *t)
{
	const struct timeval tv = {0, RETRY_MS * 1000};

	event_add(t->retry, &tv);
}

/* The next process begins without; it says so if not. */
static void
on_lost(struct link *l, void *arg)
{
	struct proxy_traces *t = arg;
	(void)l;

	forget(t);
	look_at_clients(t);
	retry_later(t);
}

static void
on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct proxy_traces *t = arg;
	(void)fd;
	(void)what;

	if (!service_is_draining(t->px->run) && link_open(t->link))
		retry_later(t);
}

void
traces_start(struct proxy *px, enum proxy_target target)
{
	struct proxy_traces *t = &px->traces[target];

	if (t->retry)
		return;
	t->px = px;
	t->link = px->targets[target];
	t->retry = evtimer_new(px->base, on_retry, t);
	link_on_notice(t->link, on_notice, t);
	link_on_lost(t->link, on_lost, t);
	on_retry(-1, 0, t);
}

void
traces_stop(struct proxy_traces *t)
{
	forget(t);
	if (t->retry)
		event_free(t->retry);
	t->retry = NULL;
}

int
traces_has(const struct proxy_traces *t, enum trace_kind kind)
{
	for (size_t i = 0; i < t->count; i++)
		if (t->wants[i].kind == kind)
			return 1;
	return 0;
}

int
traces_match(const struct proxy_traces *t, const char *session, const char *user, const char *peer)
{
	for (size_t i = 0; i < t->count; i++)
		if (trace_want_match(&t->wants[i], session, user, peer))
			return 1;
	return 0;
}
