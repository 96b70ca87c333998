/* SPDX-License-Identifier: MIT */
#include "index/fts/fts_service.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "index/fts/fts_proto.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

/* Processes that answer: one for each user who searches. */
enum { ANSWERERS_MAX = 256, CHANNEL_BODY_MAX = 64 * 1024, WANTED_DELAY_MS = 100 };

static void
on_message(struct ipc_conn *c, struct ipc_msg *m, void *arg)
{
	struct fts_user *u = arg;
	struct ipc_reader r = ipc_reader_of(buf_str(&m->body));
	char *user, *maildir, *index_dir;

	(void)c;
	if (m->type == FTS_DAMAGED) {
		u->fresh = 1;
		if (u->maildir)
			fts_user_changed(u, 0);
		return;
	}
	user = ipc_get_dup(&r);
	maildir = ipc_get_dup(&r);
	index_dir = ipc_get_dup(&r);
	if (m->type == FTS_WANTED && !ipc_reader_end(&r)) {
		fts_user_place(u, maildir, index_dir);
		fts_user_changed(u, WANTED_DELAY_MS);
	}
	free(user);
	free(maildir);
	free(index_dir);
}

void
fts_answer_end(struct fts_user *u)
{
	if (!u->answer)
		return;
	ipc_conn_free(&u->answer);
	u->fts->answering--;
	/* It ends when it sees the channel closed; one that hangs must not be waited for. */
	(void)kill(u->answer_pid, SIGKILL);
	while (waitpid(u->answer_pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static void
on_close(struct ipc_conn *c, enum err e, void *arg)
{
	struct fts_user *u = arg;

	(void)c;
	(void)e;
	/* The connection is freed behind this. */
	u->answer = NULL;
	u->fts->answering--;
	(void)kill(u->answer_pid, SIGKILL);
	while (waitpid(u->answer_pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static void __attribute__((noreturn)) answer_main(struct fts_user *u, int fd)
{
	/* Another service would take the same user for one that nobody works at. */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	service_leave_in_child(u->fts->run, &fd, 1);
	_exit(fts_answer_run(service_conf(u->fts->run), u->name, fd));
}

static enum err
answer_start(struct fts_user *u)
{
	static const struct ipc_conn_handler handler = {on_message, on_close};
	int pair[2];

	if (u->fts->answering == ANSWERERS_MAX ||
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		return E_TEMPFAIL;
	u->answer_pid = fork();
	if (u->answer_pid == 0)
		answer_main(u, pair[1]);
	close(pair[1]);
	if (u->answer_pid < 0) {
		close(pair[0]);
		return E_TEMPFAIL;
	}
	(void)io_set_nonblocking(pair[0], 1);
	u->answer =
		ipc_conn_create(service_base(u->fts->run), pair[0], CHANNEL_BODY_MAX, &handler, u);
	u->fts->answering++;
	return OK;
}

void
fts_answer_client(struct fts_user *u, int fd, uint32_t request, struct str ticket)
{
	struct buf body = {0};

	/* A client that is let go searches by itself. */
	if (u->answer || answer_start(u) == OK) {
		ipc_put_u32(&body, request);
		ipc_put_cstr(&body, u->name);
		ipc_put_str(&body, ticket);
		ipc_conn_send(u->answer, FTS_CLIENT, 0, buf_str(&body), &fd, 1);
		u->fts->questions++;
	}
	close(fd);
	buf_wipe(&body);
	buf_free(&body);
}
