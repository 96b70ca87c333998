/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/qmgr.h"

#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "mail/date.h"
#include "mta-lite/ehlo.h"
#include "mta-lite/job.h"

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

struct each {
	void (*call)(struct qmgr_message *m, void *arg);
	void *arg;
};

static void
visit(const void *node, VISIT which, void *arg)
{
	struct each *each = arg;

	if (which == postorder || which == leaf)
		each->call(*(struct qmgr_message *const *)node, each->arg);
}

void
qmgr_each(struct qmgr *q, void (*call)(struct qmgr_message *m, void *arg), void *arg)
{
	struct each each = {call, arg};

	twalk_r(q->messages, visit, &each);
}

static void
forget(struct qmgr_message *m)
{
	struct qmgr *q = m->q;

	(void)tdelete(m, &q->messages, compare);
	q->counts[m->dir]--;
	event_free(m->timer);
	queue_entry_free(&m->entry);
	free(m);
}

enum err
qmgr_move(struct qmgr_message *m, enum queue_dir to)
{
	enum err e;

	if (m->dir == to)
		return OK;
	e = queue_store_move(service_conf(m->q->run), m->dir, to, m->entry.id);
	if (e)
		return e;
	m->q->counts[m->dir]--;
	m->q->counts[to]++;
	m->dir = to;
	return OK;
}

