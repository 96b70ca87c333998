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
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/service.h"

enum {
	HANDOVER_BODY_MAX = 2 << 20,
	CHILD_BUCKETS = 1024,
	REPORT_MAX = 1024,
	DRAIN_AGAIN_MS = 500, /* repeat SIGTERM: the first may fall between a check and a poll */
	SESSION_ID_BYTES = 8,
	LISTENERS_MAX = 8,
	VERBS_MAX = 16,
};

/* A session under way, for `who`, `kick` and the end. */
struct child {
	struct child *next; /* in its bucket */
	pid_t pid;
	time_t since;
	int tls;
	char *id, *service, *peer, *tls_text, *user, *detail;
	struct ipc_conn *origin; /* who handed it over and is told of its end; or NULL */
	uint32_t request;
};

struct parent {
	const struct session_program *program;
	struct child *children[CHILD_BUCKETS]; /* by process id */
	unsigned count;
	uint64_t served;
	int reports[2]; /* datagrams: [0] read by the parent, [1] written by all children */
	struct event *report_event, *child_event, *drain_event;
};

/* Set by SIGTERM in a child; a process has one session. */
static volatile sig_atomic_t end_asked;

int
session_should_end(const struct session *s)
{
	(void)s;
	return end_asked;
}

static void
on_end_signal(int signum)
{
	(void)signum;
	end_asked = 1;
}

/* ---- the table of children ---- */

static struct child **
child_find(struct parent *p, pid_t pid)
{
	struct child **at = &p->children[(unsigned)pid % CHILD_BUCKETS];

	while (*at && (*at)->pid != pid)
		at = &(*at)->next;
	return at;
}

static struct child *
child_add(struct parent *p, pid_t pid, const struct session_info *info)
{
	struct child *c = MEM_NEW(struct child);
	struct child **bucket = &p->children[(unsigned)pid % CHILD_BUCKETS];
	char peer[NET_ADDR_TEXT];

	net_addr_format(&info->peer, peer);
	c->pid = pid;
	c->since = time(NULL);
	c->tls = info->tls;
	c->id = mem_strdup(info->id);
	c->service = mem_strdup(info->service);
	c->peer = mem_strdup(peer);
	c->tls_text = mem_strdup(info->tls_text);
	c->user = mem_strdup(info->user);
	c->detail = mem_strdup("");
	c->next = *bucket;
	*bucket = c;
	p->count++;
	p->served++;
	return c;
}

static void
child_remove(struct parent *p, struct child **at)
{
	struct child *c = *at;

	*at = c->next;
	free(c->id);
	free(c->service);
	free(c->peer);
	free(c->tls_text);
	free(c->user);
	free(c->detail);
	free(c);
	p->count--;
}

static void
each_child(struct parent *p, void (*call)(struct child *, void *), void *arg)
{
	for (size_t i = 0; i < CHILD_BUCKETS; i++)
		for (struct child *c = p->children[i]; c; c = c->next)
			call(c, arg);
}

/* ---- reports of children ---- */

void
session_report(struct session *s, const char *user, const char *detail)
{
	char text[REPORT_MAX];
	size_t user_len = strlen(user) + 1, detail_len = strlen(detail) + 1;

	if (s->channel < 0 || user_len + detail_len > sizeof(text))
		return;
	memcpy(text, user, user_len);
	memcpy(text + user_len, detail, detail_len);
	(void)!send(s->channel, text, user_len + detail_len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* The kernel says who sent the datagram, so a child can speak for itself only. */
static pid_t
sender_of(struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		struct ucred cred;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_CREDENTIALS)
			continue;
		memcpy(&cred, CMSG_DATA(c), sizeof(cred));
		return cred.pid;
	}
	return 0;
}

static void
on_report(evutil_socket_t fd, short what, void *arg)
{
	struct parent *p = arg;

	(void)what;
	for (;;) {
		char text[REPORT_MAX + 1];
		union {
			char space[CMSG_SPACE(sizeof(struct ucred))];
			struct cmsghdr align;
		} control;
		struct iovec iov = {text, REPORT_MAX};
		struct msghdr msg = {.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = control.space,
			.msg_controllen = sizeof(control.space)};
		ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		struct child *c;
		size_t user_len;

		if (n <= 0)
			return;
		text[n] = '\0';
		c = *child_find(p, sender_of(&msg));
		user_len = strlen(text);
		if (!c || user_len + 1 >= (size_t)n)
			continue;
		free(c->user);
		free(c->detail);
		c->user = mem_strdup(text);
		c->detail = mem_strdup(text + user_len + 1);
	}
}

/* ---- starting a child ---- */

static int __attribute__((noreturn))
child_main(struct service_run *run, struct parent *p, int fd, struct session_info *info)
{
	int keep[] = {fd, p->reports[1]};
	struct sigaction action = {.sa_handler = on_end_signal};
	struct session s = {.conf = service_conf(run), .info = *info, .channel = p->reports[1]};
	int status;

	service_leave_in_child(run, keep, 2);
	/* No SA_RESTART: a wait for the client must notice. */
	sigaction(SIGTERM, &action, NULL);
	log_set_context("session", info->id);
	io_set_nonblocking(fd, 0);
	s.client = stream_create(fd);
	stream_push_input(s.client, str_make(info->input, info->input_len));
	status = p->program->run(&s);
	stream_free(&s.client);
	session_info_free(&s.info);
#ifdef ROOST_ASAN
	exit(status); /* the leak checker runs at exit */
#else
	_exit(status);
#endif
}

