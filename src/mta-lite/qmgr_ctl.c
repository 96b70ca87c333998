/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/qmgr.h"

#include <stdlib.h>
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

/* A message that was read for a look only goes back to where it was. */
static void
done_looking(struct qmgr_message *m)
{
	if (m->dir != QUEUE_ACTIVE && m->jobs == 0 && !m->reporting)
		qmgr_drop(m);
}

static int
list_one(struct qmgr *q, struct qmgr_message *m, json_t *list)
{
	(void)q;
	json_array_append_new(list, message_json(m));
	done_looking(m);
	return 1;
}

static void
verb_list(struct service_run *run, struct ctl_request *req, const json_t *args)
{
	static const struct qmgr_verb verb = {
		.run = list_one,
		.lists = 1,
		.dirs = 1u << QUEUE_ACTIVE | 1u << QUEUE_DEFERRED | 1u << QUEUE_HOLD |
			1u << QUEUE_INCOMING,
	};

	qmgr_select(service_state(run), req, args, &verb);
}

static void
verb_show(struct service_run *run, struct ctl_request *req, const json_t *args)
{
	const char *id = json_string_value(json_object_get(args, "id"));
	struct qmgr_message *m = id ? qmgr_load(service_state(run), str_of(id)) : NULL;
	json_t *o, *rcpts;
	size_t i;

	if (m == NULL) {
		ctl_reply_error(req, id ? E_NOTFOUND : E_PARSE,
			"no message %.30s in the queue; `roostctl queue list` shows what is there",
			id ? id : "");
		return;
	}
	o = message_json(m);
	rcpts = json_array();
	for (i = 0; i < m->entry.rcpt_count; i++)
		json_array_append_new(rcpts, rcpt_json(&m->entry.rcpts[i]));
	json_object_set_new(o, "recipients", rcpts);
	json_object_set_new(o, "client", clean_text(m->entry.client));
	json_object_set_new(o, "envid", clean_text(m->entry.envid));
	json_object_set_new(o, "priority", json_integer(m->entry.priority));
	if (m->entry.hold_until)
		json_object_set_new(o, "hold_until", time_text(m->entry.hold_until));
	json_object_set_new(o, "jobs", json_integer((json_int_t)m->jobs));
	ctl_reply_ok(req, o);
	done_looking(m);
}

/* Back-off begins anew where asked; everything pending is tried at once. */
static int
go_on(struct qmgr_message *m, int anew)
{
	size_t i;

	if (m->jobs || m->reporting)
		return 0;
	for (i = 0; i < m->entry.rcpt_count && anew; i++) {
		if (m->entry.rcpts[i].status == QUEUE_PENDING)
			m->entry.rcpts[i].attempts = 0;
	}
	m->held = 0;
	m->entry.hold_until = 0;
	qmgr_activate(m, 1);
	return 1;
}

static int
flush_one(struct qmgr *q, struct qmgr_message *m, json_t *list)
{
	(void)q;
	(void)list;
	return go_on(m, 0);
}

static int
release_one(struct qmgr *q, struct qmgr_message *m, json_t *list)
{
	(void)q;
	(void)list;
	log_event(LOGL_INFO, "qmgr.message released", "queue_id", m->entry.id, NULL);
	return go_on(m, 0);
}

static int
requeue_one(struct qmgr *q, struct qmgr_message *m, json_t *list)
{
	(void)q;
	(void)list;
	log_event(LOGL_INFO, "qmgr.message requeued", "queue_id", m->entry.id, NULL);
	return go_on(m, 1);
}

static int
hold_one(struct qmgr *q, struct qmgr_message *m, json_t *list)
{
	(void)q;
	(void)list;
	return qmgr_hold(m) == OK;
}

static int
delete_one(struct qmgr *q, struct qmgr_message *m, json_t *list)
{
	(void)q;
	(void)list;
	log_event(LOGL_INFO, "qmgr.message deleted", "queue_id", m->entry.id, NULL);
	m->deleted = 1;
	qmgr_jobs_cancel(m);
	if (m->jobs == 0 && !m->reporting)
		qmgr_remove(m);
	return 1;
}

