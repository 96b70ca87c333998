/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "lib/session.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "lib/io.h"
#include "lib/ipc.h"
#include "lib/ipc_frame.h"
#include "lib/link.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/metrics.h"
#include "lib/service.h"
#include "lib/session_child.h"
#include "lib/session_children.h"
#include "lib/session_trace.h"

enum {
	HANDOVER_BODY_MAX = 2 << 20,
	REPORT_MAX = 1024,
	DRAIN_AGAIN_MS = 500, /* repeat SIGTERM: the first may fall between a check and a poll */
	RETIRE_LINKS_MS = 5000, /* until whoever hands clients over has turned to the new process */
	SESSION_ID_BYTES = 8,
	LISTENERS_MAX = 8,
	VERBS_MAX = 16,
};

/* ---- reports of children ---- */

/*
 * The kernel says who sent the datagram, so a child can speak for itself only. *fd: the descriptor
 * that came along, or -1.
 */
static pid_t
sender_of(struct msghdr *msg, int *fd)
{
	pid_t pid = 0;

	*fd = -1;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		struct ucred cred;

		if (c->cmsg_level != SOL_SOCKET)
			continue;
		if (c->cmsg_type == SCM_CREDENTIALS) {
			memcpy(&cred, CMSG_DATA(c), sizeof(cred));
			pid = cred.pid;
		} else if (c->cmsg_type == SCM_RIGHTS) {
			/* There is room for one; the kernel closes what does not fit. */
			memcpy(fd, CMSG_DATA(c), sizeof(*fd));
		}
	}
	return pid;
}

static void
child_reported(struct child *c, const char *text, size_t len)
{
	size_t user_len = strlen(text);

	if (c->state != CHILD_SERVING || user_len + 1 >= len)
		return;
	free(c->user);
	free(c->detail);
	c->user = mem_strdup(text);
	c->detail = mem_strdup(text + user_len + 1);
}

static void
on_report(evutil_socket_t fd, short what, void *arg)
{
	struct service_run *run = arg;
	struct parent *p = service_state(run);

	(void)what;
	for (;;) {
		char text[REPORT_MAX + 1];
		union {
			char space[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int))];
			struct cmsghdr align;
		} control;
		struct iovec iov = {text, REPORT_MAX};
		struct msghdr msg = {.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = control.space,
			.msg_controllen = sizeof(control.space)};
		ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		struct child *c;
		int order;

		if (n <= 0)
			return;
		text[n] = '\0';
		c = *children_find(p, sender_of(&msg, &order));
		if (c && n == SESSION_SLEEPS_LEN && text[0] == SESSION_SLEEPS) {
			if (c->state == CHILD_SERVING && text[1] == SESSION_LEAVES)
				children_leaves(p, c);
			else if (c->state == CHILD_SERVING)
				children_sleeps(p, c, text[1] == SESSION_ASLEEP);
			io_close(&order);
			continue;
		}
		if (c && n > SESSION_TRACE_HEAD && text[0] == SESSION_TRACE) {
			session_trace_take(p, c, text[1], str_make(text + 2, (size_t)n - 2));
			io_close(&order);
			continue;
		}
		if (c && n == SESSION_WAITS_LEN) {
			children_is_free(run, c, order);
			continue;
		}
		io_close(&order);
		if (c) {
			child_reported(c, text, (size_t)n);
			session_trace_look(p, c);
		}
	}
}

/* ---- starting a child ---- */

/* fd and *info are taken over. NULL: refused. */
static struct child *
child_start(struct service_run *run, int fd, struct session_info *info)
{
	struct parent *p = service_state(run);
	unsigned max = p->program->max_children ? p->program->max_children
						: (unsigned)service_conf(run)->max_connections;
	int take = p->serving < max && !service_is_draining(run);
	struct child *c = take ? children_reuse(run, fd, info) : NULL;
	struct session_shared *shared = NULL;
	pid_t pid = -1;

	if (take && !c) {
		if (p->program->refresh)
			p->program->refresh(service_conf(run));
		shared = session_pool_get(p->pool);
		pid = fork();
	}
	if (pid == 0)
		session_child_main(run, p->program, p->reports[1], shared, fd, info);
	if (pid > 0)
		c = children_add(p, pid, info, service_conf(run)->generation, shared);
	else
		session_pool_put(p->pool, shared);
	if (!c)
		log_event(LOGL_WARN, "session.start refused", "service", info->service, "session",
			info->id, "sessions", log_u64(p->serving), "max", log_u64(max), NULL);
	if (c)
		session_trace_look(p, c);
	metrics_add_labels(
		c ? METRIC_SESSIONS_STARTED : METRIC_SESSIONS_REFUSED, 1, p->program->name, NULL);
	session_info_free(info);
	close(fd);
	return c;
}

