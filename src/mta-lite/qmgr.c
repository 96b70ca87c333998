/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/qmgr.h"

#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/metrics.h"
#include "mail/date.h"
#include "mta-lite/ehlo.h"
#include "mta-lite/job.h"

enum { QMGR_SCAN_S = 30 };

/* ---- the directories ---- */

DIR *
qmgr_dir_open(struct qmgr *q, enum queue_dir dir)
{
	char *path = queue_dir_path(service_conf(q->run), dir);
	DIR *d = opendir(path);

	if (d == NULL)
		log_event(LOGL_ERROR, "qmgr.scan failed", "path", path, "error", log_errno(errno),
			NULL);
	free(path);
	return d;
}

const char *
qmgr_dir_next(DIR *d)
{
	struct dirent *entry;

	while (d && (entry = readdir(d)) != NULL) {
		if (queue_id_valid(str_of(entry->d_name)))
			return entry->d_name;
	}
	return NULL;
}

void
qmgr_dir_close(DIR **d)
{
	if (*d)
		closedir(*d);
	*d = NULL;
}

static void
scan(struct qmgr *q, enum queue_dir dir)
{
	DIR *d = qmgr_dir_open(q, dir);
	const char *id;

	while ((dir != QUEUE_INCOMING || !q->incoming_left) && (id = qmgr_dir_next(d)) != NULL)
		(void)qmgr_take_in(q, dir, id, 0); /* the next scan tries again */
	qmgr_dir_close(&d);
}

static void
show_count(const struct qmgr *q, enum queue_dir dir)
{
	metrics_set_labels(METRIC_QUEUE_MESSAGES, q->counts[dir], queue_dir_name(dir), NULL);
}

static size_t
count_files(struct qmgr *q, enum queue_dir dir)
{
	DIR *d = qmgr_dir_open(q, dir);
	size_t n = 0;

	while (qmgr_dir_next(d))
		n++;
	qmgr_dir_close(&d);
	return n;
}

/* Files that were never finished and so never promised; older than any session can be. */
static void
sweep_unfinished(struct qmgr *q)
{
	DIR *d = qmgr_dir_open(q, QUEUE_INCOMING);
	struct dirent *entry;
	struct stat st;

	while (d && (entry = readdir(d)) != NULL) {
		if (entry->d_name[0] == '.' && queue_id_valid(str_of(entry->d_name + 1)) &&
			fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
			st.st_mtime < time(NULL) - 24 * 3600)
			(void)unlinkat(dirfd(d), entry->d_name, 0);
	}
	qmgr_dir_close(&d);
}

void
qmgr_scan_incoming(struct qmgr *q)
{
	q->incoming_left = 0;
	scan(q, QUEUE_INCOMING);
}

static void
on_scan(evutil_socket_t fd, short what, void *arg)
{
	struct qmgr *q = arg;

	(void)fd;
	(void)what;
	schedule_sweep(q->schedule, io_now_ms());
	qmgr_scan_incoming(q);
	scan(q, QUEUE_ACTIVE); /* what seemed gone */
	if (q->deferred_unread) {
		qmgr_deferred_count(q);
		show_count(q, QUEUE_DEFERRED);
		qmgr_look_soon(q);
	}
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

	if (msg->type == QMGR_ETRN) {
		qmgr_etrn(q, c, msg);
		return;
	}
	if (msg->type != QMGR_NEW || ipc_reader_end(&r) || !queue_id_valid(id))
		return;
	memcpy(name, id.p, id.len);
	name[id.len] = '\0';
	(void)qmgr_take_in(q, QUEUE_INCOMING, name, 0);
	qmgr_pump(q);
}

static void
on_notice_close(struct ipc_conn *c, enum err e, void *arg)
{
	(void)e;
	qmgr_etrn_forget(arg, c);
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
	int64_t start = io_now_ms();

	(void)fd;
	(void)what;
	sweep_unfinished(q);
	/* What was under way when the last qmgr ended first. */
	scan(q, QUEUE_ACTIVE);
	qmgr_deferred_count(q);
	q->counts[QUEUE_HOLD] = count_files(q, QUEUE_HOLD);
	q->counts[QUEUE_CORRUPT] = count_files(q, QUEUE_CORRUPT);
	qmgr_scan_incoming(q);
	for (int dir = QUEUE_ACTIVE; dir < QUEUE_DIR_COUNT; dir++)
		show_count(q, (enum queue_dir)dir);
	log_event(LOGL_INFO, "qmgr.queue loaded", "active", log_u64(q->counts[QUEUE_ACTIVE]),
		"deferred", log_u64(q->counts[QUEUE_DEFERRED]), "hold",
		log_u64(q->counts[QUEUE_HOLD]), "delay", log_i64(io_now_ms() - start), NULL);
	qmgr_due_wait(q);
	qmgr_pump(q);
	event_add(q->scan_timer, &every);
}

