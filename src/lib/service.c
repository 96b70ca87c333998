/* SPDX-License-Identifier: MIT */
#include "lib/service.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "lib/ctl_private.h"
#include "lib/io.h"
#include "lib/ipc.h"
#include "lib/launch.h"
#include "lib/log.h"
#include "lib/master_proto.h"
#include "lib/mem.h"
#include "lib/metrics.h"

enum {
	ACCEPTS_PER_TURN = 64,
	ACCEPT_PAUSE_MS = 100, /* out of descriptors: look again after this */
	CONTROL_BODY_MAX = 1 << 20,
	KEEP_FDS_MAX = 16,
	EXIT_CONFIG = 78,
	EXIT_START = 70,
};

struct listen_event {
	struct service_run *run;
	const struct service_listener *listener;
	struct event *event;
	int fd;
};

struct service_run {
	const struct service *spec;
	struct event_base *base;
	struct config *conf;
	struct launch launch;
	struct listen_event *listeners;
	size_t listener_count;
	struct event *resume_event, *term_event, *int_event, *hup_event;
	struct ipc_conn *control;
	struct metrics_cells *metrics;
	void *state;
	int64_t started_ms;
	enum { SERVICE_RUNS, SERVICE_RETIRES, SERVICE_STOPS } phase;
	int paused, exit_status, starts_anew;
	size_t ctl_clients;
};

/* ---- what modules ask ---- */

struct event_base *
service_base(struct service_run *run)
{
	return run->base;
}

const struct config *
service_conf(struct service_run *run)
{
	return run->conf;
}

void *
service_state(struct service_run *run)
{
	return run->state;
}

void
service_set_state(struct service_run *run, void *state)
{
	run->state = state;
}

int
service_is_draining(const struct service_run *run)
{
	return run->phase != SERVICE_RUNS;
}

int
service_is_retiring(const struct service_run *run)
{
	return run->phase == SERVICE_RETIRES;
}

void
service_exit(struct service_run *run, int status)
{
	run->exit_status = status == 0 && run->starts_anew ? MASTER_EXIT_ANEW : status;
	event_base_loopbreak(run->base);
}

size_t
service_listener_fds(struct service_run *run, const char *name, int *fds, size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < run->launch.count; i++) {
		if (strcmp(run->launch.fds[i].name, name) != 0)
			continue;
		if (n < max)
			fds[n] = run->launch.fds[i].fd;
		n++;
	}
	return n;
}

void
service_pause_accept(struct service_run *run, int on)
{
	if (run->paused == on || service_is_draining(run))
		return;
	run->paused = on;
	for (size_t i = 0; i < run->listener_count; i++) {
		if (on)
			event_del(run->listeners[i].event);
		else
			event_add(run->listeners[i].event, NULL);
	}
}