/* ---- clients handed over ---- */

/* NULL: malformed or refused. */
static struct child *
take_over(struct service_run *run, struct ipc_msg *m)
{
	struct session_info info = {0};
	struct child *child = NULL;

	if (m->type == SESSION_HANDOVER && m->fds[0] >= 0 &&
		session_info_get(buf_str(&m->body), &info) == OK) {
		child = child_start(run, m->fds[0], &info);
		m->fds[0] = -1;
	} else {
		log_event(LOGL_ERROR, "session.handover malformed", NULL);
		session_info_free(&info);
	}
	return child;
}

static void
answer_taken(struct ipc_conn *c, uint32_t request, enum session_answer taken)
{
	struct buf answer = {0};

	ipc_put_u8(&answer, (uint8_t)taken);
	ipc_conn_send(c, SESSION_TAKEN, request, buf_str(&answer), NULL, 0);
	buf_free(&answer);
}

static void
on_handover(struct ipc_conn *c, struct ipc_msg *m, void *arg)
{
	struct child *child;

	if (m->type == SESSION_TRACED) {
		session_trace_take_early(service_state(arg), m);
		return;
	}
	/* A session that gave this client back said so first, but on another socket. */
	on_report(((struct parent *)service_state(arg))->reports[0], EV_READ, arg);
	/* It was sent before the word that another process is here reached its sender. */
	if (service_is_retiring(arg)) {
		answer_taken(c, m->request, SESSION_ELSEWHERE);
		return;
	}
	child = take_over(arg, m);
	if (child) {
		child->origin = c;
		child->request = m->request;
	}
	answer_taken(c, m->request, child ? SESSION_ACCEPTED : SESSION_REFUSED);
}

/* Begins to wait for the end of a parent that nobody needs. */
static void
parent_maybe_rest(struct service_run *run)
{
	struct parent *p = service_state(run);
	int64_t ms = service_conf(run)->max_idle;

	if (!p->program->rests || p->count || p->link_count || service_is_draining(run))
		return;
	event_add(p->rest_event, &(struct timeval){ms / 1000, ms % 1000 * 1000});
}

static void
on_rest_timer(evutil_socket_t fd, short what, void *arg)
{
	const struct parent *p = service_state(arg);

	(void)fd;
	(void)what;
	if (!p->count && !p->link_count)
		service_exit(arg, 0);
}

/* A process that ends in good order waits for its sessions, and for what was sent to it. */
static void
parent_maybe_done(struct service_run *run)
{
	struct parent *p = service_state(run);

	if (p->count || !service_is_draining(run))
		return;
	if (!service_is_retiring(run) || !p->link_count)
		service_exit(run, 0);
}

static void
forget_origin(struct child *child, void *arg)
{
	if (child->origin == arg)
		child->origin = NULL;
}

static void
on_handover_close(struct ipc_conn *c, enum err e, void *arg)
{
	struct parent *p = service_state(arg);

	(void)e;
	children_each(p, forget_origin, c);
	session_sleepers_forget(&p->sleepers, c);
	for (size_t i = 0; i < p->link_count; i++)
		if (p->links[i] == c)
			p->links[i] = p->links[--p->link_count];
	parent_maybe_done(arg);
	parent_maybe_rest(arg);
}

/* ---- sessions that wake ---- */

