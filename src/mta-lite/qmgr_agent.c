/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/qmgr.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/net.h"
#include "lib/session.h"
#include "mta-lite/job.h"

static const char *const agent_names[QMGR_AGENTS] = {"smtp-out", "lmtp-out", "local-out"};

/* A connection to a server is used for so long at most, and waits for so long for more mail. */
enum { LINK_AGE_MS = 300 * 1000, LINK_IDLE_MS = 1000 };

/*
 * A delivery process, and with it the connection that it has to a destination. It does one job
 * after the other.
 */
struct qmgr_link {
	TAILQ_ENTRY(qmgr_link) entry; /* in q->idle without a job */
	struct qmgr *q;
	int agent; /* index into agent_names */
	struct ipc_conn *conn;
	struct qmgr_job *job; /* NULL: it waits for one */
	char *key; /* the destination */
	int64_t since_ms;
	struct event *timer; /* ends the wait */
};

/* An agent without delivery processes is let go: it may rest then. */
static void
agent_release(struct qmgr *q, int agent)
{
	if (--q->agent_links[agent] == 0)
		ipc_conn_free(&q->agents[agent]);
}

static void
link_free(struct qmgr_link *l)
{
	if (l->job == NULL)
		TAILQ_REMOVE(&l->q->idle, l, entry);
	event_free(l->timer);
	ipc_conn_free(&l->conn);
	agent_release(l->q, l->agent);
	free(l->key);
	free(l);
}

static void
on_idle_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	link_free(arg);
}

void
qmgr_agents_release(struct qmgr *q)
{
	struct qmgr_link *l, *next;

	for (l = TAILQ_FIRST(&q->idle); l; l = next) {
		next = TAILQ_NEXT(l, entry);
		link_free(l);
	}
}

/* ---- one job ---- */

static void
send_start(struct qmgr_link *l, const struct qmgr_job *job, int file)
{
	const struct queue_entry *e = &job->message->entry;
	struct job_rcpt rcpts[JOB_RCPTS_MAX];
	char *hop = str_dup(buf_str(&job->route.hop));
	int has_client = e->xforward && e->xforward[0];
	char *xforward = has_client ? mem_printf("%s IDENT=%s", e->xforward, e->id) : NULL;
	struct job j = {
		.id = (char *)(uintptr_t)e->id,
		.sender = e->sender,
		.envid = e->envid,
		.ret = e->ret,
		.flags = e->flags,
		.priority = e->priority,
		.arrival = e->arrival,
		.content_offset = e->content_offset,
		.content_len = e->content_len,
		.nexthop = hop,
		.relayhost = job->route.chosen,
		.lmtp = job->route.kind == ROUTE_LMTP,
		.filter = e->filter && e->filter[0],
		.pipe = job->route.kind == ROUTE_PIPE,
		.forwarded = e->rcpts[job->rcpts[0]].forwarded,
		.xforward = xforward,
		.rcpts = rcpts,
		.rcpt_count = job->rcpt_count,
	};
	struct buf body = {0};
	size_t i;

	for (i = 0; i < job->rcpt_count; i++) {
		const struct queue_rcpt *r = &e->rcpts[job->rcpts[i]];

		rcpts[i] = (struct job_rcpt){(uint32_t)job->rcpts[i], r->address, r->orcpt,
			r->notify, r->local, r->target};
	}
	job_put(&body, &j);
	ipc_conn_send(l->conn, JOB_START, 0, buf_str(&body), &file, 1);
	buf_free(&body);
	free(hop);
	free(xforward);
}

static enum err
open_file(const struct qmgr_job *job, int *file)
{
	const struct qmgr_message *m = job->message;

	return queue_store_open(service_conf(m->q->run), m->dir, m->entry.id, O_RDONLY, file);
}

static void
link_give(struct qmgr_link *l, struct qmgr_job *job, int file)
{
	l->job = job;
	job->link = l;
	send_start(l, job, file);
	close(file);
}

static void
link_wait(struct qmgr_link *l)
{
	struct timeval tv = {.tv_sec = LINK_IDLE_MS / 1000,
		.tv_usec = (suseconds_t)(LINK_IDLE_MS % 1000) * 1000};

	l->job = NULL;
	TAILQ_INSERT_HEAD(&l->q->idle, l, entry);
	event_add(l->timer, &tv);
}

/* What a job's end says about its destination; the reason is kept for the others. */
static enum schedule_outcome
outcome_of(struct qmgr_job *job, int site_failed)
{
	const struct qmgr_message *m = job->message;
	const struct queue_rcpt *r = &m->entry.rcpts[job->rcpts[0]];

	if (!job->answered[0])
		return SCHEDULE_CANCELLED;
	if (!site_failed)
		return SCHEDULE_REACHED;
	schedule_set_reason(m->q->schedule, job->slot, r->text);
	return SCHEDULE_UNREACHED;
}

