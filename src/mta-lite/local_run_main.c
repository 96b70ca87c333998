/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <errno.h>
#include <pwd.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/session.h"
#include "mta-lite/local_run.h"

enum { REQUEST_WAIT_MS = 30 * 1000, ANSWER_WAIT_MS = 10 * 1000 };
/* Beside command_time_limit: a user's file may be where nothing ever answers. */
enum { FILE_TIME_S = 60 };

static void
set_up(const struct local_run *r)
{
	const struct rlimit none = {0, 0};
	const struct passwd *pw = getpwuid(geteuid());

	umask(077);
	(void)setrlimit(RLIMIT_CORE, &none);
	/* A user's command begins at home, if he has one. */
	if ((!r->job->forward || pw == NULL || chdir(pw->pw_dir) != 0) && chdir("/") != 0)
		log_event(LOGL_WARN, "local.run failed", "error", log_errno(errno), NULL);
	if (r->job->forward && r->job->target[0] == '/')
		(void)alarm((unsigned)(r->conf->command_time_limit / 1000) + FILE_TIME_S);
}

static void
deliver(struct local_run *r)
{
	const char *target = r->job->target;
	size_t len = strlen(target);

	if (!local_user_become(r))
		return;
	set_up(r);
	if (target[0] == '|')
		local_shell_run(r);
	else if (target[0] == '/' && target[len - 1] == '/')
		local_maildir_deliver(r);
	else if (target[0] == '/')
		local_file_deliver(r);
	else
		smtp_answer_set(r->answer, QUEUE_PENDING, "4.3.5",
			"what the alias leads to is neither a file nor a command");
}

static void
answer(int client, const struct smtp_answer *a)
{
	struct buf body = {0};

	ipc_put_u8(&body, (uint8_t)a->status);
	ipc_put_cstr(&body, a->dsn);
	ipc_put_cstr(&body, a->text ? a->text : "");
	(void)ipc_send(client, LOCAL_RAN, 0, buf_str(&body), NULL, 0, ANSWER_WAIT_MS);
	buf_free(&body);
}

static enum err
run_job(struct session *s, const struct ipc_msg *m)
{
	struct smtp_answer a = {0};
	struct local_job job = {0};
	struct local_run r = {.conf = s->conf,
		.job = &job,
		.file = m->fds[0],
		.client = stream_fd(s->client),
		.answer = &a};
	enum err e = r.file < 0 ? E_PROTO : local_job_get(buf_str(&m->body), &job);

	if (e == OK) {
		deliver(&r);
		answer(r.client, &a);
	}
	local_job_free(&job);
	smtp_answer_free(&a);
	return e;
}

static enum err
run_pipe(struct session *s, const struct ipc_msg *m)
{
	const struct rlimit none = {0, 0};
	struct smtp_answer a = {0};
	struct local_pipe p = {0};
	struct local_run r = {
		.conf = s->conf, .file = m->fds[0], .client = stream_fd(s->client), .answer = &a};
	enum err e = r.file < 0 ? E_PROTO : local_pipe_get(buf_str(&m->body), &p);

	if (e == OK) {
		umask(077);
		(void)setrlimit(RLIMIT_CORE, &none);
		local_pipe_run(&r, &p);
		answer(r.client, &a);
	}
	local_pipe_free(&p);
	smtp_answer_free(&a);
	return e;
}

static enum err
tell_forward(struct session *s, const struct ipc_msg *m)
{
	struct ipc_reader reader = ipc_reader_of(buf_str(&m->body));
	struct str address = ipc_get_str(&reader);
	enum err e = ipc_reader_end(&reader);
	struct buf body = {0};
	struct forward f;

	if (e)
		return e;
	local_forward_read(s->conf, address, &f);
	forward_put(&body, &f);
	(void)ipc_send(
		stream_fd(s->client), LOCAL_FORWARDS, 0, buf_str(&body), NULL, 0, ANSWER_WAIT_MS);
	buf_free(&body);
	forward_free(&f);
	return OK;
}

static int
run(struct session *s)
{
	struct ipc_msg m;
	enum err e = ipc_recv(stream_fd(s->client), &m, REQUEST_WAIT_MS);

	if (e == OK && m.type == LOCAL_RUN)
		e = run_job(s, &m);
	else if (e == OK && m.type == LOCAL_PIPE)
		e = run_pipe(s, &m);
	else if (e == OK)
		e = m.type == LOCAL_FORWARD ? tell_forward(s, &m) : E_PROTO;
	if (e && e != E_CLOSED)
		log_event(LOGL_ERROR, "local.run malformed", "error", err_word(e), NULL);
	ipc_msg_free(&m);
	return e ? 1 : 0;
}

/* What it runs is the administrator's, and it runs as a user who may do nothing special. */
static void
sandbox(const struct config *conf, struct sandbox *sb)
{
	(void)conf;
	sandbox_allow(sb, SANDBOX_CAN_ALL);
}

static const char *const listeners[] = {"local-run", NULL};

static const struct session_program local_run_program = {
	.name = "local-run",
	.accept = listeners,
	.sandbox = sandbox,
	.run = run,
};

int
main(int argc, char **argv)
{
	return session_main(&local_run_program, argc, argv);
}
