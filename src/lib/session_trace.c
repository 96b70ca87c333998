/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "lib/session_trace.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/trace_want.h"

enum {
	TRACES_MAX = 8,
	LINES_MAX = 20000, /* not fetched yet */
	FORGET_MS = 15000,
	FORGET_LOOK_S = 5,
	STAMP_SIZE = 64,
};

struct session_trace {
	TAILQ_ENTRY(session_trace) entry;
	json_int_t id;
	struct trace_want want;
	int content;
	json_t *lines;
	uint64_t lost;
	int64_t asked_ms;
};

static int
matches(const struct session_trace *t, const struct child *c)
{
	return c->state == CHILD_SERVING && trace_want_match(&t->want, c->id, c->user, c->peer);
}

void
session_trace_look(struct parent *p, struct child *c)
{
	unsigned level = SESSION_TRACE_OFF;
	struct session_trace *t;

	if (!c->shared)
		return;
	TAILQ_FOREACH(t, &p->traces, entry)
	{
		unsigned wanted = t->content ? SESSION_TRACE_CONTENT : SESSION_TRACE_LINES;

		if (matches(t, c) && wanted > level)
			level = wanted;
	}
	atomic_store(&c->shared->trace, level);
}

static void
look_at(struct child *c, void *arg)
{
	session_trace_look(arg, c);
}

/* ---- lines ---- */

/* What JSON and a terminal can show. */
static void
add_clean(struct buf *out, struct str line)
{
	int utf8 = str_is_utf8(line);

	for (size_t i = 0; i < line.len; i++) {
		unsigned char b = (unsigned char)line.p[i];

		buf_add_char(out, b < ' ' || b == 0x7f || (b >= 0x80 && !utf8) ? '?' : (char)b);
	}
}

static json_t *
make_line(uint64_t when_ms, const char *id, char who, struct str line)
{
	time_t when = (time_t)(when_ms / 1000);
	struct tm tm;
	char stamp[STAMP_SIZE];
	struct buf text = {0};
	json_t *result;

	gmtime_r(&when, &tm);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
	buf_printf(&text, "%s.%03uZ %s %c ", stamp, (unsigned)(when_ms % 1000), id,
		who == 'C' ? 'C' : 'S');
	add_clean(&text, line);
	result = json_string(buf_cstr(&text));
	buf_free(&text);
	return result;
}

static void
add_line(struct session_trace *t, uint64_t when_ms, const char *id, char who, struct str line)
{
	if (json_array_size(t->lines) < LINES_MAX)
		json_array_append_new(t->lines, make_line(when_ms, id, who, line));
	else
		t->lost++;
}

void
session_trace_take(struct parent *p, const struct child *c, char who, struct str line)
{
	struct session_trace *t;

	TAILQ_FOREACH(t, &p->traces, entry)
	{
		if (matches(t, c))
			add_line(t, io_unix_ms(), c->id, who, line);
	}
}

/* ---- clients that are not handed over yet ---- */

void
session_trace_tell(struct parent *p, struct ipc_conn *link)
{
	struct buf body = {0};
	struct session_trace *t;
	uint32_t count = 0;

	TAILQ_FOREACH(t, &p->traces, entry)
	count++;
	ipc_put_u32(&body, count);
	TAILQ_FOREACH(t, &p->traces, entry)
	{
		ipc_put_u8(&body, (uint8_t)t->want.kind);
		ipc_put_cstr(&body, t->want.what);
	}
	ipc_conn_send(link, SESSION_TRACES, 0, buf_str(&body), NULL, 0);
	buf_free(&body);
}

void
session_trace_take_early(struct parent *p, const struct ipc_msg *m)
{
	struct ipc_reader r = ipc_reader_of(buf_str(&m->body));
	char *id = ipc_get_dup(&r), *peer = ipc_get_dup(&r), *user = ipc_get_dup(&r);
	int again = ipc_get_u8(&r);
	uint64_t when_ms = ipc_get_u64(&r);
	char who = (char)ipc_get_u8(&r);
	struct str line = ipc_get_str(&r);
	enum err e = ipc_reader_end(&r);
	struct session_trace *t;

	if (e)
		log_event(LOGL_ERROR, "session.trace malformed", NULL);
	TAILQ_FOREACH(t, &p->traces, entry)
	{
		/* Who waits for the user's name alone did not get it the first time. */
		if (!e && trace_want_match(&t->want, id, user, peer) &&
			(!again || t->want.kind == TRACE_USER))
			add_line(t, when_ms, id, who, line);
	}
	free(id);
	free(peer);
	free(user);
}

