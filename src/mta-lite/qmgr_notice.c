/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/notice.h"
#include "mta-lite/qmgr_target.h"

/*
 * A delivery process has something to tell the postmaster, and may not write to the queue. As with
 * reports a child does that; nothing waits for it, and one that fails is no harm.
 */

enum { NOTICES_AT_ONCE = 10 };

struct notice {
	struct qmgr *q;
	pid_t pid;
	int fd;
	struct event *event;
};

static enum err
write_notice(struct qmgr *q, const char *subject, struct str text, char id[QUEUE_ID_SIZE],
	struct qmgr_target *t)
{
	const struct config *conf = service_conf(q->run);
	struct queue_entry out = {0};
	struct buf message = {0};
	enum err e = qmgr_target_postmaster(q, conf->error_notice_recipient, t);

	queue_id_make(id);
	if (e)
		return e;
	notice_write(conf, t->to, subject, id, text, &message);
	memcpy(out.id, id, sizeof(out.id));
	out.sender = mem_strdup("");
	out.envid = mem_strdup("");
	out.client = mem_strdup("errors");
	out.flags = t->flags;
	out.arrival = (int64_t)time(NULL);
	qmgr_target_add(t, &out);
	e = message.err ? message.err : queue_store_create(conf, &out, buf_str(&message), NULL);
	queue_entry_free(&out);
	buf_free(&message);
	return e;
}

static void __attribute__((noreturn))
child_main(struct qmgr *q, const char *subject, struct str text, int fd)
{
	struct qmgr_target t = {0};
	char id[QUEUE_ID_SIZE];
	enum err e;

	service_leave_in_child(q->run, &fd, 1);
	e = write_notice(q, subject, text, id, &t);
	if (e) {
		log_event(LOGL_WARN, "qmgr.notice failed", "to", t.to, "error", err_text(e), NULL);
		_exit(1);
	}
	log_event(LOGL_INFO, "qmgr.notice queued", "queue_id", id, "to", t.to, NULL);
	queue_store_notify(service_conf(q->run), id);
	_exit(0);
}

/* Its end of the pipe is closed: it ends. */
static void
on_end(evutil_socket_t fd, short what, void *arg)
{
	struct notice *n = arg;
	int status;

	(void)fd;
	(void)what;
	event_free(n->event);
	close(n->fd);
	while (waitpid(n->pid, &status, 0) < 0 && errno == EINTR)
		;
	n->q->reporters--;
	n->q->notices--;
	free(n);
}

void
qmgr_notice(struct qmgr *q, struct str body)
{
	struct ipc_reader r = ipc_reader_of(body);
	char *subject = ipc_get_dup(&r);
	struct str text = ipc_get_str(&r);
	struct notice *n;
	int fds[2] = {-1, -1};
	pid_t pid = -1;

	if (ipc_reader_end(&r) || str_has_control(str_of(subject)) ||
		q->notices >= NOTICES_AT_ONCE || pipe2(fds, O_CLOEXEC) != 0) {
		log_event(LOGL_WARN, "qmgr.notice dropped", NULL);
		free(subject);
		return;
	}
	pid = fork();
	if (pid == 0)
		child_main(q, subject, text, fds[1]);
	close(fds[1]);
	free(subject);
	if (pid < 0) {
		close(fds[0]);
		return;
	}
	n = MEM_NEW(struct notice);
	*n = (struct notice){.q = q, .pid = pid, .fd = fds[0]};
	n->event = event_new(service_base(q->run), n->fd, EV_READ, on_end, n);
	event_add(n->event, NULL);
	q->reporters++;
	q->notices++;
}
