/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "master/master.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/token_used.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/master_proto.h"
#include "lib/mem.h"
#include "master/notify.h"
#include "master/setup.h"
#include "proxy/known.h"
#include "proxy/limits.h"

enum {
	EXIT_CONFIG = 78, /* EX_CONFIG of sysexits.h */
	EXIT_START = 70,
	STAGE_DEADLINE_MS = 10 * 1000,
	STAGE_TICK_MS = 250,
	/* The proxies do not wait longer for a daemon that cannot get ready. */
	LAST_START_MS = 10 * 1000,
	FDS_PER_CONNECTION = 3,
};

/* ---- files that tell others how we are ---- */

static void
write_run_file(struct master *m, const char *name)
{
	char *path = conf_run_path(m->conf, name);
	char *text = mem_printf("%ld\n", (long)getpid());

	if (io_write_file_atomic(path, text, strlen(text), 0644))
		log_event(LOGL_WARN, "master.file failed", "path", path, "reason", log_errno(errno),
			NULL);
	free(text);
	free(path);
}

static void
remove_run_file(struct master *m, const char *name)
{
	char *path = conf_run_path(m->conf, name);

	unlink(path);
	free(path);
}

/* ---- starting ---- */

void
master_start_wanted(struct master *m, int last)
{
	for (size_t i = 0; i < daemon_def_count; i++) {
		const struct daemon_def *def = &daemon_defs[i];
		unsigned have = 0, want = daemon_wanted(def, m->conf);

		if (def->last != last)
			continue;
		for (struct child *c = m->children; c; c = c->next)
			have += c->def == def && !c->retired;
		for (; have < want; have++)
			child_start(child_create(m, def));
	}
}

static int
all_ready(const struct master *m, int last)
{
	for (const struct child *c = m->children; c; c = c->next)
		if (c->def->last == last && !c->retired && c->state != CHILD_READY &&
			c->state != CHILD_RESTING)
			return 0;
	return 1;
}

int
master_have_last(const struct master *m)
{
	for (const struct child *c = m->children; c; c = c->next)
		if (c->def->last)
			return 1;
	return 0;
}

static void
on_last_timer(evutil_socket_t fd, short what, void *arg)
{
	struct master *m = arg;
	(void)fd;
	(void)what;

	if (m->phase != MASTER_STARTING || master_have_last(m))
		return;
	log_event(LOGL_WARN, "master.start slow", "reason",
		"not every daemon is ready; clients are let in now", NULL);
	master_start_wanted(m, 1);
}

static void
progress_starting(struct master *m)
{
	if (!all_ready(m, 0))
		return;
	if (!master_have_last(m)) {
		master_start_wanted(m, 1);
		return;
	}
	if (!all_ready(m, 1))
		return;
	event_del(m->last_timer);
	m->phase = MASTER_RUNNING;
	log_event(LOGL_INFO, "master.ready", "pid", log_i64(getpid()), "ms",
		log_i64(io_now_ms() - m->started_ms), NULL);
	write_run_file(m, "ready");
	notify_send("READY=1\nSTATUS=Running");
}

/* ---- ending ---- */

static void
stop_stage(struct master *m)
{
	/* Those that let clients in hear it first. */
	for (int last = 1; last >= 0; last--)
		for (struct child *c = m->children; c; c = c->next)
			if (c->def->stage == m->stage && c->def->last == last)
				child_stop(c);
	m->stage_deadline_ms = io_now_ms() + STAGE_DEADLINE_MS;
	orphans_signal(m, SIGTERM);
}

static void
progress_ending(struct master *m)
{
	for (;;) {
		size_t left = orphans_left(m);

		for (const struct child *c = m->children; c; c = c->next)
			left += c->def->stage == m->stage && c->state != CHILD_GONE;
		if (left)
			return;
		if (m->stage + 1 == STAGES) {
			event_base_loopexit(m->base, NULL);
			return;
		}
		m->stage++;
		stop_stage(m);
	}
}