/* The traces have changed. */
static void
look_everywhere(struct parent *p)
{
	children_each(p, look_at, p);
	for (size_t i = 0; i < p->link_count; i++)
		session_trace_tell(p, p->links[i]);
}

/* ---- who looks ---- */

static void
trace_free(struct parent *p, struct session_trace *t)
{
	TAILQ_REMOVE(&p->traces, t, entry);
	trace_want_fini(&t->want);
	json_decref(t->lines);
	free(t);
	look_everywhere(p);
}

static void
forget_later(struct parent *p)
{
	struct timeval tv = {FORGET_LOOK_S, 0};

	if (!TAILQ_EMPTY(&p->traces))
		event_add(p->trace_event, &tv);
}

static void
on_forget(evutil_socket_t fd, short what, void *arg)
{
	struct parent *p = arg;
	struct session_trace *t, *next;

	(void)fd;
	(void)what;
	for (t = TAILQ_FIRST(&p->traces); t; t = next) {
		next = TAILQ_NEXT(t, entry);
		if (io_now_ms() - t->asked_ms >= FORGET_MS)
			trace_free(p, t);
	}
	forget_later(p);
}

void
session_trace_end(struct parent *p)
{
	while (!TAILQ_EMPTY(&p->traces))
		trace_free(p, TAILQ_FIRST(&p->traces));
	if (p->trace_event)
		event_free(p->trace_event);
}

/* ---- verbs ---- */

/* The first of these that is there. */
static enum err
want_of(const json_t *args, struct trace_want *out)
{
	static const char *const keys[] = {
		[TRACE_SESSION] = "session", [TRACE_USER] = "user", [TRACE_NETWORK] = "network"};

	for (unsigned kind = 0; kind < sizeof(keys) / sizeof(keys[0]); kind++) {
		const char *what = json_string_value(json_object_get(args, keys[kind]));

		if (what)
			return trace_want_init(out, kind, str_of(what));
	}
	return E_PARSE;
}

void
session_trace_verb_start(struct service_run *run, struct ctl_request *req, const json_t *args)
{
	struct parent *p = service_state(run);
	static json_int_t last_id;
	struct session_trace *t;
	struct trace_want want;
	unsigned count = 0;

	TAILQ_FOREACH(t, &p->traces, entry)
	count++;
	if (!p->program->tracer || count >= TRACES_MAX) {
		ctl_reply_error(req, E_TOOBIG, "%s",
			count >= TRACES_MAX ? "there are too many traces; stop another one"
					    : "these sessions cannot be traced");
		return;
	}
	if (want_of(args, &want)) {
		ctl_reply_error(req, E_PARSE, "say which: a session id, a user or an IP address");
		return;
	}
	if (!p->trace_event)
		p->trace_event = evtimer_new(service_base(run), on_forget, p);
	t = MEM_NEW(struct session_trace);
	t->id = ++last_id;
	t->want = want;
	t->content = json_is_true(json_object_get(args, "content"));
	t->lines = json_array();
	t->asked_ms = io_now_ms();
	TAILQ_INSERT_TAIL(&p->traces, t, entry);
	look_everywhere(p);
	forget_later(p);
	ctl_reply_ok(req, json_pack("{s:I}", "trace", t->id));
}

/* NULL: answered. */
static struct session_trace *
find(struct parent *p, struct ctl_request *req, const json_t *args)
{
	json_int_t id = json_integer_value(json_object_get(args, "trace"));
	struct session_trace *t;

	TAILQ_FOREACH(t, &p->traces, entry)
	{
		if (t->id == id)
			return t;
	}
	ctl_reply_error(req, E_NOTFOUND, "there is no such trace any more; start it again");
	return NULL;
}

struct counting {
	const struct session_trace *trace;
	json_int_t count;
};

static void
count_child(struct child *c, void *arg)
{
	struct counting *counting = arg;

	counting->count += matches(counting->trace, c);
}

void
session_trace_verb_read(struct service_run *run, struct ctl_request *req, const json_t *args)
{
	struct parent *p = service_state(run);
	struct session_trace *t = find(p, req, args);
	struct counting counting = {.trace = t};

	if (!t)
		return;
	children_each(p, count_child, &counting);
	t->asked_ms = io_now_ms();
	ctl_reply_ok(req, json_pack("{s:o, s:I, s:I}", "lines", t->lines, "sessions",
				  counting.count, "lost", (json_int_t)t->lost));
	t->lines = json_array();
	t->lost = 0;
}

void
session_trace_verb_stop(struct service_run *run, struct ctl_request *req, const json_t *args)
{
	struct parent *p = service_state(run);
	struct session_trace *t = find(p, req, args);

	if (!t)
		return;
	trace_free(p, t);
	ctl_reply_ok(req, NULL);
}