static void
on_wake(struct ipc_conn *c, struct ipc_msg *m, void *arg)
{
	struct parent *p = service_state(arg);
	struct ipc_reader r = ipc_reader_of(buf_str(&m->body));
	struct session_sleeper **at;
	struct child *child;
	char *id;

	/* Whoever put it to sleep said so first, but on another socket. */
	on_report(p->reports[0], EV_READ, arg);
	if (m->type == SESSION_GONE) {
		id = ipc_get_dup(&r);
		if (!ipc_reader_end(&r))
			session_sleeper_ended(&p->sleepers, id);
		free(id);
		return;
	}
	child = take_over(arg, m);
	at = child ? session_sleeper_find(&p->sleepers, child->id) : NULL;
	if (at && *at) {
		child->origin = (*at)->origin;
		child->request = (*at)->request;
		session_sleeper_remove(&p->sleepers, at);
	}
	answer_taken(c, m->request, child ? SESSION_ACCEPTED : SESSION_REFUSED);
}

/* The keeper ended, and with it all that slept. */
static void
on_wake_close(struct ipc_conn *c, enum err e, void *arg)
{
	(void)c;
	(void)e;
	session_sleepers_end(&((struct parent *)service_state(arg))->sleepers, 1);
}

static void
on_accept_wake(struct service_run *run, int fd, const struct net_addr *peer)
{
	static const struct ipc_conn_handler handler = {on_wake, on_wake_close};

	(void)peer;
	ipc_conn_create(service_base(run), fd, HANDOVER_BODY_MAX, &handler, run);
}

static void
on_accept_handover(struct service_run *run, int fd, const struct net_addr *peer)
{
	static const struct ipc_conn_handler handler = {on_handover, on_handover_close};
	struct parent *p = service_state(run);

	(void)peer;
	p->links = mem_realloc(p->links, p->link_count + 1, sizeof(*p->links));
	p->links[p->link_count++] =
		ipc_conn_create(service_base(run), fd, HANDOVER_BODY_MAX, &handler, run);
	if (!TAILQ_EMPTY(&p->traces))
		session_trace_tell(p, p->links[p->link_count - 1]);
}

/* ---- clients accepted here ---- */

static void
accept_direct(struct service_run *run, int fd, const struct net_addr *peer, const char *service)
{
	struct session_info info = {.peer = *peer, .fresh = 1};
	char id[2 * SESSION_ID_BYTES + 1];

	io_random_hex(id, SESSION_ID_BYTES);
	info.local.len = sizeof(info.local.sa);
	if (getsockname(fd, (struct sockaddr *)&info.local.sa, &info.local.len) < 0)
		info.local.len = 0;
	info.id = mem_strdup(id);
	info.service = mem_strdup(service);
	info.tls_text = mem_strdup("");
	info.user = mem_strdup("");
	info.token = mem_strdup("");
	info.tag = mem_strdup("");
	info.helo = mem_strdup("");
	info.input = mem_strdup("");
	child_start(run, fd, &info);
}

/* One function a listener, since on_accept is not told which listener it serves. */
static struct session_accept {
	const char *service;
} accept_slots[2];

static void
on_accept_slot0(struct service_run *run, int fd, const struct net_addr *peer)
{
	accept_direct(run, fd, peer, accept_slots[0].service);
}

static void
on_accept_slot1(struct service_run *run, int fd, const struct net_addr *peer)
{
	accept_direct(run, fd, peer, accept_slots[1].service);
}

/* ---- ends of children ---- */

static void
log_end(const struct child *c, int status)
{
	if (WIFSIGNALED(status)) {
		metrics_add_labels(METRIC_SESSION_CRASHES, 1, metrics_daemon(), NULL);
		log_event(LOGL_ERROR, "session.crash signal", "signal", strsignal(WTERMSIG(status)),
			"service", c->service, "session", c->id, "user", c->user, "ip", c->peer,
			NULL);
	} else if (WEXITSTATUS(status)) {
		log_event(LOGL_WARN, "session.exit status", "status", log_i64(WEXITSTATUS(status)),
			"service", c->service, "session", c->id, NULL);
	}
}

