/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "lib/session_child.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/ipc.h"
#include "lib/ipc_frame.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/metrics.h"

enum {
	REPORT_MAX = 1024,
	REPORT_WAIT_MS = 5000,
	RETURN_CONNECT_MS = 2000,
	RETURN_ANSWER_MS = 10 * 1000,
};

/* Set by SIGTERM; a process has one session at a time. */
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

static enum err
tell_parent(struct session *s, char what)
{
	const char text[SESSION_SLEEPS_LEN] = {SESSION_SLEEPS, what};

	if (s->channel < 0)
		return E_TEMPFAIL;
	/* It waits for room if need be: the parent has to hear of it. */
	while (send(s->channel, text, sizeof(text), MSG_NOSIGNAL) != (ssize_t)sizeof(text)) {
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN || io_wait_writable(s->channel, REPORT_WAIT_MS))
			return E_TEMPFAIL;
	}
	return OK;
}

enum err
session_sleeps(struct session *s, int asleep)
{
	return tell_parent(s, asleep ? SESSION_ASLEEP : SESSION_AWAKE);
}

/* Whether the proxy at the other end of sock has taken it. */
static int
was_taken(int sock)
{
	struct ipc_msg m;
	int taken = 0;

	if (ipc_recv(sock, &m, RETURN_ANSWER_MS) == OK && m.type == SESSION_TAKEN) {
		struct ipc_reader r = ipc_reader_of(buf_str(&m.body));
		int n = ipc_get_u8(&r);

		taken = ipc_reader_end(&r) == OK && n;
	}
	ipc_msg_free(&m);
	return taken;
}

enum err
session_return(struct session *s)
{
	char *path = conf_run_path(s->conf, "proxy-return");
	int sock = -1, fd = stream_fd(s->client);
	struct buf body = {0};
	enum err e;

	ipc_put_cstr(&body, s->info.id);
	ipc_put_str(&body, str_make(s->info.back, s->info.back_len));
	ipc_put_str(&body, stream_unread(s->client));
	e = stream_flush(s->client);
	e = e ? e : net_connect_unix(path, RETURN_CONNECT_MS, &sock);
	/* The client may log in again before this session has ended: there has to be room. */
	e = e ? e : tell_parent(s, SESSION_LEAVES);
	e = e ? e : ipc_send(sock, SESSION_RETURN, 1, buf_str(&body), &fd, 1, RETURN_ANSWER_MS);
	if (e || !was_taken(sock))
		e = E_TEMPFAIL;
	io_close(&sock);
	buf_wipe(&body);
	buf_free(&body);
	free(path);
	return e;
}

/* ---- the trace of a session ---- */

struct child_trace {
	const struct session_tracer *tracer;
	struct session_shared *shared;
	void *text; /* NULL before the first byte */
	int channel;
	unsigned lost; /* lines that the parent could not take */
};

static int
trace_send(const struct child_trace *t, int from_client, struct str line)
{
	char text[SESSION_TRACE_MAX] = {SESSION_TRACE, from_client ? 'C' : 'S'};
	size_t room = sizeof(text) - SESSION_TRACE_HEAD;
	size_t len = line.len < room ? line.len : room;

	if (len)
		memcpy(text + SESSION_TRACE_HEAD, line.p, len);
	return send(t->channel, text, SESSION_TRACE_HEAD + len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

static void
trace_line(void *arg, int from_client, struct str line)
{
	struct child_trace *t = arg;
	struct buf note = {0};

	/* A line is never empty, so that its report is longer than the other short ones. */
	if (!line.len)
		line = STR(" ");
	if (t->lost) {
		buf_printf(&note, "[%u lines were lost]", t->lost);
		t->lost = trace_send(t, from_client, buf_str(&note)) ? 0 : t->lost + 1;
		buf_free(&note);
	}
	if (!trace_send(t, from_client, line))
		t->lost++;
}

static void
trace_tap(void *arg, int from_client, const char *p, size_t len)
{
	struct child_trace *t = arg;

	if (!t->text)
		t->text = t->tracer->create(trace_line, t);
	t->tracer->set_content(t->text, t->shared->trace == SESSION_TRACE_CONTENT);
	t->tracer->feed(t->text, from_client, p, len);
}

/* Tells the parent that this process is free; *order is made the first time. 0: it cannot. */
static int
say_free(int channel, int *order)
{
	char byte = 1;
	struct iovec iov = {&byte, SESSION_WAITS_LEN};
	int pair[2] = {-1, -1};
	ssize_t n;

	if (*order < 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return 0;
	n = ipc_sendmsg(channel, &iov, 1, &pair[1], pair[1] >= 0, MSG_DONTWAIT);
	io_close(&pair[1]);
	if (*order < 0)
		*order = pair[0];
	return n == SESSION_WAITS_LEN;
}

/* Waits for the parent's next client. 0: there is none, this process is to end. */
static int
next_client(int channel, int *order, struct session_info *info, int *fd)
{
	struct ipc_msg m = {.fds = {-1, -1, -1, -1}};
	int got = 0;

	*info = (struct session_info){0};
	if (end_asked || !say_free(channel, order))
		return 0;
	/* The parent closes its end when it has no client any more; it repeats its SIGTERMs. */
	if (ipc_recv(*order, &m, -1) == OK && !end_asked && m.type == SESSION_HANDOVER &&
		m.fds[0] >= 0 && session_info_get(buf_str(&m.body), info) == OK) {
		*fd = m.fds[0];
		m.fds[0] = -1;
		got = 1;
	}
	if (!got)
		session_info_free(info);
	ipc_msg_free(&m);
	return got;
}

static int
serve(const struct session_program *program, struct session *s, struct session_shared *shared,
	int fd)
{
	struct child_trace trace = {
		.tracer = program->tracer, .shared = shared, .channel = s->channel};
	int status;

	log_set_context("session", s->info.id);
	io_set_nonblocking(fd, 0);
	s->client = stream_create(fd);
	stream_count_in(s->client, shared ? &shared->traffic : NULL);
	if (shared && program->tracer)
		stream_set_tap(s->client, trace_tap, &trace, &shared->trace);
	stream_push_input(s->client, str_make(s->info.input, s->info.input_len));
	status = program->run(s);
	metrics_add_labels(
		METRIC_CLIENT_BYTES, stream_bytes_in(s->client), program->name, "in", NULL);
	metrics_add_labels(
		METRIC_CLIENT_BYTES, stream_bytes_out(s->client), program->name, "out", NULL);
	stream_free(&s->client);
	session_info_free(&s->info);
	if (trace.text)
		trace.tracer->free(trace.text);
	return status;
}

void
session_child_main(struct service_run *run, const struct session_program *program, int channel,
	struct session_shared *shared, int fd, struct session_info *info)
{
	int keep[] = {fd, channel}, order = -1, status;
	struct sigaction action = {.sa_handler = on_end_signal};
	struct session s = {.conf = service_conf(run), .info = *info, .channel = channel};

	service_leave_in_child(run, keep, 2);
	/* No SA_RESTART: a wait for the client must notice. */
	sigaction(SIGTERM, &action, NULL);
	status = serve(program, &s, shared, fd);
	while (status == SESSION_AGAIN && next_client(channel, &order, &s.info, &fd)) {
		if (program->refresh)
			program->refresh(s.conf);
		status = serve(program, &s, shared, fd);
	}
	if (status == SESSION_AGAIN) {
		if (program->release)
			program->release(&s);
		status = 0;
	}
#ifdef ROOST_ASAN
	exit(status); /* the leak checker runs at exit */
#else
	_exit(status);
#endif
}
