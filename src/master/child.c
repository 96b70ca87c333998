/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/launch.h"
#include "lib/log.h"
#include "lib/master_proto.h"
#include "lib/mem.h"
#include "master/master.h"
#include "proxy/limits.h"

enum {
	BACKOFF_FIRST_MS = 100,
	BACKOFF_MAX_MS = 30 * 1000,
	ALIVE_RESET_MS = 60 * 1000, /* whoever lived that long starts from the first wait again */
	CONTROL_BODY_MAX = 1 << 20,
	EXEC_FAILED = 127,
};

static const char *const state_names[] = {
	[CHILD_WAITING] = "waiting",
	[CHILD_STARTING] = "starting",
	[CHILD_READY] = "ready",
	[CHILD_RESTING] = "resting",
	[CHILD_STOPPING] = "stopping",
	[CHILD_GONE] = "gone",
};

static void
count_ready(const struct child *c)
{
	unsigned ready = 0;

	for (const struct child *other = c->m->children; other; other = other->next)
		ready += other->def == c->def &&
			 (other->state == CHILD_READY || other->state == CHILD_RESTING);
	counters_ready(c->m->counters, c->def, ready);
}

static void
set_state(struct child *c, enum child_state state)
{
	log_event(LOGL_DEBUG, "master.state", "daemon", c->def->name, "pid", log_i64(c->pid),
		"from", state_names[c->state], "to", state_names[state], NULL);
	c->state = state;
	count_ready(c);
}

/* ---- settings ---- */

static void
blank(char **setting)
{
	free(*setting);
	*setting = mem_strdup("");
}

enum err
child_settings_fd(const struct config *conf, const struct daemon_def *def, int *fd_out)
{
	int whole;
	struct config *copy;
	enum err e = conf_to_memfd(conf, &whole);

	*fd_out = -1;
	if (e)
		return e;
	e = conf_load_fd(whole, &copy);
	io_close(&whole);
	if (e)
		return e;
	if (!(def->secrets & SECRET_TICKET))
		blank(&copy->ticket_key);
	if (!(def->secrets & SECRET_SLEEP))
		blank(&copy->imap_sleep_key);
	if (!(def->secrets & SECRET_DATABASE)) {
		blank(&copy->postgresql);
		blank(&copy->oauth_introspection_credentials);
	}
	if (!(def->secrets & SECRET_TLS)) {
		blank(&copy->tls_cert_pem);
		blank(&copy->tls_key_pem);
		blank(&copy->tls_ticket_key);
		blank(&copy->proxy_return_key);
	}
	e = conf_to_memfd(copy, fd_out);
	conf_free(&copy);
	return e;
}

/* ---- the control socket ---- */

static void
on_message(struct ipc_conn *conn, struct ipc_msg *msg, void *arg)
{
	struct child *c = arg;
	struct ipc_reader r = ipc_reader_of(buf_str(&msg->body));
	(void)conn;

	if (msg->type == MASTER_READY && c->state == CHILD_STARTING) {
		set_state(c, CHILD_READY);
		master_progress(c->m);
	} else if (msg->type == MASTER_RELOADED) {
		int done = ipc_get_u8(&r);
		struct str why = ipc_get_str(&r);
		if (!done)
			log_event(LOGL_ERROR, "master.reload refused", "daemon", c->def->name,
				"reason", log_str(why), NULL);
	}
}

static void
on_close(struct ipc_conn *conn, enum err e, void *arg)
{
	struct child *c = arg;
	(void)conn;
	(void)e;

	/* It is ending or broken; SIGCHLD tells the rest. */
	c->control = NULL;
	if (e != E_CLOSED && c->pid > 0)
		kill(c->pid, SIGKILL);
}

static const struct ipc_conn_handler control_handler = {on_message, on_close};

void
child_send_fd(struct child *c, uint16_t frame, int fd)
{
	if (c->control && (c->state == CHILD_READY || c->state == CHILD_STARTING))
		ipc_conn_send(c->control, frame, 0, (struct str){0}, &fd, 1);
}

/* ---- resting ---- */

static void
callers_forget(struct child *c)
{
	while (c->caller_count > 0)
		event_free(c->callers[--c->caller_count]);
}

static void
on_caller(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	child_start(arg);
}

/* Whoever connects waits in the socket's queue, and the process takes it from there. */
static void
callers_watch(struct child *c)
{
	const struct listeners *l = &c->m->listeners;

	for (size_t i = 0; i < l->count; i++) {
		if (l->items[i].def != c->def)
			continue;
		ROOST_ASSERT(c->caller_count < CHILD_CALLERS_MAX);
		c->callers[c->caller_count] =
			event_new(c->m->base, l->items[i].fd, EV_READ, on_caller, c);
		event_add(c->callers[c->caller_count++], NULL);
	}
}

void
child_rest_anew(struct child *c)
{
	callers_forget(c);
	callers_watch(c);
}

/* ---- starting ---- */

struct fd_list {
	int fds[LAUNCH_FDS_MAX];
	size_t count;
	struct buf env;
};