static void
on_child(evutil_socket_t fd, short what, void *arg)
{
	struct service_run *run = arg;
	struct parent *p = service_state(run);
	int status;
	pid_t pid;

	(void)fd;
	(void)what;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct child **at = children_find(p, pid);

		if (!*at)
			continue;
		/* Nobody knows how far it came with giving its client away. */
		if (status != 0 && children_sleeper(p, *at))
			session_sleeper_ended(&p->sleepers, (*at)->id);
		log_end(*at, status);
		children_remove(p, at);
	}
	parent_maybe_done(run);
	parent_maybe_rest(run);
}

static void
end_child(struct child *c, void *arg)
{
	(void)arg;
	kill(c->pid, SIGTERM);
}

static void
on_drain_again(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	children_each(arg, end_child, NULL);
}

static void
parent_drain(struct service_run *run)
{
	struct parent *p = service_state(run);
	struct timeval again = {0, DRAIN_AGAIN_MS * 1000};

	while (!TAILQ_EMPTY(&p->waiting))
		children_retire(p, TAILQ_FIRST(&p->waiting));
	children_each(p, end_child, NULL);
	event_add(p->drain_event, &again);
	parent_maybe_done(run);
}

static void
on_retire_timer(evutil_socket_t fd, short what, void *arg)
{
	struct parent *p = service_state(arg);

	(void)fd;
	(void)what;
	/* Whoever is still here has nothing under way, and does not listen. */
	if (!p->count)
		service_exit(arg, 0);
	else
		event_add(p->retire_event, &(struct timeval){RETIRE_LINKS_MS / 1000, 0});
}

/* Clients finish, with the settings that they had when they came. */
static void
parent_retire(struct service_run *run)
{
	struct parent *p = service_state(run);

	for (size_t i = 0; i < p->link_count; i++)
		ipc_conn_send(p->links[i], LINK_MOVED, 0, (struct str){0}, NULL, 0);
	while (!TAILQ_EMPTY(&p->waiting))
		children_retire(p, TAILQ_FIRST(&p->waiting));
	event_add(p->retire_event, &(struct timeval){RETIRE_LINKS_MS / 1000, 0});
	parent_maybe_done(run);
}

/* ---- control verbs ---- */

static void
who_add(struct child *c, void *arg)
{
	json_int_t in, out;

	if (c->state != CHILD_SERVING)
		return;
	in = (json_int_t)c->in_before;
	in += (json_int_t)session_shared_in(c->shared);
	out = (json_int_t)c->out_before;
	out += (json_int_t)session_shared_out(c->shared);
	json_array_append_new(
		arg, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:s, s:I, s:i, s:I, s:I}",
			     "session", c->id, "service", c->service, "user", c->user, "address",
			     c->peer, "detail", c->detail, "tls_text", c->tls_text, "tls", c->tls,
			     "protocol", c->service, "since", (json_int_t)c->since, "pid",
			     (int)c->pid, "bytes_in", in, "bytes_out", out));
}

static void
verb_who(struct service_run *run, struct ctl_request *req, const json_t *args)
{
	json_t *list = json_array();

	(void)args;
	children_each(service_state(run), who_add, list);
	ctl_reply_ok(req, list);
}

struct kick {
	const char *session, *user;
	json_int_t count;
};

static void
kick_child(struct child *c, void *arg)
{
	struct kick *k = arg;

	if (c->state != CHILD_SERVING)
		return;
	if ((k->session && strcmp(k->session, c->id) == 0) ||
		(k->user && strcasecmp(k->user, c->user) == 0)) {
		kill(c->pid, SIGTERM);
		c->kicked = 1;
		k->count++;
	}
}

static void
verb_kick(struct service_run *run, struct ctl_request *req, const json_t *args)
{
	struct kick k = {.session = json_string_value(json_object_get(args, "session")),
		.user = json_string_value(json_object_get(args, "user"))};

	if (!k.session && !k.user) {
		ctl_reply_error(req, E_PARSE, "say which: a session id or a user");
		return;
	}
	children_each(service_state(run), kick_child, &k);
	ctl_reply_ok(req, json_pack("{s:I}", "kicked", k.count));
}

static void
parent_status(struct service_run *run, json_t *object)
{
	struct parent *p = service_state(run);

	json_object_set_new(object, "sessions", json_integer(p->serving));
	if (p->program->wake)
		json_object_set_new(object, "sleeping", json_integer(p->sleepers.count));
	json_object_set_new(object, "served", json_integer((json_int_t)p->served));
}