/* fd and *info are taken over. NULL: refused. */
static struct child *
child_start(struct service_run *run, int fd, struct session_info *info)
{
	struct parent *p = service_state(run);
	unsigned max = p->program->max_children ? p->program->max_children
						: (unsigned)service_conf(run)->max_connections;
	struct child *c = NULL;
	pid_t pid = -1;

	if (p->count < max && !service_is_draining(run))
		pid = fork();
	if (pid == 0)
		child_main(run, p, fd, info);
	if (pid > 0)
		c = child_add(p, pid, info);
	else
		log_event(LOGL_WARN, "session.start refused", "service", info->service, "session",
			info->id, "sessions", log_u64(p->count), "max", log_u64(max), NULL);
	session_info_free(info);
	close(fd);
	return c;
}

/* ---- clients handed over ---- */

static void
on_handover(struct ipc_conn *c, struct ipc_msg *m, void *arg)
{
	struct service_run *run = arg;
	struct session_info info = {0};
	struct buf answer = {0};
	struct child *child = NULL;

	if (m->type == SESSION_HANDOVER && m->fds[0] >= 0 &&
		session_info_get(buf_str(&m->body), &info) == OK) {
		child = child_start(run, m->fds[0], &info);
		m->fds[0] = -1;
		if (child) {
			child->origin = c;
			child->request = m->request;
		}
	} else if (m->type == SESSION_HANDOVER) {
		log_event(LOGL_ERROR, "session.handover malformed", NULL);
		session_info_free(&info);
	}
	ipc_put_u8(&answer, child != NULL);
	ipc_conn_send(c, SESSION_TAKEN, m->request, buf_str(&answer), NULL, 0);
	buf_free(&answer);
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
	(void)e;
	each_child(service_state(arg), forget_origin, c);
}

static void
on_accept_handover(struct service_run *run, int fd, const struct net_addr *peer)
{
	static const struct ipc_conn_handler handler = {on_handover, on_handover_close};

	(void)peer;
	ipc_conn_create(service_base(run), fd, HANDOVER_BODY_MAX, &handler, run);
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
	if (WIFSIGNALED(status))
		log_event(LOGL_ERROR, "session.crash signal", "signal", strsignal(WTERMSIG(status)),
			"service", c->service, "session", c->id, "user", c->user, "ip", c->peer,
			NULL);
	else if (WEXITSTATUS(status))
		log_event(LOGL_WARN, "session.exit status", "status", log_i64(WEXITSTATUS(status)),
			"service", c->service, "session", c->id, NULL);
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
		struct child **at = child_find(p, pid);

		if (!*at)
			continue;
		log_end(*at, status);
		if ((*at)->origin)
			ipc_conn_send((*at)->origin, SESSION_ENDED, (*at)->request, (struct str){0},
				NULL, 0);
		child_remove(p, at);
	}
	if (service_is_draining(run) && !p->count)
		service_exit(run, 0);
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
	each_child(arg, end_child, NULL);
}

static void
parent_drain(struct service_run *run)
{
	struct parent *p = service_state(run);
	struct timeval again = {0, DRAIN_AGAIN_MS * 1000};

	if (!p->count) {
		service_exit(run, 0);
		return;
	}
	each_child(p, end_child, NULL);
	event_add(p->drain_event, &again);
}

/* ---- control verbs ---- */

static void
who_add(struct child *c, void *arg)
{
	json_array_append_new(arg,
		json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:s, s:I, s:i}", "session", c->id,
			"service", c->service, "user", c->user, "address", c->peer, "detail",
			c->detail, "tls_text", c->tls_text, "tls", c->tls, "protocol", c->service,
			"since", (json_int_t)c->since, "pid", (int)c->pid));
}

static void
verb_who(struct service_run *run, struct ctl_request *req, const json_t *args)
{
	json_t *list = json_array();

	(void)args;
	each_child(service_state(run), who_add, list);
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

	if ((k->session && strcmp(k->session, c->id) == 0) ||
		(k->user && strcasecmp(k->user, c->user) == 0)) {
		kill(c->pid, SIGTERM);
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
	each_child(service_state(run), kick_child, &k);
	ctl_reply_ok(req, json_pack("{s:I}", "kicked", k.count));
}

static void
parent_status(struct service_run *run, json_t *object)
{
	struct parent *p = service_state(run);

	json_object_set_new(object, "sessions", json_integer(p->count));
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
	service_set_state(run, p);
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, p->reports) < 0 ||
		setsockopt(p->reports[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0)
		return err_from_errno(errno);
	p->report_event =
		event_new(service_base(run), p->reports[0], EV_READ | EV_PERSIST, on_report, p);
	p->child_event = evsignal_new(service_base(run), SIGCHLD, on_child, run);
	p->drain_event = event_new(service_base(run), -1, EV_PERSIST, on_drain_again, p);
	event_add(p->report_event, NULL);
	event_add(p->child_event, NULL);
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
			child_remove(p, &p->children[i]);
	event_free(p->report_event);
	event_free(p->child_event);
	event_free(p->drain_event);
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
	struct ctl_verb verbs[VERBS_MAX] = {{"who", verb_who}, {"kick", verb_kick}};
	struct service spec = {
		.name = program->name,
		.listeners = listeners,
		.ctl = verbs,
		.start = parent_start,
		.sandbox = parent_sandbox,
		.drain = parent_drain,
		.stop = parent_stop,
		.status = parent_status,
	};
	size_t n = 2;

	build_listeners(program, listeners);
	for (const struct ctl_verb *v = program->ctl; v && v->name && n < VERBS_MAX - 1; v++)
		verbs[n++] = *v;
	the_program = program;
	return service_main(&spec, argc, argv);
}
