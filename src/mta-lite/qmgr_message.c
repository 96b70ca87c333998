/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/qmgr.h"

#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "lib/metrics.h"
#include "mta-lite/job.h"

/* While memory is short, mail for a destination that nobody has reached waits on disk this long. */
enum { QMGR_CROWDED_S = 60 };

static int
compare(const void *a, const void *b)
{
	return strcmp(((const struct qmgr_message *)a)->entry.id,
		((const struct qmgr_message *)b)->entry.id);
}

struct qmgr_message *
qmgr_find(struct qmgr *q, struct str id)
{
	struct qmgr_message key = {0}, **at;

	if (!queue_id_valid(id))
		return NULL;
	memcpy(key.entry.id, id.p, id.len);
	at = tfind(&key, &q->messages, compare);
	return at ? *at : NULL;
}

void
qmgr_drop(struct qmgr_message *m)
{
	struct qmgr *q = m->q;
	size_t limit = (size_t)service_conf(q->run)->qmgr_message_active_limit;

	(void)tdelete(m, &q->messages, compare);
	if (q->active-- == limit || (q->incoming_left && q->active < limit / 2))
		qmgr_look_soon(q);
	queue_entry_free(&m->entry);
	free(m);
}

/* Files in incoming are not counted: they come and go behind qmgr's back. */
static void
count_file(struct qmgr *q, enum queue_dir dir, int by)
{
	if (dir == QUEUE_INCOMING)
		return;
	q->counts[dir] += (size_t)by;
	metrics_set_labels(METRIC_QUEUE_MESSAGES, q->counts[dir], queue_dir_name(dir), NULL);
}

static enum err
move(struct qmgr_message *m, enum queue_dir to)
{
	enum err e;

	if (m->dir == to)
		return OK;
	e = queue_store_move(service_conf(m->q->run), m->dir, to, m->entry.id);
	if (e)
		return e;
	count_file(m->q, m->dir, -1);
	count_file(m->q, to, 1);
	m->dir = to;
	return OK;
}

/* Back to disk until then. A file that cannot be moved is tried again where it is. */
static void
defer(struct qmgr_message *m, int64_t when)
{
	struct qmgr *q = m->q;
	enum err e = queue_store_defer(service_conf(q->run), m->dir, m->entry.id, when);

	count_file(q, m->dir, -1);
	if (e == OK)
		count_file(q, QUEUE_DEFERRED, 1);
	else /* Scans of the other directories find it there. */
		when = (int64_t)time(NULL) + QMGR_FAULT_AGAIN_S;
	deferred_add(q->deferred, m->entry.id, when);
	qmgr_drop(m);
	qmgr_look_soon(q);
}

void
qmgr_remove(struct qmgr_message *m)
{
	(void)queue_store_remove(service_conf(m->q->run), m->dir, m->entry.id);
	count_file(m->q, m->dir, -1);
	log_event(LOGL_INFO, "qmgr.message removed", "queue_id", m->entry.id, NULL);
	qmgr_drop(m);
}

enum err
qmgr_hold(struct qmgr_message *m)
{
	enum err e;

	m->held = 1;
	qmgr_jobs_cancel(m);
	if (m->jobs || m->reporting)
		return OK;
	e = move(m, QUEUE_HOLD);
	if (e) {
		m->held = 0;
		qmgr_settle(m);
		return e;
	}
	log_event(LOGL_INFO, "qmgr.message held", "queue_id", m->entry.id, NULL);
	qmgr_drop(m);
	return OK;
}

enum err
qmgr_record(struct qmgr_message *m, const size_t *list, size_t n, int sync)
{
	const struct config *conf = service_conf(m->q->run);
	enum err e;
	int fd;

	e = queue_store_open(conf, m->dir, m->entry.id, O_RDWR, &fd);
	if (e) {
		log_event(LOGL_ERROR, "queue.status failed", "queue_id", m->entry.id, "error",
			err_text(e), NULL);
		return e;
	}
	e = queue_store_append(fd, &m->entry, list, n, sync && conf->mail_fsync);
	close(fd);
	return e;
}

/* ---- coming in ---- */

/* A broken file is put aside, where nobody loses sight of it. */
static enum err
put_aside(struct qmgr *q, enum queue_dir dir, const char *id)
{
	enum err e;

	log_event(LOGL_ERROR, "qmgr.message corrupt", "queue_id", id, NULL);
	e = queue_store_move(service_conf(q->run), dir, QUEUE_CORRUPT, id);
	if (e == OK && dir != QUEUE_ACTIVE)
		count_file(q, dir, -1);
	return e;
}

/*
 * *out is NULL when it is not there, is broken, or cannot be read: the error says whether to try
 * again. Scans count what is deferred or held; what is active, and not in memory, is counted here.
 */