static int
compare_int(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

void
service_leave_in_child(struct service_run *run, const int *keep, size_t keep_count)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGUSR1};
	int sorted[KEEP_FDS_MAX];
	unsigned from = STDERR_FILENO + 1;
	sigset_t none;

	(void)run;
	ROOST_ASSERT(keep_count <= KEEP_FDS_MAX);
	if (keep_count)
		memcpy(sorted, keep, keep_count * sizeof(int));
	qsort(sorted, keep_count, sizeof(int), compare_int);
	for (size_t i = 0; i < keep_count; i++) {
		if (sorted[i] < (int)from)
			continue;
		if ((unsigned)sorted[i] > from)
			close_range(from, (unsigned)sorted[i] - 1, 0);
		from = (unsigned)sorted[i] + 1;
	}
	close_range(from, ~0u, 0);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		signal(signals[i], SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

size_t
service_ctl_clients(const struct service_run *run)
{
	return run->ctl_clients;
}

/* ---- clients ---- */

static void
on_resume_accept(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	service_pause_accept(arg, 0);
}

static void
on_acceptable(evutil_socket_t fd, short what, void *arg)
{
	struct listen_event *l = arg;

	(void)what;
	for (int i = 0; i < ACCEPTS_PER_TURN && !l->run->paused && l->run->phase == SERVICE_RUNS;
		i++) {
		struct net_addr peer = {.len = sizeof(peer.sa)};
		int client = accept4(
			fd, (struct sockaddr *)&peer.sa, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (client >= 0) {
			l->listener->on_accept(l->run, client, &peer);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			struct timeval pause = {0, ACCEPT_PAUSE_MS * 1000};

			log_event(LOGL_WARN, "service.accept paused", "service", l->run->spec->name,
				"error", log_errno(errno), NULL);
			service_pause_accept(l->run, 1);
			event_add(l->run->resume_event, &pause);
		}
		return;
	}
}

static const struct service_listener *
find_listener(const struct service *spec, const char *name)
{
	static const struct service_listener ctl_listener = {"ctl", ctl_on_accept};

	if (strcmp(name, ctl_listener.name) == 0)
		return &ctl_listener;
	for (const struct service_listener *l = spec->listeners; l && l->name; l++)
		if (strcmp(l->name, name) == 0)
			return l;
	return NULL;
}

static void
listeners_open(struct service_run *run)
{
	run->listeners = mem_zalloc((run->launch.count + 1) * sizeof(*run->listeners));
	for (size_t i = 0; i < run->launch.count; i++) {
		struct launch_fd *lf = &run->launch.fds[i];
		const struct service_listener *listener = find_listener(run->spec, lf->name);
		struct listen_event *l;

		if (!listener)
			continue;
		l = &run->listeners[run->listener_count++];
		*l = (struct listen_event){.run = run, .listener = listener, .fd = lf->fd};
		io_set_nonblocking(lf->fd, 1);
		l->event = event_new(run->base, lf->fd, EV_READ | EV_PERSIST, on_acceptable, l);
		event_add(l->event, NULL);
	}
}

static void
listeners_close(struct service_run *run)
{
	for (size_t i = 0; i < run->listener_count; i++) {
		event_free(run->listeners[i].event);
		io_close(&run->listeners[i].fd);
	}
	run->listener_count = 0;
}

/* ---- orders ---- */

static void
drain(struct service_run *run)
{
	if (run->phase == SERVICE_STOPS)
		return;
	run->phase = SERVICE_STOPS;
	log_event(LOGL_DEBUG, "service.drain begin", "service", run->spec->name, NULL);
	listeners_close(run);
	if (run->spec->drain)
		run->spec->drain(run);
	else
		service_exit(run, 0);
}

void
service_start_anew(struct service_run *run)
{
	run->starts_anew = 1;
	drain(run);
}

static void
retire(struct service_run *run)
{
	if (!run->spec->retire) {
		drain(run);
		return;
	}
	if (run->phase != SERVICE_RUNS)
		return;
	run->phase = SERVICE_RETIRES;
	log_event(LOGL_DEBUG, "service.retire begin", "service", run->spec->name, NULL);
	listeners_close(run);
	run->spec->retire(run);
}

static void
apply_log_level(const struct config *conf)
{
	enum log_level level;

	if (!log_level_parse(conf->log_level, &level))
		log_set_level(level);
}

static void
reload(struct service_run *run, int fd)
{
	struct config *fresh, *old = run->conf;
	struct buf body = {0};
	enum err e = fd < 0 ? E_PROTO : conf_load_fd(fd, &fresh);

	if (!e) {
		fresh->generation = old->generation + 1;
		run->conf = fresh;
		apply_log_level(fresh);
		if (run->spec->reload)
			run->spec->reload(run, old);
		conf_free(&old);
	}
	ipc_put_u8(&body, e == OK);
	ipc_put_cstr(&body, err_text(e));
	ipc_conn_send(run->control, MASTER_RELOADED, 0, buf_str(&body), NULL, 0);
	buf_free(&body);
}

static void
on_control(struct ipc_conn *c, struct ipc_msg *m, void *arg)
{
	struct service_run *run = arg;

	(void)c;
	switch (m->type) {
	case MASTER_RELOAD:
		reload(run, m->fds[0]);
		break;
	case MASTER_STOP:
		drain(run);
		break;
	case MASTER_RETIRE:
		retire(run);
		break;
	case MASTER_LOG:
		if (m->fds[0] >= 0)
			dup2(m->fds[0], STDERR_FILENO);
		break;
	default:
		break;
	}
}

static void
on_control_close(struct ipc_conn *c, enum err e, void *arg)
{
	struct service_run *run = arg;

	(void)c;
	log_event(LOGL_WARN, "service.master gone", "service", run->spec->name, "reason",
		err_word(e), NULL);
	run->control = NULL;
	drain(run);
}

static void
on_term(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	drain(arg);
}

/* SIGHUP and SIGINT of a terminal reach all processes of its group; the master decides. */
static void
on_ignored(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

/* ---- from start to end ---- */

static void
raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static enum err
confine(struct service_run *run)
{
	struct sandbox *sb = sandbox_create();
	enum err e;

	if (run->spec->sandbox)
		run->spec->sandbox(run->conf, sb);
	e = sandbox_enter(sb);
	sandbox_free(&sb);
	/* Without either mechanism in the kernel Roost runs, and has said so. */
	return e == E_UNSUPPORTED ? OK : e;
}

static void
events_open(struct service_run *run)
{
	static const struct ipc_conn_handler control_handler = {on_control, on_control_close};
	int control = launch_find(&run->launch, "control");

	run->base = event_base_new();
	run->resume_event = evtimer_new(run->base, on_resume_accept, run);
	run->term_event = evsignal_new(run->base, SIGTERM, on_term, run);
	run->int_event = evsignal_new(run->base, SIGINT, on_ignored, run);
	run->hup_event = evsignal_new(run->base, SIGHUP, on_ignored, run);
	event_add(run->term_event, NULL);
	event_add(run->int_event, NULL);
	event_add(run->hup_event, NULL);
	if (control >= 0)
		run->control = ipc_conn_create(
			run->base, control, CONTROL_BODY_MAX, &control_handler, run);
}

static void
events_close(struct service_run *run)
{
	listeners_close(run);
	MEM_FREE(run->listeners);
	ipc_conn_free(&run->control);
	event_free(run->resume_event);
	event_free(run->term_event);
	event_free(run->int_event);
	event_free(run->hup_event);
	event_base_free(run->base);
}

/* Without it the daemon runs all the same, and counts nothing. */
static void
metrics_open(struct service_run *run)
{
	int fd = launch_find(&run->launch, "metrics");
	enum err e = fd < 0 ? OK : metrics_map(fd, 1, &run->metrics);

	if (run->metrics)
		metrics_use(run->metrics, run->spec->name);
	if (e)
		log_event(LOGL_WARN, "service.metrics failed", "service", run->spec->name, "error",
			err_word(e), "remedy", "restart Roost after an upgrade", NULL);
}

static int
fail(const struct service *spec, const char *step, enum err e)
{
	log_event(LOGL_ERROR, "service.start failed", "service", spec->name, "step", step, "error",
		err_text(e), NULL);
	return EXIT_START;
}

int
service_main(const struct service *spec, int argc, char **argv)
{
	struct service_run *run = MEM_NEW(struct service_run);
	int only_check = argc > 1 && strcmp(argv[1], SERVICE_CHECK_OPTION) == 0;
	enum err e;

	log_init(spec->name, LOGL_INFO);
	signal(SIGPIPE, SIG_IGN);
	run->spec = spec;
	run->started_ms = io_now_ms();
	if (launch_read(&run->launch)) {
		static const char usage[] =
			"This program is a part of Roost and is started by roost(8): "
			"run \"roost -c FILE\".\n";

		(void)!write(STDERR_FILENO, usage, sizeof(usage) - 1);
		free(run);
		return EXIT_CONFIG;
	}
	e = conf_load_fd(launch_find(&run->launch, "config"), &run->conf);
	if (e)
		return fail(spec, "settings", e);
	if (only_check) /* whose tables need not be closed */
		_exit(spec->check && spec->check(run->conf) ? EXIT_CONFIG : 0);
	if (strcmp(run->conf->log, "syslog") == 0)
		log_use_syslog();
	apply_log_level(run->conf);
	metrics_open(run);
	raise_descriptor_limit();
	events_open(run);
	e = spec->start ? spec->start(run) : OK;
	if (e)
		return fail(spec, "start", e);
	e = launch_drop_privileges();
	if (e)
		return fail(spec, "privileges", e);
	e = confine(run);
	if (e)
		return fail(spec, "sandbox", e);
	e = spec->begin ? spec->begin(run) : OK;
	if (e)
		return fail(spec, "begin", e);
	listeners_open(run);
	if (run->control)
		ipc_conn_send(run->control, MASTER_READY, 0, (struct str){0}, NULL, 0);
	event_base_dispatch(run->base);
	if (spec->stop)
		spec->stop(run);
	events_close(run);
	metrics_unmap(&run->metrics);
	launch_free(&run->launch);
	conf_free(&run->conf);
	int status = run->exit_status;
	free(run);
	return status;
}

/* ---- the control verb every service has ---- */

json_t *
service_status(struct service_run *run)
{
	json_t *object = json_pack("{s:s, s:i, s:I, s:I}", "service", run->spec->name, "pid",
		(int)getpid(), "uptime_s", (json_int_t)((io_now_ms() - run->started_ms) / 1000),
		"generation", (json_int_t)run->conf->generation);

	if (run->spec->status)
		run->spec->status(run, object);
	return object;
}

void
service_ctl_count(struct service_run *run, int change)
{
	run->ctl_clients += (size_t)change;
}

const struct ctl_verb *
service_ctl_verbs(struct service_run *run)
{
	return run->spec->ctl;
}
