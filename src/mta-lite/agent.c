/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/agent.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

enum { AGENT_JOB_WAIT_MS = 30 * 1000 };

/*
 * A qmgr that has died will give these recipients to somebody else: what is not finished yet must
 * not be finished here as well.
 */
static int
is_abandoned(const struct agent *a)
{
	struct pollfd p = {.fd = a->channel, .events = POLLIN};

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR));
}

static enum err
read_content(void *arg, uint64_t offset, void *p, size_t size, struct str *out)
{
	struct agent *a = arg;
	uint64_t left = a->job.content_len - offset;
	ssize_t n;

	if (left < size)
		size = (size_t)left;
	*out = str_make("", 0);
	if (size == 0)
		return is_abandoned(a) ? E_CANCELLED : OK;
	do
		n = pread(a->file, p, size, (off_t)(a->job.content_offset + offset));
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return E_IO;
	*out = str_make(p, (size_t)n);
	return OK;
}

static void
prepare_send(struct agent *a)
{
	const struct job *j = &a->job;
	size_t i;

	a->rcpts = mem_zalloc((j->rcpt_count + 1) * sizeof(*a->rcpts));
	a->answers = mem_zalloc((j->rcpt_count + 1) * sizeof(*a->answers));
	a->mtas = mem_zalloc((j->rcpt_count + 1) * sizeof(*a->mtas));
	for (i = 0; i < j->rcpt_count; i++)
		a->rcpts[i] = (struct smtp_send_rcpt){
			j->rcpts[i].address, j->rcpts[i].orcpt, j->rcpts[i].notify};
	a->send = (struct smtp_send){
		.sender = j->sender,
		.envid = j->envid,
		.ret = j->ret <= DSN_RET_HDRS ? (enum dsn_ret)j->ret : DSN_RET_NONE,
		.has_8bit = (j->flags & QUEUE_8BIT) != 0,
		.flags = j->flags,
		.priority = j->priority,
		.xforward = j->xforward,
		.size = j->content_len,
		.rcpts = a->rcpts,
		.rcpt_count = j->rcpt_count,
		.read = read_content,
		.arg = a,
	};
}

void
agent_open(struct agent *a, struct session *s)
{
	memset(a, 0, sizeof(*a));
	a->session = s;
	a->conf = s->conf;
	a->channel = stream_fd(s->client);
	a->file = -1;
}

static void
forget_job(struct agent *a)
{
	size_t i;

	for (i = 0; a->answers && i < a->job.rcpt_count; i++) {
		smtp_answer_free(&a->answers[i]);
		free(a->mtas[i]);
	}
	free(a->answers);
	free(a->rcpts);
	free(a->mtas);
	a->answers = NULL;
	a->rcpts = NULL;
	a->mtas = NULL;
	MEM_FREE(a->sender);
	a->site_failed = 0;
	io_close(&a->file);
	job_free(&a->job);
}

enum err
agent_next(struct agent *a)
{
	struct ipc_msg m;
	enum err e;

	forget_job(a);
	e = ipc_recv(a->channel, &m, AGENT_JOB_WAIT_MS);
	if (e == OK && (m.type != JOB_START || m.fds[0] < 0))
		e = E_PROTO;
	if (e == OK)
		e = job_get(buf_str(&m.body), &a->job);
	if (e == OK) {
		a->file = m.fds[0];
		m.fds[0] = -1;
		prepare_send(a);
		session_report(a->session, a->job.sender, a->job.nexthop);
	} else if (e != E_CLOSED && e != E_CANCELLED) {
		log_event(LOGL_ERROR, "agent.job malformed", "error", err_word(e), NULL);
	}
	ipc_msg_free(&m);
	return e;
}

void
agent_rewrite_sender(struct agent *a, struct srs *srs)
{
	struct buf sender = {0};
	enum err e;

	if (!a->job.forwarded || srs == NULL)
		return;
	srs_refresh(srs);
	e = srs_forward(srs, a->job.sender, a->job.arrival, &sender);
	if (e == OK) {
		free(a->sender);
		a->sender = buf_steal(&sender);
		a->send.sender = a->sender;
	} else if (e != E_NOTFOUND) {
		log_event(LOGL_WARN, "agent.sender kept", "queue_id", a->job.id, "from",
			a->job.sender, "error", err_text(e), NULL);
	}
	buf_free(&sender);
}

void
agent_answer_rest(struct agent *a, const struct smtp_answer *answer)
{
	size_t i;

	for (i = 0; i < a->job.rcpt_count; i++) {
		if (a->answers[i].text == NULL)
			smtp_answer_copy(&a->answers[i], answer);
	}
}

void
agent_forget_pending(struct agent *a)
{
	size_t i;

	for (i = 0; i < a->job.rcpt_count; i++) {
		if (a->answers[i].status != QUEUE_PENDING)
			continue;
		smtp_answer_free(&a->answers[i]);
		free(a->mtas[i]);
		a->mtas[i] = NULL;
	}
}

int
agent_has_pending(const struct agent *a)
{
	size_t i;

	for (i = 0; i < a->job.rcpt_count; i++) {
		if (a->answers[i].status == QUEUE_PENDING)
			return 1;
	}
	return 0;
}

void
agent_note_mta(struct agent *a, const char *mta)
{
	size_t i;

	for (i = 0; i < a->job.rcpt_count; i++) {
		if (a->answers[i].text && a->mtas[i] == NULL)
			a->mtas[i] = mem_strdup(mta);
	}
}

enum err
agent_report_one(struct agent *a, size_t i)
{
	const struct smtp_answer *answer = &a->answers[i];
	struct job_result r = {
		.index = a->job.rcpts[i].index,
		.status = answer->status,
		.dsn = str_of(answer->dsn),
		.text = str_of(answer->text),
		.mta = str_of(a->mtas[i]),
	};
	struct buf body = {0};
	enum err e;

	if (answer->text == NULL)
		return OK; /* silence is "try again" */
	job_result_put(&body, &r);
	e = ipc_send(a->channel, JOB_RESULT, 0, buf_str(&body), NULL, 0, 10000);
	buf_free(&body);
	return e;
}

void
agent_report_done(struct agent *a)
{
	struct buf body = {0};

	ipc_put_u8(&body, (uint8_t)a->site_failed);
	(void)ipc_send(a->channel, JOB_DONE, 0, buf_str(&body), NULL, 0, 10000);
	buf_free(&body);
}

void
agent_report(struct agent *a)
{
	enum err e = OK;
	size_t i;

	for (i = 0; i < a->job.rcpt_count && e == OK; i++)
		e = agent_report_one(a, i);
	if (e == OK)
		agent_report_done(a);
}

void
agent_close(struct agent *a)
{
	forget_job(a);
}
