/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/qmgr.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/net.h"
#include "lib/session.h"
#include "mta-lite/job.h"

static const char *const agent_names[QMGR_AGENTS] = {"smtp-out", "lmtp-out"};

/* A part of ours that is missing or died is back soon: this wait is the first one then. */
enum { QMGR_SOON_MS = 2000 };

void
qmgr_job_add(struct qmgr_message *m, const char *destination, const size_t *list, size_t n)
{
	struct qmgr_job *job = MEM_NEW(struct qmgr_job);

	job->message = m;
	job->rcpts = mem_zalloc(n * sizeof(*list));
	memcpy(job->rcpts, list, n * sizeof(*list));
	job->rcpt_count = n;
	job->answered = mem_zalloc(n);
	job->slot = schedule_add(m->q->schedule, destination, job);
	TAILQ_INSERT_TAIL(&m->q->jobs, job, link);
	m->jobs++;
}

static void
job_forget(struct qmgr_job *job)
{
	struct qmgr_message *m = job->message;

	TAILQ_REMOVE(&m->q->jobs, job, link);
	schedule_done(m->q->schedule, &job->slot);
	ipc_conn_free(&job->conn);
	m->jobs--;
	free(job->rcpts);
	free(job->answered);
	free(job);
}

void
qmgr_jobs_cancel(struct qmgr_message *m)
{
	struct qmgr *q = m->q;
	struct qmgr_job *job = TAILQ_FIRST(&q->jobs);

	while (job) {
		struct qmgr_job *next = TAILQ_NEXT(job, link);

		if (job->message == m && job->conn == NULL)
			job_forget(job);
		job = next;
	}
}

static void
log_delivery(const struct qmgr_message *m, const struct queue_rcpt *r)
{
	log_event(r->status == QUEUE_FAILED ? LOGL_WARN : LOGL_INFO,
		r->status == QUEUE_PENDING  ? "qmgr.delivery deferred"
		: r->status == QUEUE_FAILED ? "qmgr.delivery failed"
					    : "qmgr.delivery ok",
		"queue_id", m->entry.id, "from", m->entry.sender, "to", r->address, "relay", r->mta,
		"dsn", r->dsn, "status", r->text, "delay",
		log_i64(((int64_t)time(NULL) - m->entry.arrival) * 1000), NULL);
}

/* What an attempt gave for one recipient, in memory and in the file. soon: our own fault. */
static void
take_result(struct qmgr_message *m, const struct job_result *res, int soon)
{
	const struct config *conf = service_conf(m->q->run);
	struct queue_rcpt *r = &m->entry.rcpts[res->index];
	size_t index = res->index;

	queue_rcpt_set(r, res->status, res->dsn, res->text, res->mta);
	r->attempts++;
	if (r->status == QUEUE_PENDING) {
		int64_t least = conf->minimal_backoff_time;

		if (soon && least > QMGR_SOON_MS)
			least = QMGR_SOON_MS;
		r->next_try = (int64_t)time(NULL) +
			      (schedule_backoff_ms(least, conf->maximal_backoff_time, r->attempts) +
				      999) /
				      1000;
		m->q->deferred++;
	} else if (r->status == QUEUE_FAILED) {
		m->q->bounced++;
	} else {
		m->q->delivered++;
	}
	log_delivery(m, r);
	(void)qmgr_record(m, &index, 1, r->status != QUEUE_PENDING && m->entry.rcpt_count > 1);
}

/* The job is over. What it said nothing about is tried again. */
static void
job_end(struct qmgr_job *job, const char *why)
{
	struct qmgr_message *m = job->message;
	size_t i;

	for (i = 0; i < job->rcpt_count; i++) {
		struct job_result res = {
			.index = (uint32_t)job->rcpts[i],
			.status = QUEUE_PENDING,
			.dsn = STR("4.3.0"),
			.text = str_of(why),
		};

		if (!job->answered[i])
			take_result(m, &res, 1);
	}
	job_forget(job);
	if (m->jobs == 0)
		qmgr_settle(m);
}

static int
slot_of(const struct qmgr_job *job, uint32_t index, size_t *slot)
{
	for (*slot = 0; *slot < job->rcpt_count; (*slot)++) {
		if (job->rcpts[*slot] == index)
			return 1;
	}
	return 0;
}

static void
on_result(struct ipc_conn *c, struct ipc_msg *msg, void *arg)
{
	struct qmgr_job *job = arg;
	struct job_result res;
	size_t slot;

	(void)c;
	if (msg->type == JOB_RESULT && job_result_get(buf_str(&msg->body), &res) == OK &&
		slot_of(job, res.index, &slot) && !job->answered[slot]) {
		job->answered[slot] = 1;
		take_result(job->message, &res, 0);
	}
	/* JOB_DONE needs nothing: the agent closes behind it. */
}

static void
on_result_close(struct ipc_conn *c, enum err e, void *arg)
{
	struct qmgr_job *job = arg;
	struct qmgr *q = job->message->q;

	(void)c;
	(void)e;
	job->conn = NULL; /* freed by its owner behind this call */
	job_end(job, "the delivery process ended before it was done");
	qmgr_pump(q);
}