void
qmgr_remove(struct qmgr_message *m)
{
	(void)queue_store_remove(service_conf(m->q->run), m->dir, m->entry.id);
	log_event(LOGL_INFO, "qmgr.message removed", "queue_id", m->entry.id, NULL);
	forget(m);
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

/* ---- coming and going ---- */

static void
wait_until(struct qmgr_message *m, int64_t when)
{
	int64_t left = when - (int64_t)time(NULL);
	struct timeval tv = {.tv_sec = left > 0 ? (time_t)left : 0};

	m->next_try = when;
	event_add(m->timer, &tv);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct qmgr_message *m = arg;
	struct qmgr *q = m->q;

	(void)fd;
	(void)what;
	if (m->jobs || m->reporting || m->dir == QUEUE_HOLD)
		return;
	qmgr_activate(m, 0); /* may be the end of m */
	qmgr_pump(q);
}

/* A broken file is put aside, where nobody loses sight of it. */
static void
put_aside(struct qmgr *q, enum queue_dir dir, const char *id)
{
	log_event(LOGL_ERROR, "qmgr.message corrupt", "queue_id", id, NULL);
	(void)queue_store_move(service_conf(q->run), dir, QUEUE_CORRUPT, id);
}

static int64_t
first_try(const struct queue_entry *e)
{
	int64_t when = INT64_MAX;
	size_t i;

	for (i = 0; i < e->rcpt_count; i++) {
		if (e->rcpts[i].status == QUEUE_PENDING && e->rcpts[i].next_try < when)
			when = e->rcpts[i].next_try;
	}
	return when == INT64_MAX ? (int64_t)time(NULL) : when;
}

void
qmgr_take_in(struct qmgr *q, enum queue_dir dir, const char *id)
{
	const struct config *conf = service_conf(q->run);
	struct queue_entry entry;
	struct qmgr_message *m;
	enum err e;
	int fd;

	if (qmgr_find(q, str_of(id)))
		return;
	e = queue_store_open(conf, dir, id, O_RDONLY, &fd);
	if (e == E_NOTFOUND)
		return; /* a notice that a scan was quicker than */
	if (e == OK) {
		e = queue_file_load(fd, id, &entry);
		close(fd);
	}
	if (e == E_CORRUPT || e == E_ACCESS) {
		put_aside(q, dir, id);
		return;
	}
	if (e) {
		log_event(LOGL_ERROR, "qmgr.message unreadable", "queue_id", id, "error",
			err_text(e), NULL);
		return; /* the next scan tries again */
	}
	m = MEM_NEW(struct qmgr_message);
	m->q = q;
	m->entry = entry;
	m->dir = dir;
	m->timer = evtimer_new(service_base(q->run), on_timer, m);
	(void)tsearch(m, &q->messages, compare);
	q->counts[dir]++;
	if (dir == QUEUE_DEFERRED)
		wait_until(m, first_try(&m->entry));
	else if (dir != QUEUE_HOLD)
		qmgr_activate(m, 0);
}

/* ---- what to do next ---- */

static const char *
destination_of(const struct config *conf, const struct queue_rcpt *r)
{
	const char *at;

	if (r->local)
		return QMGR_LOCAL;
	if (conf->relayhost[0])
		return conf->relayhost;
	at = strrchr(r->address, '@');
	return at ? at + 1 : r->address;
}

struct due {
	const char *destination;
	size_t index;
};

static int
compare_due(const void *a, const void *b)
{
	const struct due *x = a, *y = b;
	int c = strcasecmp(x->destination, y->destination);

	return c ? c : (x->index > y->index) - (x->index < y->index);
}

static void
add_jobs(struct qmgr_message *m, struct due *due, size_t n)
{
	size_t list[JOB_RCPTS_MAX], used = 0, i;

	for (i = 0; i < n; i++) {
		list[used++] = due[i].index;
		if (used == JOB_RCPTS_MAX || i + 1 == n ||
			strcasecmp(due[i].destination, due[i + 1].destination) != 0) {
			qmgr_job_add(m, due[i].destination, list, used);
			used = 0;
		}
	}
}

void
qmgr_activate(struct qmgr_message *m, int forced)
{
	const struct config *conf = service_conf(m->q->run);
	struct queue_entry *e = &m->entry;
	int64_t now = (int64_t)time(NULL);
	struct due *due;
	size_t i, n = 0;

	event_del(m->timer);
	if (qmgr_move(m, QUEUE_ACTIVE)) {
		wait_until(m, now + 60);
		return;
	}
	due = mem_zalloc((e->rcpt_count + 1) * sizeof(*due));
	for (i = 0; i < e->rcpt_count; i++) {
		struct queue_rcpt *r = &e->rcpts[i];

		if (r->status == QUEUE_PENDING && (forced || r->next_try <= now))
			due[n++] = (struct due){destination_of(conf, r), i};
	}
	qsort(due, n, sizeof(*due), compare_due);
	add_jobs(m, due, n);
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
	int64_t age = (int64_t)time(NULL) - e->arrival;
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
		forget(m);
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
	(void)qmgr_move(m, QUEUE_DEFERRED);
	wait_until(m, first_try(&m->entry));
}

void
qmgr_report_done(struct qmgr_message *m, int ok)
{
	m->reporting = 0;
	if (ok || m->deleted) {
		qmgr_settle(m);
		return;
	}
	(void)qmgr_move(m, QUEUE_DEFERRED);
	wait_until(m, (int64_t)time(NULL) + QMGR_REPORT_AGAIN_S);
}

/* ---- the directories ---- */

static void
scan(struct qmgr *q, enum queue_dir dir)
{
	char *path = queue_dir_path(service_conf(q->run), dir);
	DIR *d = opendir(path);
	struct dirent *entry;

	if (d == NULL)
		log_event(LOGL_ERROR, "qmgr.scan failed", "path", path, "error", log_errno(errno),
			NULL);
	while (d && (entry = readdir(d)) != NULL) {
		if (queue_id_valid(str_of(entry->d_name)))
			qmgr_take_in(q, dir, entry->d_name);
	}
	if (d)
		closedir(d);
	free(path);
}

/* Files that were never finished and so never promised; older than any session can be. */
static void
sweep_unfinished(struct qmgr *q)
{
	char *path = queue_dir_path(service_conf(q->run), QUEUE_INCOMING);
	DIR *d = opendir(path);
	struct dirent *entry;
	struct stat st;

	while (d && (entry = readdir(d)) != NULL) {
		if (entry->d_name[0] == '.' && queue_id_valid(str_of(entry->d_name + 1)) &&
			fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
			st.st_mtime < time(NULL) - 24 * 3600)
			(void)unlinkat(dirfd(d), entry->d_name, 0);
	}
	if (d)
		closedir(d);
	free(path);
}

enum { QMGR_SCAN_S = 30 };

static void
on_scan(evutil_socket_t fd, short what, void *arg)
{
	struct qmgr *q = arg;

	(void)fd;
	(void)what;
	scan(q, QUEUE_INCOMING);
	scan(q, QUEUE_ACTIVE); /* what seemed gone */
	qmgr_pump(q);
}

/* ---- notices ---- */

static void
on_notice(struct ipc_conn *c, struct ipc_msg *msg, void *arg)
{
	struct ipc_reader r = ipc_reader_of(buf_str(&msg->body));
	struct str id = ipc_get_str(&r);
	struct qmgr *q = arg;
	char name[QUEUE_ID_SIZE];

	(void)c;
	if (msg->type != QMGR_NEW || ipc_reader_end(&r) || !queue_id_valid(id))
		return;
	memcpy(name, id.p, id.len);
	name[id.len] = '\0';
	qmgr_take_in(q, QUEUE_INCOMING, name);
	qmgr_pump(q);
}

static void
on_notice_close(struct ipc_conn *c, enum err e, void *arg)
{
	(void)c;
	(void)e;
	(void)arg;
}

static void
accept_notice(struct service_run *run, int fd, const struct net_addr *peer)
{
	static const struct ipc_conn_handler handler = {on_notice, on_notice_close};

	(void)peer;
	(void)ipc_conn_create(service_base(run), fd, 4096, &handler, service_state(run));
}

/* ---- the service ---- */

static void
on_first_scan(evutil_socket_t fd, short what, void *arg)
{
	struct qmgr *q = arg;
	struct timeval every = {.tv_sec = QMGR_SCAN_S};

	(void)fd;
	(void)what;
	sweep_unfinished(q);
	/* What was under way when the last qmgr ended first. */
	scan(q, QUEUE_ACTIVE);
	scan(q, QUEUE_DEFERRED);
	scan(q, QUEUE_HOLD);
	scan(q, QUEUE_INCOMING);
	log_event(LOGL_INFO, "qmgr.queue loaded", "active", log_u64(q->counts[QUEUE_ACTIVE]),
		"deferred", log_u64(q->counts[QUEUE_DEFERRED]), "hold",
		log_u64(q->counts[QUEUE_HOLD]), NULL);
	qmgr_pump(q);
	event_add(q->scan_timer, &every);
}

static enum err
start(struct service_run *run)
{
	const struct config *conf = service_conf(run);
	struct qmgr *q = MEM_NEW(struct qmgr);
	struct timeval now = {0};
	enum err e = queue_store_init(conf);

	if (e) {
		free(q);
		return e;
	}
	/* Looked up while files can still be read. */
	(void)smtp_hostname(conf);
	(void)date_local_zone(time(NULL));
	q->run = run;
	TAILQ_INIT(&q->jobs);
	q->schedule = schedule_create((unsigned)conf->default_destination_concurrency_limit,
		(unsigned)conf->default_process_limit);
	q->scan_timer = event_new(service_base(run), -1, EV_PERSIST, on_scan, q);
	service_set_state(run, q);
	/* From the loop: by then privileges are dropped. */
	event_base_once(service_base(run), -1, EV_TIMEOUT, on_first_scan, q, &now);
	return OK;
}

static void
sandbox(const struct config *conf, struct sandbox *sb)
{
	sandbox_allow_path(sb, conf->queue_dir, SANDBOX_READ | SANDBOX_WRITE);
	sandbox_allow(sb, SANDBOX_CAN_FORK); /* writes delivery reports */
}

static void
reload(struct service_run *run, const struct config *old)
{
	struct qmgr *q = service_state(run);
	const struct config *conf = service_conf(run);

	(void)old;
	schedule_set_limits(q->schedule, (unsigned)conf->default_destination_concurrency_limit,
		(unsigned)conf->default_process_limit);
	qmgr_pump(q);
}

static void
on_drain_timer(evutil_socket_t fd, short what, void *arg)
{
	struct qmgr *q = arg;
	struct timeval again = {.tv_usec = 50 * 1000};

	(void)fd;
	(void)what;
	if (schedule_running(q->schedule) == 0 && q->reporters == 0)
		service_exit(q->run, 0);
	else
		event_add(q->drain_timer, &again);
}

/* Results of deliveries under way are waited for: without them messages would be sent twice. */
static void
drain(struct service_run *run)
{
	struct qmgr *q = service_state(run);

	q->drain_timer = evtimer_new(service_base(run), on_drain_timer, q);
	on_drain_timer(-1, 0, q);
}

static const struct service_listener listeners[] = {
	{"qmgr", accept_notice},
	{NULL, NULL},
};

static const struct service qmgr_service = {
	.name = "qmgr",
	.listeners = listeners,
	.ctl = qmgr_verbs,
	.start = start,
	.sandbox = sandbox,
	.reload = reload,
	.drain = drain,
	.status = qmgr_status,
};

int
main(int argc, char **argv)
{
	return service_main(&qmgr_service, argc, argv);
}