static enum err
load(struct qmgr *q, enum queue_dir dir, const char *id, struct qmgr_message **out)
{
	const struct config *conf = service_conf(q->run);
	struct queue_entry entry;
	struct qmgr_message *m;
	enum err e;
	int fd;

	*out = NULL;
	e = queue_store_open(conf, dir, id, O_RDONLY, &fd);
	if (e == E_NOTFOUND)
		return e; /* a notice that a scan was quicker than */
	if (e == OK) {
		e = queue_file_load(fd, id, &entry);
		close(fd);
	}
	if (e == E_CORRUPT || e == E_ACCESS)
		return put_aside(q, dir, id);
	if (e) {
		log_event(LOGL_ERROR, "qmgr.message unreadable", "queue_id", id, "error",
			err_text(e), NULL);
		return e;
	}
	m = MEM_NEW(struct qmgr_message);
	m->q = q;
	m->entry = entry;
	m->dir = dir;
	(void)tsearch(m, &q->messages, compare);
	q->active++;
	if (dir == QUEUE_ACTIVE)
		count_file(q, dir, 1);
	*out = m;
	return OK;
}

struct qmgr_message *
qmgr_load(struct qmgr *q, struct str id)
{
	static const enum queue_dir dirs[] = {QUEUE_DEFERRED, QUEUE_HOLD, QUEUE_INCOMING};
	struct qmgr_message *m = qmgr_find(q, id);
	char name[QUEUE_ID_SIZE] = {0};
	size_t i;

	if (m || !queue_id_valid(id))
		return m;
	memcpy(name, id.p, id.len);
	for (i = 0; i < sizeof(dirs) / sizeof(dirs[0]) && m == NULL; i++)
		(void)load(q, dirs[i], name, &m);
	return m;
}

static int
has_pending(const struct queue_entry *e)
{
	size_t i;

	for (i = 0; i < e->rcpt_count; i++) {
		if (e->rcpts[i].status == QUEUE_PENDING)
			return 1;
	}
	return 0;
}

enum err
qmgr_take_in(struct qmgr *q, enum queue_dir dir, const char *id, int forced)
{
	size_t limit = (size_t)service_conf(q->run)->qmgr_message_active_limit;
	struct qmgr_message *m;
	enum err e;

	if (qmgr_find(q, str_of(id)))
		return OK;
	if (q->active >= limit && dir == QUEUE_INCOMING) {
		q->incoming_left = 1;
		return OK;
	}
	e = load(q, dir, id, &m);
	if (m == NULL)
		return e;
	if (dir == QUEUE_INCOMING && (m->entry.flags & QUEUE_HELD))
		(void)qmgr_hold(m);
	else if (dir == QUEUE_INCOMING && m->entry.hold_until > (int64_t)time(NULL) && !forced)
		defer(m, m->entry.hold_until);
	else
		qmgr_activate(m, forced);
	return OK;
}

/* ---- what to do next ---- */

static int64_t
first_try(const struct queue_entry *e)
{
	int64_t when = INT64_MAX;
	size_t i;

	for (i = 0; i < e->rcpt_count; i++) {
		if (e->rcpts[i].status == QUEUE_PENDING && e->rcpts[i].next_try < when)
			when = e->rcpts[i].next_try;
	}
	if (when == INT64_MAX)
		when = (int64_t)time(NULL);
	return when > e->hold_until ? when : e->hold_until;
}

struct due {
	char *key;
	struct route route;
	size_t index;
	int forwarded; /* these have another sender: a job of their own */
};

static int
compare_due(const void *a, const void *b)
{
	const struct due *x = a, *y = b;
	int c = strcasecmp(x->key, y->key);

	if (c == 0)
		c = x->forwarded - y->forwarded;
	return c ? c : (x->index > y->index) - (x->index < y->index);
}

/* Recipients that no server need be asked about. 1: done with it. */
static int
settle_at_once(struct qmgr_message *m, size_t index, struct route *route, enum err e)
{
	struct str text = buf_str(&route->hop);
	struct job_result res = {.index = (uint32_t)index, .status = QUEUE_PENDING};
	char code[DSN_CODE_SIZE] = "4.3.0";

	if (e == OK && route->kind == ROUTE_DISCARD) {
		res.status = QUEUE_DELIVERED;
		memcpy(code, "2.0.0", sizeof("2.0.0"));
		if (text.len == 0)
			text = STR("discarded");
	} else if (e == OK && (route->kind == ROUTE_ERROR || route->kind == ROUTE_RETRY)) {
		route_refusal(route, code, &text);
		res.status = route->kind == ROUTE_ERROR ? QUEUE_FAILED : QUEUE_PENDING;
	} else if (e == OK) {
		return 0;
	}
	res.dsn = str_of(code);
	res.text = text;
	qmgr_take_result(m, &res, QMGR_THEIRS);
	return 1;
}

/* Whether it must wait on disk, for a destination that has as much in memory as it may. */
static int
is_crowded(struct qmgr *q, const char *key)
{
	size_t limit = (size_t)service_conf(q->run)->qmgr_message_active_limit;
	unsigned most = (unsigned)(limit / 1000) + 5;

	return q->active > limit / 2 && schedule_is_unproven(q->schedule, key, most);
}