static void
on_pump(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	qmgr_pump(arg);
}

static struct schedule_limits
limits_of(const struct config *conf)
{
	return (struct schedule_limits){
		.per_destination = (unsigned)conf->default_destination_concurrency_limit,
		.total = (unsigned)conf->default_process_limit,
		.initial = (unsigned)conf->initial_destination_concurrency,
		.rate_delay_ms = conf->default_destination_rate_delay,
		.dead_ms = conf->minimal_backoff_time,
	};
}

/* What the sandbox must keep reachable. */
static struct sandbox *opened_tables;
static const struct srs *opened_srs;

static struct sandbox *
tables_sandbox(const struct maps *maps)
{
	struct sandbox *sb = sandbox_create();

	maps_sandbox(maps, sb);
	return sb;
}

static enum err
open_tables(struct qmgr *q, const struct config *conf)
{
	enum err e, e2;

	q->maps = maps_create(conf);
	e = routes_open(conf, q->maps, &q->routes);
	e2 = aliases_open(conf, q->maps, &q->aliases);
	e = e ? e : e2;
	e2 = srs_open(conf, &q->srs);
	return e ? e : e2;
}

static enum err
check(const struct config *conf)
{
	struct qmgr q = {0};

	return open_tables(&q, conf);
}

static enum err
start(struct service_run *run)
{
	const struct config *conf = service_conf(run);
	struct schedule_limits limits = limits_of(conf);
	struct qmgr *q = MEM_NEW(struct qmgr);
	struct timeval now = {0};
	enum err e = queue_store_init(conf);

	if (e == OK)
		e = queue_store_lock(conf);
	if (e == OK)
		e = open_tables(q, conf);
	if (e) {
		routes_free(&q->routes);
		aliases_free(&q->aliases);
		maps_free(&q->maps);
		free(q);
		return e;
	}
	/* Looked up while files can still be read. */
	(void)smtp_hostname(conf);
	(void)date_local_zone(time(NULL));
	q->run = run;
	TAILQ_INIT(&q->jobs);
	TAILQ_INIT(&q->idle);
	LIST_INIT(&q->etrns);
	q->schedule = schedule_create(&limits);
	qmgr_due_open(q);
	q->scan_timer = event_new(service_base(run), -1, EV_PERSIST, on_scan, q);
	q->pump_timer = evtimer_new(service_base(run), on_pump, q);
	service_set_state(run, q);
	opened_tables = tables_sandbox(q->maps);
	opened_srs = q->srs;
	/* From the loop: by then privileges are dropped. */
	event_base_once(service_base(run), -1, EV_TIMEOUT, on_first_scan, q, &now);
	return OK;
}

static void
sandbox(const struct config *conf, struct sandbox *sb)
{
	sandbox_allow_path(sb, conf->queue_dir, SANDBOX_READ | SANDBOX_WRITE);
	sandbox_allow(sb, SANDBOX_CAN_FORK); /* writes delivery reports */
	sandbox_add(sb, opened_tables);
	srs_sandbox(opened_srs, sb);
}

/*
 * The old tables go with the old settings. Without new ones mail waits, and goes nowhere else. 0:
 * there are some that this process cannot reach.
 */
static int
reload_routes(struct qmgr *q, const struct config *conf)
{
	struct sandbox *wanted;
	int reached;

	routes_free(&q->routes);
	aliases_free(&q->aliases);
	maps_free(&q->maps);
	q->maps = maps_create(conf);
	if (routes_open(conf, q->maps, &q->routes))
		q->routes = NULL;
	if (aliases_open(conf, q->maps, &q->aliases))
		q->aliases = NULL;
	wanted = tables_sandbox(q->maps);
	reached = q->routes && q->aliases && sandbox_covers(opened_tables, wanted);
	sandbox_free(&wanted);
	return reached;
}

static void
reload(struct service_run *run, const struct config *old)
{
	struct qmgr *q = service_state(run);
	struct schedule_limits limits = limits_of(service_conf(run));

	(void)old;
	if (!reload_routes(q, service_conf(run))) {
		log_event(LOGL_INFO, "qmgr.start anew", "reason",
			"a table is beyond what this process may open", NULL);
		service_start_anew(run);
		return;
	}
	schedule_set_limits(q->schedule, &limits);
	qmgr_due_wait(q);
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

	qmgr_agents_release(q);
	event_del(q->scan_timer); /* what others take in is not ours any more */
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
	.check = check,
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
