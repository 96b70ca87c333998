/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/qmgr.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "lib/log.h"

/* The administrator's verbs about the queue. */

static json_t *
time_text(int64_t when)
{
	time_t t = (time_t)when;
	char text[32];
	struct tm tm;

	if (gmtime_r(&t, &tm) == NULL ||
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		return json_null();
	return json_string(text);
}

/* Text of a peer may hold bytes that are not UTF-8. */
static json_t *
clean_text(const char *s)
{
	return str_is_utf8(str_of(s)) ? json_string(s) : json_string("?");
}

static json_t *
rcpt_json(const struct queue_rcpt *r)
{
	json_t *o = json_object();

	json_object_set_new(o, "address", clean_text(r->address));
	json_object_set_new(o, "status", json_string(queue_status_word(r->status)));
	json_object_set_new(o, "local", json_boolean(r->local));
	json_object_set_new(o, "attempts", json_integer(r->attempts));
	if (r->status == QUEUE_PENDING && r->attempts > 0)
		json_object_set_new(o, "next_try", time_text(r->next_try));
	json_object_set_new(o, "dsn", json_string(r->dsn));
	json_object_set_new(o, "text", clean_text(r->text));
	json_object_set_new(o, "mta", clean_text(r->mta));
	return o;
}

static json_t *
message_json(const struct qmgr_message *m)
{
	const struct queue_entry *e = &m->entry;
	json_t *o = json_object(), *rcpts = json_array();
	const char *reason = "";
	size_t i;

	for (i = 0; i < e->rcpt_count; i++) {
		if (queue_status_final(e->rcpts[i].status))
			continue;
		json_array_append_new(rcpts, clean_text(e->rcpts[i].address));
		if (reason[0] == '\0')
			reason = e->rcpts[i].text;
	}
	json_object_set_new(o, "id", json_string(e->id));
	json_object_set_new(o, "queue", json_string(queue_dir_name(m->dir)));
	json_object_set_new(o, "size", json_integer((json_int_t)e->content_len));
	json_object_set_new(o, "arrived", time_text(e->arrival));
	json_object_set_new(o, "sender", clean_text(e->sender));
	json_object_set_new(o, "recipients", rcpts);
	json_object_set_new(o, "reason", clean_text(reason));
	return o;
}

static void
add_to_list(struct qmgr_message *m, void *arg)
{
	json_array_append_new(arg, message_json(m));
}

static void
verb_list(struct service_run *run, struct ctl_request *req, const json_t *args)
{
	json_t *list = json_array();

	(void)args;
	qmgr_each(service_state(run), add_to_list, list);
	ctl_reply_ok(req, list);
}

/* The message named in the arguments; NULL: the request is answered. */
static struct qmgr_message *
find_message(struct service_run *run, struct ctl_request *req, const json_t *args)
{
	const char *id = json_string_value(json_object_get(args, "id"));
	struct qmgr_message *m = id ? qmgr_find(service_state(run), str_of(id)) : NULL;

	if (id == NULL)
		ctl_reply_error(req, E_PARSE, "the message's id is missing");
	else if (m == NULL)
		ctl_reply_error(req, E_NOTFOUND,
			"no message %.30s in the queue; `roostctl queue list` shows what is there",
			id);
	return m;
}

static void
verb_show(struct service_run *run, struct ctl_request *req, const json_t *args)
{
	struct qmgr_message *m = find_message(run, req, args);
	json_t *o, *rcpts;
	size_t i;

	if (m == NULL)
		return;
	o = message_json(m);
	rcpts = json_array();
	for (i = 0; i < m->entry.rcpt_count; i++)
		json_array_append_new(rcpts, rcpt_json(&m->entry.rcpts[i]));
	json_object_set_new(o, "recipients", rcpts);
	json_object_set_new(o, "client", clean_text(m->entry.client));
	json_object_set_new(o, "envid", clean_text(m->entry.envid));
	json_object_set_new(o, "jobs", json_integer((json_int_t)m->jobs));
	ctl_reply_ok(req, o);
}

struct flush {
	const char *destination; /* NULL: all */
	struct qmgr_message **found;
	size_t count, size;
};

static int
goes_to(const struct qmgr_message *m, const char *destination)
{
	size_t i;

	for (i = 0; i < m->entry.rcpt_count; i++) {
		const struct queue_rcpt *r = &m->entry.rcpts[i];
		const char *at = strrchr(r->address, '@');

		if (r->status == QUEUE_PENDING && at && strcasecmp(at + 1, destination) == 0)
			return 1;
	}
	return 0;
}

static void
collect(struct qmgr_message *m, void *arg)
{
	struct flush *f = arg;

	if (m->dir != QUEUE_DEFERRED || m->jobs || m->reporting)
		return;
	if (f->destination && !goes_to(m, f->destination))
		return;
	if (f->count < f->size)
		f->found[f->count++] = m;
}

static void
verb_flush(struct service_run *run, struct ctl_request *req, const json_t *args)
{
	struct qmgr *q = service_state(run);
	struct flush f = {0};
	size_t i;

	f.size = q->counts[QUEUE_DEFERRED];
	f.found = calloc(f.size + 1, sizeof(struct qmgr_message *));
	if (f.found == NULL) {
		ctl_reply_error(req, E_TEMPFAIL, "out of memory");
		return;
	}
	if (json_object_get(args, "id")) {
		struct qmgr_message *m = find_message(run, req, args);

		if (m == NULL) {
			free(f.found);
			return;
		}
		collect(m, &f);
	} else {
		f.destination = json_string_value(json_object_get(args, "destination"));
		/* Collected first: a message that is activated may leave the tree. */
		qmgr_each(q, collect, &f);
	}
	for (i = 0; i < f.count; i++)
		qmgr_activate(f.found[i], 1);
	qmgr_pump(q);
	ctl_reply_ok(req, json_pack("{s:I}", "messages", (json_int_t)f.count));
	free(f.found);
}

static void
verb_hold(struct service_run *run, struct ctl_request *req, const json_t *args)
{
	struct qmgr_message *m = find_message(run, req, args);
	enum err e;

	if (m == NULL)
		return;
	qmgr_jobs_cancel(m);
	if (m->jobs || m->reporting) {
		ctl_reply_error(req, E_CONFLICT,
			"the message is being delivered right now; try again in a moment");
		return;
	}
	e = qmgr_move(m, QUEUE_HOLD);
	if (e) {
		ctl_reply_error(req, e, "the file could not be moved: %s", err_text(e));
		return;
	}
	log_event(LOGL_INFO, "qmgr.message held", "queue_id", m->entry.id, NULL);
	ctl_reply_ok(req, NULL);
}

static void
verb_release(struct service_run *run, struct ctl_request *req, const json_t *args)
{
	struct qmgr_message *m = find_message(run, req, args);

	if (m == NULL)
		return;
	if (m->dir != QUEUE_HOLD) {
		ctl_reply_error(req, E_STATE, "the message is not on hold");
		return;
	}
	log_event(LOGL_INFO, "qmgr.message released", "queue_id", m->entry.id, NULL);
	qmgr_activate(m, 1);
	qmgr_pump(service_state(run));
	ctl_reply_ok(req, NULL);
}

static void
verb_delete(struct service_run *run, struct ctl_request *req, const json_t *args)
{
	struct qmgr_message *m = find_message(run, req, args);

	if (m == NULL)
		return;
	log_event(LOGL_INFO, "qmgr.message deleted", "queue_id", m->entry.id, NULL);
	m->deleted = 1;
	qmgr_jobs_cancel(m);
	if (m->jobs == 0 && !m->reporting)
		qmgr_remove(m);
	ctl_reply_ok(req, NULL);
}

void
qmgr_status(struct service_run *run, json_t *object)
{
	struct qmgr *q = service_state(run);
	int dir;

	for (dir = 0; dir < QUEUE_CORRUPT; dir++)
		json_object_set_new(object, queue_dir_name((enum queue_dir)dir),
			json_integer((json_int_t)q->counts[dir]));
	json_object_set_new(
		object, "running", json_integer((json_int_t)schedule_running(q->schedule)));
	json_object_set_new(
		object, "waiting", json_integer((json_int_t)schedule_waiting(q->schedule)));
	json_object_set_new(object, "destinations",
		json_integer((json_int_t)schedule_destinations(q->schedule)));
	json_object_set_new(object, "delivered", json_integer((json_int_t)q->delivered));
	json_object_set_new(object, "deferred_tries", json_integer((json_int_t)q->deferred));
	json_object_set_new(object, "failed", json_integer((json_int_t)q->bounced));
}

const struct ctl_verb qmgr_verbs[] = {
	{"queue-list", verb_list},
	{"queue-show", verb_show},
	{"queue-flush", verb_flush},
	{"queue-hold", verb_hold},
	{"queue-release", verb_release},
	{"queue-delete", verb_delete},
	{NULL, NULL},
};