/* The next job for the destination in this one's place; NULL: none, or its file is gone. */
static struct qmgr_job *
follow(struct qmgr_job *job, int *file)
{
	struct qmgr *q = job->message->q;
	struct schedule_job *slot;
	struct qmgr_job *next;
	enum err e;

	slot = schedule_follow(q->schedule, &job->slot, io_now_ms());
	if (slot == NULL)
		return NULL;
	next = schedule_job_arg(slot);
	e = open_file(next, file);
	if (e == OK)
		return next;
	next->message->gone = e == E_NOTFOUND;
	qmgr_job_end(next, "the message could not be read", SCHEDULE_CANCELLED);
	return NULL;
}

static void
on_done(struct qmgr_link *l, struct str body)
{
	struct ipc_reader r = ipc_reader_of(body);
	int site_failed = ipc_get_u8(&r), file = -1;
	struct qmgr_job *job = l->job, *next = NULL;
	enum schedule_outcome outcome = outcome_of(job, site_failed);
	struct qmgr *q = l->q;
	int stays = outcome == SCHEDULE_REACHED && !service_is_draining(q->run) &&
		    io_now_ms() - l->since_ms < LINK_AGE_MS;

	if (stays)
		next = follow(job, &file);
	l->job = NULL;
	if (next) {
		link_give(l, next, file);
	} else {
		link_wait(l);
		if (!stays)
			link_free(l);
	}
	qmgr_job_end(job, "the delivery process said nothing about this recipient", outcome);
	qmgr_pump(q);
}

static void
on_message(struct ipc_conn *c, struct ipc_msg *msg, void *arg)
{
	struct qmgr_link *l = arg;

	(void)c;
	if (l->job && msg->type == JOB_RESULT)
		qmgr_job_result(l->job, buf_str(&msg->body));
	else if (l->job && msg->type == JOB_DONE)
		on_done(l, buf_str(&msg->body));
	else if (msg->type == JOB_NOTICE)
		qmgr_notice(l->q, buf_str(&msg->body));
}

static void
on_close(struct ipc_conn *c, enum err e, void *arg)
{
	struct qmgr_link *l = arg;
	struct qmgr_job *job = l->job;
	struct qmgr *q = l->q;

	(void)c;
	(void)e;
	l->conn = NULL; /* freed by its owner behind this call */
	if (job)
		job->link = NULL;
	else
		TAILQ_REMOVE(&q->idle, l, entry);
	event_free(l->timer);
	agent_release(q, l->agent);
	free(l->key);
	free(l);
	if (job)
		qmgr_job_end(
			job, "the delivery process ended before it was done", SCHEDULE_CANCELLED);
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

/* Index into agent_names. */
static int
agent_of(enum route_kind kind)
{
	if (kind == ROUTE_SMTP || kind == ROUTE_LMTP)
		return 0;
	return kind == ROUTE_ALIAS || kind == ROUTE_PIPE ? 2 : 1;
}

/* A new process for this destination. OK: it has the job, or its end will be noticed. */
static enum err
start_new(struct qmgr_job *job, const char *key, int file)
{
	static const struct ipc_conn_handler handler = {on_message, on_close};
	struct qmgr *q = job->message->q;
	int which = agent_of(job->route.kind);
	struct ipc_conn *agent = agent_connect(q, which);
	struct qmgr_link *l;
	int pair[2];

	if (agent == NULL)
		return E_TEMPFAIL;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		return err_from_errno(errno);
	(void)io_set_nonblocking(pair[0], 1);
	l = MEM_NEW(struct qmgr_link);
	l->q = q;
	l->agent = which;
	q->agent_links[which]++;
	l->key = mem_strdup(key);
	l->since_ms = io_now_ms();
	l->timer = evtimer_new(service_base(q->run), on_idle_timer, l);
	l->conn = ipc_conn_create(service_base(q->run), pair[0], 1 << 16, &handler, l);
	send_handover(q, agent, job, pair[1]);
	close(pair[1]);
	link_give(l, job, file);
	return OK;
}

enum err
qmgr_agent_start(struct qmgr_job *job)
{
	struct qmgr *q = job->message->q;
	const char *key = schedule_job_destination(job->slot);
	struct qmgr_link *l;
	int file;
	enum err e = open_file(job, &file);

	if (e)
		return e;
	TAILQ_FOREACH(l, &q->idle, entry)
	{
		if (strcasecmp(l->key, key) == 0) {
			TAILQ_REMOVE(&q->idle, l, entry);
			event_del(l->timer);
			link_give(l, job, file);
			return OK;
		}
	}
	e = start_new(job, key, file);
	if (e)
		close(file);
	return e;
}