static void
add_jobs(struct qmgr_message *m, struct due *due, size_t n)
{
	size_t list[JOB_RCPTS_MAX], used = 0, i;
	size_t most = (size_t)service_conf(m->q->run)->default_destination_recipient_limit;

	for (i = 0; i < n; i++) {
		list[used++] = due[i].index;
		if (used == most || used == JOB_RCPTS_MAX || i + 1 == n ||
			strcasecmp(due[i].key, due[i + 1].key) != 0 ||
			due[i].forwarded != due[i + 1].forwarded) {
			qmgr_job_add(m, due[i].key, &due[i].route, list, used);
			used = 0;
		}
	}
}

/* The recipients that a job is to be made for. */
static size_t
collect_due(struct qmgr_message *m, int forced, struct due *due)
{
	struct queue_entry *e = &m->entry;
	int64_t now = (int64_t)time(NULL);
	size_t i, n = 0;

	for (i = 0; i < e->rcpt_count; i++) {
		struct queue_rcpt *r = &e->rcpts[i];
		struct buf key = {0};
		enum err err;

		if (r->status != QUEUE_PENDING || (!forced && r->next_try > now))
			continue;
		err = route_find(m->q->routes, e, r, &due[n].route);
		if (settle_at_once(m, i, &due[n].route, err)) {
			route_free(&due[n].route);
			continue;
		}
		route_key(&due[n].route, &key);
		if (!forced && is_crowded(m->q, buf_cstr(&key))) {
			r->next_try = now + QMGR_CROWDED_S;
			route_free(&due[n].route);
			buf_free(&key);
			continue;
		}
		due[n].index = i;
		due[n].forwarded = r->forwarded;
		due[n++].key = buf_steal(&key);
	}
	return n;
}

void
qmgr_activate(struct qmgr_message *m, int forced)
{
	struct due *due;
	size_t i, n;

	if (m->jobs || m->reporting)
		return;
	if (move(m, QUEUE_ACTIVE)) {
		defer(m, (int64_t)time(NULL) + QMGR_FAULT_AGAIN_S);
		return;
	}
	due = mem_zalloc((m->entry.rcpt_count + 1) * sizeof(*due));
	n = collect_due(m, forced, due);
	qsort(due, n, sizeof(*due), compare_due);
	add_jobs(m, due, n);
	for (i = 0; i < n; i++) {
		route_free(&due[i].route);
		free(due[i].key);
	}
	free(due);
	if (n == 0)
		qmgr_settle(m);
}

static int64_t
lifetime_s(const struct config *conf, const struct queue_entry *e)
{
	int64_t ms = e->sender[0] ? conf->maximal_queue_lifetime : conf->bounce_queue_lifetime;

	return ms / 1000;
}

/* Too old: what is still pending has failed. */
static void
expire(struct qmgr_message *m)
{
	struct queue_entry *e = &m->entry;
	int64_t start = e->hold_until > e->arrival ? e->hold_until : e->arrival;
	int64_t age = (int64_t)time(NULL) - start;
	size_t i, n = 0, *list;

	if (age < lifetime_s(service_conf(m->q->run), e))
		return;
	list = mem_zalloc((e->rcpt_count + 1) * sizeof(*list));
	for (i = 0; i < e->rcpt_count; i++) {
		struct queue_rcpt *r = &e->rcpts[i];
		struct buf text = {0}, mta = {0};

		if (r->status != QUEUE_PENDING || r->attempts == 0)
			continue;
		buf_printf(&text, "not delivered in time; the last problem was: %s", r->text);
		buf_add_cstr(&mta, r->mta);
		queue_rcpt_set(r, QUEUE_FAILED, STR("4.4.7"), buf_str(&text), buf_str(&mta));
		buf_free(&text);
		buf_free(&mta);
		list[n++] = i;
		m->q->bounced++;
		log_event(LOGL_WARN, "qmgr.message expired", "queue_id", e->id, "to", r->address,
			"age", log_i64(age), NULL);
	}
	if (n > 0)
		(void)qmgr_record(m, list, n, 1);
	free(list);
}

void
qmgr_settle(struct qmgr_message *m)
{
	if (m->jobs || m->reporting)
		return;
	if (m->deleted) {
		qmgr_remove(m);
		return;
	}
	if (m->gone) {
		log_event(LOGL_WARN, "qmgr.message gone", "queue_id", m->entry.id, NULL);
		count_file(m->q, m->dir, -1);
		qmgr_drop(m);
		return;
	}
	if (m->held && has_pending(&m->entry)) {
		(void)qmgr_hold(m);
		return;
	}
	expire(m);
	if (qmgr_report_needed(m)) {
		qmgr_report_start(m);
		return;
	}
	if (!has_pending(&m->entry)) {
		qmgr_remove(m);
		return;
	}
	defer(m, first_try(&m->entry));
}

void
qmgr_report_done(struct qmgr_message *m, int ok)
{
	m->reporting = 0;
	if (ok || m->deleted)
		qmgr_settle(m);
	else
		defer(m, (int64_t)time(NULL) + QMGR_REPORT_AGAIN_S);
}