/* Orphans are asked again each time: a signal may fall between a session's check and its wait. */
static void
on_stage_timer(evutil_socket_t fd, short what, void *arg)
{
	struct master *m = arg;
	int late = io_now_ms() >= m->stage_deadline_ms;
	(void)fd;
	(void)what;

	orphans_signal(m, late ? SIGKILL : SIGTERM);
	for (struct child *c = m->children; late && c; c = c->next)
		if (c->def->stage == m->stage)
			child_kill(c);
	progress_ending(m);
}

void
master_stop(struct master *m)
{
	struct timeval tick = {0, STAGE_TICK_MS * 1000};

	if (m->phase == MASTER_ENDING)
		return;
	log_event(LOGL_INFO, "master.stop", "pid", log_i64(getpid()), NULL);
	m->phase = MASTER_ENDING;
	m->stage = STAGE_CLIENTS;
	remove_run_file(m, "ready");
	notify_send("STOPPING=1");
	event_del(m->last_timer);
	event_add(m->stage_timer, &tick);
	/* A daemon between two starts has nothing to finish. */
	for (struct child *c = m->children; c; c = c->next)
		if (c->state == CHILD_WAITING || c->state == CHILD_RESTING)
			child_stop(c);
	stop_stage(m);
	progress_ending(m);
}

void
master_progress(struct master *m)
{
	if (m->phase == MASTER_STARTING)
		progress_starting(m);
	else if (m->phase == MASTER_ENDING)
		progress_ending(m);
}

/* ---- signals ---- */

static void
on_stop_signal(evutil_socket_t signum, short what, void *arg)
{
	(void)signum;
	(void)what;
	master_stop(arg);
}

static void
on_hup(evutil_socket_t signum, short what, void *arg)
{
	struct buf problems = {0};
	(void)signum;
	(void)what;

	master_reload(arg, &problems);
	buf_free(&problems);
}

static void
on_child(evutil_socket_t signum, short what, void *arg)
{
	struct master *m = arg;
	(void)signum;
	(void)what;

	children_reap(m);
	if (m->phase != MASTER_ENDING)
		children_sweep(m);
	master_progress(m);
}

static void
open_events(struct master *m)
{
	static const struct {
		int signum;
		event_callback_fn fn;
	} table[] = {{SIGTERM, on_stop_signal}, {SIGINT, on_stop_signal}, {SIGHUP, on_hup},
		{SIGCHLD, on_child}};

	m->base = event_base_new();
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		m->signals[i] = evsignal_new(m->base, table[i].signum, table[i].fn, m);
		event_add(m->signals[i], NULL);
	}
	m->stage_timer = event_new(m->base, -1, EV_PERSIST, on_stage_timer, m);
	m->last_timer = evtimer_new(m->base, on_last_timer, m);
}

static char *
known_path(const struct master *m)
{
	return mem_printf("%s/known-clients", m->conf->state_dir);
}

/* Who has waited for a greeting need not do it again because of a restart. */
static void
keep_known(struct master *m)
{
	char *path = known_path(m);

	if (m->known_fd >= 0)
		known_save(m->known_fd, path);
	io_close(&m->known_fd);
	free(path);
}

static void
close_all(struct master *m)
{
	for (struct child *c = m->children; c; c = c->next)
		c->state = CHILD_GONE;
	children_sweep(m);
	control_close(m);
	listeners_unlink(&m->listeners);
	listeners_close(&m->listeners);
	for (size_t i = 0; i < sizeof m->signals / sizeof *m->signals; i++)
		if (m->signals[i])
			event_free(m->signals[i]);
	event_free(m->stage_timer);
	event_free(m->last_timer);
	event_base_free(m->base);
	io_close(&m->limits_fd);
	io_close(&m->tokens_fd);
	keep_known(m);
	counters_free(&m->counters);
	free(m->orphans.pids);
}