static void
fd_list_add(struct fd_list *l, const char *name, int fd)
{
	if (fd < 0 || l->count == LAUNCH_FDS_MAX)
		return;
	buf_printf(&l->env, "%s%s:%d", l->count ? " " : "", name, LAUNCH_FIRST_FD + (int)l->count);
	l->fds[l->count++] = fd;
}

static void
fd_list_add_metrics(void *list, int fd)
{
	fd_list_add(list, "metrics-read", fd);
}

/* In the child: everything is where ROOST_FDS says, or the process ends. */
static void __attribute__((noreturn))
child_exec(const struct child *c, struct fd_list *l, const char *path)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGPIPE};
	char *argv[] = {(char *)c->def->program, NULL};
	const int above = LAUNCH_FIRST_FD + LAUNCH_FDS_MAX;
	const char *name = daemon_user_name(c->def->user, c->m->conf);
	struct buf user = {0};
	sigset_t none;

	/* First out of the way, so that no dup2 lands on a descriptor that is still needed. */
	for (size_t i = 0; i < l->count; i++) {
		l->fds[i] = fcntl(l->fds[i], F_DUPFD_CLOEXEC, above);
		if (l->fds[i] < 0)
			_exit(EXEC_FAILED);
	}
	for (size_t i = 0; i < l->count; i++)
		if (dup2(l->fds[i], LAUNCH_FIRST_FD + (int)i) < 0)
			_exit(EXEC_FAILED);
	close_range((unsigned)(LAUNCH_FIRST_FD + l->count), ~0u, 0);
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
		signal(signals[i], SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	umask(077);
	/* A group of its own: sessions of a dead parent can be found by it. */
	setpgid(0, 0);
	if (geteuid() == 0 && name[0] && launch_user_format(name, &user)) {
		log_event(LOGL_ERROR, "master.user failed", "user", name, NULL);
		_exit(EXEC_FAILED);
	}
	if (setenv(LAUNCH_ENV_FDS, buf_cstr(&l->env), 1) != 0 ||
		setenv(LAUNCH_ENV_USER, buf_cstr(&user), 1) != 0)
		_exit(EXEC_FAILED);
	execv(path, argv);
	log_event(LOGL_ERROR, "master.exec failed", "program", path, "reason", log_errno(errno),
		NULL);
	_exit(EXEC_FAILED);
}

static void
start_later(struct child *c)
{
	struct timeval tv;

	if (c->state == CHILD_RESTING)
		set_state(c, CHILD_WAITING);

	c->backoff_ms = c->backoff_ms == 0		     ? BACKOFF_FIRST_MS
			: c->backoff_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS
							     : c->backoff_ms * 2;
	tv = (struct timeval){c->backoff_ms / 1000, c->backoff_ms % 1000 * 1000};
	event_add(c->timer, &tv);
}

