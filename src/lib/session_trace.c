/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "lib/session_trace.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/io.h"
#include "lib/mem.h"

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
	char *session, *user; /* one of them */
	int content;
	json_t *lines;
	uint64_t lost;
	int64_t asked_ms;
};

static int
matches(const struct session_trace *t, const struct child *c)
{
	if (c->state != CHILD_SERVING)
		return 0;
	return t->session ? strcmp(t->session, c->id) == 0 : strcasecmp(t->user, c->user) == 0;
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
make_line(const struct child *c, char who, struct str line)
{
	struct timespec now;
	struct tm tm;
	char stamp[STAMP_SIZE];
	struct buf text = {0};
	json_t *result;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
	buf_printf(&text, "%s.%03ldZ %s %c ", stamp, now.tv_nsec / 1000000, c->id,
		who == 'C' ? 'C' : 'S');
	add_clean(&text, line);
	result = json_string(buf_cstr(&text));
	buf_free(&text);
	return result;
}

void
session_trace_take(struct parent *p, const struct child *c, char who, struct str line)
{
	struct session_trace *t;

	TAILQ_FOREACH(t, &p->traces, entry)
	{
		if (!matches(t, c))
			continue;
		if (json_array_size(t->lines) < LINES_MAX)
			json_array_append_new(t->lines, make_line(c, who, line));
		else
			t->lost++;
	}
}

/* ---- who looks ---- */

static void
trace_free(struct parent *p, struct session_trace *t)
{
	TAILQ_REMOVE(&p->traces, t, entry);
	free(t->session);
	free(t->user);
	json_decref(t->lines);
	free(t);
	children_each(p, look_at, p);
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

void
session_trace_verb_start(struct service_run *run, struct ctl_request *req, const json_t *args)
{
	struct parent *p = service_state(run);
	const char *session = json_string_value(json_object_get(args, "session"));
	const char *user = json_string_value(json_object_get(args, "user"));
	static json_int_t last_id;
	struct session_trace *t;
	unsigned count = 0;

	TAILQ_FOREACH(t, &p->traces, entry)
	count++;
	if (!session == !user) {
		ctl_reply_error(req, E_PARSE, "say which: a session id or a user");
		return;
	}
	if (!p->program->tracer || count >= TRACES_MAX) {
		ctl_reply_error(req, E_TOOBIG, "%s",
			count >= TRACES_MAX ? "there are too many traces; stop another one"
					    : "these sessions cannot be traced");
		return;
	}
	if (!p->trace_event)
		p->trace_event = evtimer_new(service_base(run), on_forget, p);
	t = MEM_NEW(struct session_trace);
	t->id = ++last_id;
	t->session = session ? mem_strdup(session) : NULL;
	t->user = user ? mem_strdup(user) : NULL;
	t->content = json_is_true(json_object_get(args, "content"));
	t->lines = json_array();
	t->asked_ms = io_now_ms();
	TAILQ_INSERT_TAIL(&p->traces, t, entry);
	children_each(p, look_at, p);
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