/* Descriptors for all the clients there may be; as far as we are allowed. */
static void
raise_limits(const struct config *conf)
{
	rlim_t want = (rlim_t)conf->max_connections * FDS_PER_CONNECTION + 1024;
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) != 0)
		return;
	if (r.rlim_max != RLIM_INFINITY && r.rlim_max < want && setup_is_root()) {
		struct rlimit more = {want, want};
		if (setrlimit(RLIMIT_NOFILE, &more) == 0)
			return;
	}
	r.rlim_cur = r.rlim_max == RLIM_INFINITY || r.rlim_max > want ? want : r.rlim_max;
	setrlimit(RLIMIT_NOFILE, &r);
}

static void
print_problems(const struct buf *problems)
{
	(void)!write(STDERR_FILENO, problems->p ? problems->p : "", problems->len);
}

static int
prepare(struct master *m, struct buf *problems)
{
	int log_fd;
	char *path;

	umask(022); /* the certificate and run/ready are for everybody */
	if (setup_check(m->conf, problems) || setup_directories(m->conf, problems))
		return EXIT_CONFIG;
	if (setup_lock(m->conf, &m->lock_fd, problems))
		return EXIT_START;
	remove_run_file(m, "ready");
	setup_secret(&m->conf->ticket_key);
	setup_secret(&m->conf->imap_sleep_key);
	setup_secret(&m->conf->proxy_return_key);
	setup_secret(&m->conf->tls_ticket_key);
	if (cert_load(m->conf, 1, problems) || setup_quota_warning(m->conf, problems))
		return EXIT_CONFIG;
	if (setup_log_open(m->conf, &log_fd)) {
		buf_printf(problems, "%s: %s; see setting 'log'\n", m->conf->log, strerror(errno));
		return EXIT_CONFIG;
	}
	setup_log_use(m->conf, log_fd);
	io_close(&log_fd);
	raise_limits(m->conf);
	enum err e = limits_create((uint64_t)m->conf->max_connections, &m->limits_fd);
	if (e) {
		buf_printf(problems, "shared memory for connection counts: %s\n", err_text(e));
		return EXIT_START;
	}
	path = known_path(m);
	e = known_create(path, &m->known_fd);
	free(path);
	if (e) {
		buf_printf(problems, "shared memory for known clients: %s\n", err_text(e));
		return EXIT_START;
	}
	e = token_used_create(&m->tokens_fd);
	if (e) {
		buf_printf(problems, "shared memory for used log-in tokens: %s\n", err_text(e));
		return EXIT_START;
	}
	e = counters_create(&m->counters);
	if (e) {
		buf_printf(problems, "shared memory for metrics: %s\n", err_text(e));
		return EXIT_START;
	}
	if (listeners_open(m->conf, NULL, &m->listeners, problems) || control_open(m, problems))
		return EXIT_START;
	return 0;
}

int
master_run(struct config *conf)
{
	struct master m = {.conf = conf,
		.lock_fd = -1,
		.limits_fd = -1,
		.known_fd = -1,
		.tokens_fd = -1,
		.control_fd = -1};
	struct buf problems = {0};
	struct timeval last = {LAST_START_MS / 1000, 0};
	int status;

	m.started_ms = io_now_ms();
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	setup_hostname(conf);
	open_events(&m);
	status = prepare(&m, &problems);
	if (status) {
		print_problems(&problems);
		goto out;
	}
	write_run_file(&m, "master.pid");
	log_event(LOGL_INFO, "master.start", "version", PACKAGE_VERSION, "state_dir",
		conf->state_dir, "host", conf->hostname, NULL);
	master_start_wanted(&m, 0);
	event_add(m.last_timer, &last);
	event_base_dispatch(m.base);
	remove_run_file(&m, "master.pid");
	log_event(LOGL_INFO, "master.end", "pid", log_i64(getpid()), NULL);
	status = m.exit_status;
out:
	close_all(&m);
	io_close(&m.lock_fd);
	buf_free(&problems);
	conf_free(&m.conf);
	return status;
}