void
child_start(struct child *c)
{
	struct master *m = c->m;
	struct fd_list list = {0};
	int config_fd = -1, pair[2] = {-1, -1};
	char *path = mem_printf("%s/%s", m->conf->program_dir, c->def->program);
	pid_t pid = -1;

	event_del(c->timer);
	callers_forget(c);
	if (child_settings_fd(m->conf, c->def, &config_fd) ||
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
		goto out;
	fd_list_add(&list, "config", config_fd);
	fd_list_add(&list, "control", pair[1]);
	fd_list_add(&list, "metrics", counters_fd(m->counters, c->def));
	if (c->def->limits) {
		fd_list_add(&list, "limits", m->limits_fd);
		fd_list_add(&list, "known", m->known_fd);
	}
	if (c->def->tokens)
		fd_list_add(&list, "tokens", m->tokens_fd);
	if (c->def->metrics)
		counters_each_read_only(m->counters, fd_list_add_metrics, &list);
	for (size_t i = 0; i < m->listeners.count; i++)
		if (m->listeners.items[i].def == c->def)
			fd_list_add(&list, m->listeners.items[i].name, m->listeners.items[i].fd);
	pid = fork();
	if (pid == 0)
		child_exec(c, &list, path);
out:
	if (pid > 0) {
		/* Also here: whoever comes first of the two. */
		setpgid(pid, pid);
		c->pid = pid;
		c->started_ms = io_now_ms();
		c->control =
			ipc_conn_create(m->base, pair[0], CONTROL_BODY_MAX, &control_handler, c);
		pair[0] = -1;
		set_state(c, CHILD_STARTING);
		log_event(LOGL_DEBUG, "master.child start", "daemon", c->def->name, "pid",
			log_i64(pid), NULL);
	} else {
		log_event(LOGL_ERROR, "master.child failed", "daemon", c->def->name, "reason",
			log_errno(errno), NULL);
		start_later(c);
	}
	io_close(&pair[0]);
	io_close(&pair[1]);
	io_close(&config_fd);
	buf_free(&list.env);
	free(path);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct child *c = arg;
	(void)fd;
	(void)what;

	if (c->state == CHILD_WAITING && c->m->phase != MASTER_ENDING)
		child_start(c);
}

struct child *
child_create(struct master *m, const struct daemon_def *def)
{
	struct child *c = MEM_NEW(struct child);
	struct child **at = &m->children;

	c->m = m;
	c->def = def;
	c->timer = evtimer_new(m->base, on_timer, c);
	while (*at)
		at = &(*at)->next;
	*at = c;
	return c;
}

/* ---- ending ---- */

static void
tell_to_end(struct child *c, enum master_frame how)
{
	if (c->state == CHILD_WAITING || c->state == CHILD_RESTING) {
		event_del(c->timer);
		callers_forget(c);
		set_state(c, CHILD_GONE);
		return;
	}
	if (c->state != CHILD_STOPPING)
		set_state(c, CHILD_STOPPING);
	if (c->control)
		ipc_conn_send(c->control, how, 0, (struct str){0}, NULL, 0);
	else if (c->pid > 0)
		kill(c->pid, SIGTERM);
}

void
child_stop(struct child *c)
{
	if (c->stop_sent || c->state == CHILD_GONE)
		return;
	c->stop_sent = 1;
	tell_to_end(c, MASTER_STOP);
}

void
child_retire(struct child *c)
{
	if (c->state != CHILD_STOPPING && c->state != CHILD_GONE)
		tell_to_end(c, MASTER_RETIRE);
}

void
child_kill(struct child *c)
{
	if (c->pid <= 0)
		return;
	log_event(LOGL_WARN, "master.child killed", "daemon", c->def->name, "pid", log_i64(c->pid),
		"reason", "did not stop in time", NULL);
	/* Its sessions with it. */
	kill(-c->pid, SIGKILL);
	kill(c->pid, SIGKILL);
}

/* It ended by itself, having nothing to do. */
static int
has_gone_to_rest(const struct child *c, int status)
{
	return c->def->rests && c->state == CHILD_READY && WIFEXITED(status) &&
	       WEXITSTATUS(status) == 0;
}

static int
wants_to_start_anew(const struct child *c, int status)
{
	return c->state == CHILD_READY && WIFEXITED(status) &&
	       WEXITSTATUS(status) == MASTER_EXIT_ANEW;
}

static void
log_end(const struct child *c, int status)
{
	const char *name = c->def->name, *pid = log_i64(c->pid);

	if (WIFSIGNALED(status))
		log_event(LOGL_ERROR, "master.child crash", "daemon", name, "pid", pid, "signal",
			log_i64(WTERMSIG(status)), "what", strsignal(WTERMSIG(status)), NULL);
	else if (c->state == CHILD_STOPPING || has_gone_to_rest(c, status) ||
		 wants_to_start_anew(c, status))
		log_event(LOGL_DEBUG, "master.child stopped", "daemon", name, "pid", pid, "status",
			log_i64(WEXITSTATUS(status)), NULL);
	else
		log_event(LOGL_ERROR, "master.child exit", "daemon", name, "pid", pid, "status",
			log_i64(WEXITSTATUS(status)), NULL);
}

size_t
orphans_left(struct master *m)
{
	struct pid_list *o = &m->orphans;
	size_t kept = 0;

	for (size_t i = 0; i < o->count; i++)
		if (kill(-o->pids[i], 0) == 0)
			o->pids[kept++] = o->pids[i];
	return o->count = kept;
}

static void
remember_orphans(struct master *m, pid_t group)
{
	struct pid_list *o = &m->orphans;

	orphans_left(m);
	if (kill(-group, 0) != 0)
		return;
	o->pids = mem_realloc(o->pids, o->count + 1, sizeof *o->pids);
	o->pids[o->count++] = group;
}

void
orphans_signal(struct master *m, int signum)
{
	for (size_t i = 0; i < m->orphans.count; i++)
		kill(-m->orphans.pids[i], signum);
}

static void
child_ended(struct child *c, int status)
{
	struct master *m = c->m;

	log_end(c, status);
	if (c->def->limits)
		limits_clear(m->limits_fd, c->pid);
	ipc_conn_free(&c->control);
	remember_orphans(m, c->pid);
	c->pid = 0;
	if (c->state == CHILD_STOPPING || c->retired || m->phase == MASTER_ENDING) {
		set_state(c, CHILD_GONE);
		return;
	}
	if (has_gone_to_rest(c, status)) {
		set_state(c, CHILD_RESTING);
		callers_watch(c);
		return;
	}
	/* Somebody else killed it (an administrator, the kernel for want of memory): no crash loop.
	 */
	if (io_now_ms() - c->started_ms >= ALIVE_RESET_MS || wants_to_start_anew(c, status) ||
		(c->state == CHILD_READY && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL))
		c->backoff_ms = 0;
	c->restarts++;
	counters_restarted(m->counters, c->def);
	set_state(c, CHILD_WAITING);
	start_later(c);
}

void
children_reap(struct master *m)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (struct child *c = m->children; c; c = c->next)
			if (c->pid == pid) {
				child_ended(c, status);
				break;
			}
}

void
children_sweep(struct master *m)
{
	for (struct child **at = &m->children; *at;) {
		struct child *c = *at;
		if (c->state != CHILD_GONE) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		ipc_conn_free(&c->control);
		callers_forget(c);
		event_free(c->timer);
		free(c);
	}
}