/* Of everything nothing is read but what there is room for, one after the other. */
static int
flush_all(struct qmgr *q, struct ctl_request *req, const json_t *args)
{
	static const char *const selectors[] = {
		"ids", "sender", "recipient", "destination", "older", "newer", "queue"};
	size_t i;

	for (i = 0; i < sizeof(selectors) / sizeof(selectors[0]); i++) {
		if (json_object_get(args, selectors[i]))
			return 0;
	}
	ctl_reply_ok(req, json_pack("{s:I}", "messages", (json_int_t)qmgr_hurry(q)));
	qmgr_look_soon(q);
	return 1;
}

static void
verb_flush(struct service_run *run, struct ctl_request *req, const json_t *args)
{
	static const struct qmgr_verb verb = {.run = flush_one, .dirs = 1u << QUEUE_DEFERRED};
	struct qmgr *q = service_state(run);

	schedule_revive(q->schedule);
	if (!flush_all(q, req, args))
		qmgr_select(q, req, args, &verb);
}

static void
verb_hold(struct service_run *run, struct ctl_request *req, const json_t *args)
{
	static const struct qmgr_verb verb = {
		.run = hold_one,
		.needs_selection = 1,
		.dirs = 1u << QUEUE_ACTIVE | 1u << QUEUE_DEFERRED | 1u << QUEUE_INCOMING,
	};

	qmgr_select(service_state(run), req, args, &verb);
}

static void
verb_release(struct service_run *run, struct ctl_request *req, const json_t *args)
{
	static const struct qmgr_verb verb = {
		.run = release_one, .needs_selection = 1, .dirs = 1u << QUEUE_HOLD};

	qmgr_select(service_state(run), req, args, &verb);
}

static void
verb_requeue(struct service_run *run, struct ctl_request *req, const json_t *args)
{
	static const struct qmgr_verb verb = {
		.run = requeue_one,
		.needs_selection = 1,
		.dirs = 1u << QUEUE_DEFERRED | 1u << QUEUE_HOLD,
	};

	schedule_revive(((struct qmgr *)service_state(run))->schedule);
	qmgr_select(service_state(run), req, args, &verb);
}

static void
verb_delete(struct service_run *run, struct ctl_request *req, const json_t *args)
{
	static const struct qmgr_verb verb = {
		.run = delete_one,
		.needs_selection = 1,
		.dirs = 1u << QUEUE_ACTIVE | 1u << QUEUE_DEFERRED | 1u << QUEUE_HOLD |
			1u << QUEUE_INCOMING,
	};

	qmgr_select(service_state(run), req, args, &verb);
}

void
qmgr_status(struct service_run *run, json_t *object)
{
	struct qmgr *q = service_state(run);
	int dir;

	for (dir = QUEUE_ACTIVE; dir < QUEUE_DIR_COUNT; dir++)
		json_object_set_new(object, queue_dir_name((enum queue_dir)dir),
			json_integer((json_int_t)q->counts[dir]));
	json_object_set_new(object, "in_memory", json_integer((json_int_t)q->active));
	json_object_set_new(
		object, "running", json_integer((json_int_t)schedule_running(q->schedule)));
	json_object_set_new(
		object, "waiting", json_integer((json_int_t)schedule_waiting(q->schedule)));
	json_object_set_new(object, "destinations",
		json_integer((json_int_t)schedule_destinations(q->schedule)));
	json_object_set_new(object, "delivered", json_integer((json_int_t)q->delivered));
	json_object_set_new(object, "deferred_tries", json_integer((json_int_t)q->deferrals));
	json_object_set_new(object, "failed", json_integer((json_int_t)q->bounced));
}

const struct ctl_verb qmgr_verbs[] = {
	{"queue-list", verb_list},
	{"queue-show", verb_show},
	{"queue-flush", verb_flush},
	{"queue-hold", verb_hold},
	{"queue-release", verb_release},
	{"queue-requeue", verb_requeue},
	{"queue-delete", verb_delete},
	{"limit-list", qmgr_limit_list},
	{"limit-reset", qmgr_limit_reset},
	{NULL, NULL},
};
