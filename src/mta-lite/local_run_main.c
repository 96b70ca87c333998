/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/session.h"
#include "mta-lite/local_run.h"

enum { REQUEST_WAIT_MS = 30 * 1000, ANSWER_WAIT_MS = 10 * 1000 };

static void
deliver(struct local_run *r)
{
	const struct rlimit none = {0, 0};
	const char *target = r->job->target;
	size_t len;

	if (!local_user_become(r))
		return;
	umask(077);
	(void)setrlimit(RLIMIT_CORE, &none);
	if (chdir("/") != 0)
		return;
	len = strlen(target);
	if (target[0] == '|')
		local_command_run(r);
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

static int
run(struct session *s)
{
	struct smtp_answer a = {0};
	struct local_job job = {0};
	struct local_run r = {
		.conf = s->conf, .job = &job, .client = stream_fd(s->client), .answer = &a};
	struct ipc_msg m;
	enum err e = ipc_recv(r.client, &m, REQUEST_WAIT_MS);

	if (e == OK && (m.type != LOCAL_RUN || m.fds[0] < 0))
		e = E_PROTO;
	if (e == OK)
		e = local_job_get(buf_str(&m.body), &job);
	if (e == OK) {
		r.file = m.fds[0];
		deliver(&r);
		answer(r.client, &a);
	} else if (e != E_CLOSED) {
		log_event(LOGL_ERROR, "local.run malformed", "error", err_word(e), NULL);
	}
	ipc_msg_free(&m);
	local_job_free(&job);
	smtp_answer_free(&a);
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