/* ---- the parent ---- */

static const struct session_program *the_program;

static enum err
parent_start(struct service_run *run)
{
	struct parent *p = MEM_NEW(struct parent);
	int on = 1;

	p->program = the_program;
	p->pool = session_pool_create();
	TAILQ_INIT(&p->waiting);
	TAILQ_INIT(&p->traces);
	service_set_state(run, p);
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, p->reports) < 0 ||
		setsockopt(p->reports[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0)
		return err_from_errno(errno);
	p->report_event =
		event_new(service_base(run), p->reports[0], EV_READ | EV_PERSIST, on_report, run);
	p->child_event = evsignal_new(service_base(run), SIGCHLD, on_child, run);
	p->drain_event = event_new(service_base(run), -1, EV_PERSIST, on_drain_again, p);
	p->waiting_event = evtimer_new(service_base(run), children_on_waiting, p);
	p->retire_event = evtimer_new(service_base(run), on_retire_timer, run);
	p->rest_event = evtimer_new(service_base(run), on_rest_timer, run);
	event_add(p->report_event, NULL);
	event_add(p->child_event, NULL);
	parent_maybe_rest(run);
	return p->program->warm ? p->program->warm(service_conf(run)) : OK;
}

static void
parent_sandbox(const struct config *conf, struct sandbox *sb)
{
	sandbox_allow(sb, SANDBOX_CAN_FORK);
	if (the_program->sandbox)
		the_program->sandbox(conf, sb);
}

static void
parent_stop(struct service_run *run)
{
	struct parent *p = service_state(run);

	for (size_t i = 0; i < CHILD_BUCKETS; i++)
		while (p->children[i])
			children_remove(p, &p->children[i]);
	session_sleepers_end(&p->sleepers, 0);
	session_trace_end(p);
	session_pool_free(&p->pool);
	while (p->link_count)
		ipc_conn_free(&p->links[--p->link_count]);
	free(p->links);
	event_free(p->report_event);
	event_free(p->child_event);
	event_free(p->drain_event);
	event_free(p->waiting_event);
	event_free(p->retire_event);
	event_free(p->rest_event);
	io_close(&p->reports[0]);
	io_close(&p->reports[1]);
	free(p);
}

static size_t
build_listeners(const struct session_program *program, struct service_listener *out)
{
	static void (*const slots[])(struct service_run *, int, const struct net_addr *) = {
		on_accept_slot0, on_accept_slot1};
	size_t n = 0;

	if (program->handover)
		out[n++] = (struct service_listener){program->handover, on_accept_handover};
	if (program->wake)
		out[n++] = (struct service_listener){program->wake, on_accept_wake};
	for (size_t i = 0; program->accept && program->accept[i]; i++) {
		ROOST_ASSERT(i < sizeof(slots) / sizeof(slots[0]));
		accept_slots[i].service = program->accept[i];
		out[n++] = (struct service_listener){program->accept[i], slots[i]};
	}
	return n;
}

int
session_main(const struct session_program *program, int argc, char **argv)
{
	struct service_listener listeners[LISTENERS_MAX] = {{0}};
	struct ctl_verb verbs[VERBS_MAX] = {{"who", verb_who}, {"kick", verb_kick},
		{"trace-start", session_trace_verb_start}, {"trace-read", session_trace_verb_read},
		{"trace-stop", session_trace_verb_stop}};
	struct service spec = {
		.name = program->name,
		.listeners = listeners,
		.ctl = verbs,
		.start = parent_start,
		.sandbox = parent_sandbox,
		.drain = parent_drain,
		.stop = parent_stop,
		.status = parent_status,
		.check = program->check,
	};
	size_t n = 5;

	build_listeners(program, listeners);
	/* What serves our own daemons, which connect again, ends as soon as it can. */
	if (program->handover)
		spec.retire = parent_retire;
	for (const struct ctl_verb *v = program->ctl; v && v->name && n < VERBS_MAX - 1; v++)
		verbs[n++] = *v;
	the_program = program;
	return service_main(&spec, argc, argv);
}