/* ---- the agents' parents ---- */

static void
on_agent_message(struct ipc_conn *c, struct ipc_msg *msg, void *arg)
{
	/* SESSION_TAKEN: a refusal closes the job's own socket, which is how it is noticed. */
	(void)c;
	(void)msg;
	(void)arg;
}

static void
on_agent_close(struct ipc_conn *c, enum err e, void *arg)
{
	struct qmgr *q = arg;
	int i;

	for (i = 0; i < QMGR_AGENTS; i++) {
		if (q->agents[i] == c) {
			log_event(LOGL_WARN, "qmgr.agent lost", "agent", agent_names[i], "error",
				err_word(e), NULL);
			q->agents[i] = NULL;
		}
	}
}

static struct ipc_conn *
agent_connect(struct qmgr *q, int which)
{
	static const struct ipc_conn_handler handler = {on_agent_message, on_agent_close};
	char *path;
	int fd;

	if (q->agents[which])
		return q->agents[which];
	path = conf_run_path(service_conf(q->run), agent_names[which]);
	if (net_connect_unix(path, 500, &fd) == OK) {
		(void)io_set_nonblocking(fd, 1);
		q->agents[which] = ipc_conn_create(service_base(q->run), fd, 1 << 16, &handler, q);
	}
	free(path);
	return q->agents[which];
}

static void
send_handover(struct qmgr *q, struct ipc_conn *agent, const struct qmgr_job *job, int fd)
{
	struct session_info info = {
		.id = (char *)(uintptr_t)job->message->entry.id,
		.service = (char *)(uintptr_t) "job",
	};
	struct buf body = {0};

	session_info_put(&body, &info);
	ipc_conn_send(agent, SESSION_HANDOVER, ++q->next_request, buf_str(&body), &fd, 1);
	buf_free(&body);
}

static void
send_start(const struct qmgr_job *job, int file)
{
	const struct queue_entry *e = &job->message->entry;
	const char *dest = schedule_job_destination(job->slot);
	int local = strcmp(dest, QMGR_LOCAL) == 0;
	const struct config *conf = service_conf(job->message->q->run);
	struct job_rcpt rcpts[JOB_RCPTS_MAX];
	struct job j = {
		.id = (char *)(uintptr_t)e->id,
		.sender = e->sender,
		.envid = e->envid,
		.ret = e->ret,
		.flags = e->flags,
		.arrival = e->arrival,
		.content_offset = e->content_offset,
		.content_len = e->content_len,
		.nexthop = (char *)(uintptr_t)(local ? "" : dest),
		.relayhost = !local && strcasecmp(dest, conf->relayhost) == 0,
		.rcpts = rcpts,
		.rcpt_count = job->rcpt_count,
	};
	struct buf body = {0};
	size_t i;

	for (i = 0; i < job->rcpt_count; i++) {
		const struct queue_rcpt *r = &e->rcpts[job->rcpts[i]];

		rcpts[i] =
			(struct job_rcpt){(uint32_t)job->rcpts[i], r->address, r->orcpt, r->notify};
	}
	job_put(&body, &j);
	ipc_conn_send(job->conn, JOB_START, 0, buf_str(&body), &file, 1);
	buf_free(&body);
}

/* OK: the agent has it, or its end will be noticed. */
static enum err
job_start(struct qmgr_job *job)
{
	static const struct ipc_conn_handler handler = {on_result, on_result_close};
	struct qmgr_message *m = job->message;
	struct qmgr *q = m->q;
	int local = strcmp(schedule_job_destination(job->slot), QMGR_LOCAL) == 0;
	struct ipc_conn *agent = agent_connect(q, local ? 1 : 0);
	int pair[2], file;
	enum err e;

	if (agent == NULL)
		return E_TEMPFAIL;
	e = queue_store_open(service_conf(q->run), m->dir, m->entry.id, O_RDONLY, &file);
	if (e)
		return e;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
		e = err_from_errno(errno);
		close(file);
		return e;
	}
	(void)io_set_nonblocking(pair[0], 1);
	job->conn = ipc_conn_create(service_base(q->run), pair[0], 1 << 16, &handler, job);
	send_handover(q, agent, job, pair[1]);
	send_start(job, file);
	close(pair[1]);
	close(file);
	return OK;
}

void
qmgr_pump(struct qmgr *q)
{
	struct schedule_job *slot;

	if (service_is_draining(q->run))
		return;
	while ((slot = schedule_next(q->schedule)) != NULL) {
		struct qmgr_job *job = schedule_job_arg(slot);
		enum err e = job_start(job);

		if (e) {
			log_event(LOGL_WARN, "qmgr.job failed", "queue_id", job->message->entry.id,
				"error", err_text(e), NULL);
			/* Somebody took the file away; where it is found again it counts. */
			if (e == E_NOTFOUND)
				job->message->gone = 1;
			job_end(job, "the delivery agent is not available");
		}
	}
}
