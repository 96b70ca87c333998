/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/qmgr.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/metrics.h"
#include "mta-lite/job.h"
#include "mta-lite/report.h"

/* A part of ours that is missing or died is back soon: this wait is the first one then. */
enum { QMGR_SOON_MS = 2000 };
/* Messages for dead destinations that are put off in one turn of the loop. */
enum { QMGR_DEAD_AT_ONCE = 100 };

void
qmgr_job_add(
	struct qmgr_message *m, const char *key, struct route *route, const size_t *list, size_t n)
{
	struct schedule_kind kind = {.priority = m->entry.priority};
	struct qmgr_job *job = MEM_NEW(struct qmgr_job);

	job->message = m;
	job->route = *route;
	memset(&route->hop, 0, sizeof(route->hop));
	/* Of several jobs of one message the first has taken the text: the key has it too. */
	if (job->route.hop.len == 0 && strchr(key, ':'))
		buf_add_cstr(&job->route.hop, strchr(key, ':') + 1);
	job->rcpts = mem_zalloc(n * sizeof(*list));
	memcpy(job->rcpts, list, n * sizeof(*list));
	job->rcpt_count = n;
	job->answered = mem_zalloc(n);
	kind.retry = m->entry.rcpts[list[0]].attempts > 0;
	job->slot = schedule_add(m->q->schedule, key, m->entry.sender, &kind, job);
	TAILQ_INSERT_TAIL(&m->q->jobs, job, entry);
	m->jobs++;
}

/* The slot, unless it was handed on, is given back. */
static void
job_forget(struct qmgr_job *job, enum schedule_outcome outcome)
{
	struct qmgr_message *m = job->message;

	TAILQ_REMOVE(&m->q->jobs, job, entry);
	if (job->slot)
		schedule_done(m->q->schedule, &job->slot, outcome, io_now_ms());
	m->jobs--;
	route_free(&job->route);
	free(job->rcpts);
	free(job->answered);
	free(job);
}

void
qmgr_jobs_cancel(struct qmgr_message *m)
{
	struct qmgr *q = m->q;
	struct qmgr_job *job = m->jobs ? TAILQ_FIRST(&q->jobs) : NULL;

	while (job) {
		struct qmgr_job *next = TAILQ_NEXT(job, entry);

		if (job->message == m && job->link == NULL)
			job_forget(job, SCHEDULE_CANCELLED);
		job = next;
	}
}

static void
log_delivery(const struct qmgr_message *m, const struct queue_rcpt *r)
{
	metrics_add_labels(METRIC_QUEUE_DELIVERIES, 1,
		r->status == QUEUE_PENDING  ? "deferred"
		: r->status == QUEUE_FAILED ? "failed"
					    : "delivered",
		NULL);
	log_event(r->status == QUEUE_FAILED ? LOGL_WARN : LOGL_INFO,
		r->status == QUEUE_PENDING  ? "qmgr.delivery deferred"
		: r->status == QUEUE_FAILED ? "qmgr.delivery failed"
					    : "qmgr.delivery ok",
		"queue_id", m->entry.id, "from", m->entry.sender, "to", r->address, "relay", r->mta,
		"dsn", r->dsn, "status", r->text, "delay",
		log_i64(((int64_t)time(NULL) - m->entry.arrival) * 1000), NULL);
}

void
qmgr_take_result(struct qmgr_message *m, const struct job_result *res, enum qmgr_blame blame)
{
	const struct config *conf = service_conf(m->q->run);
	struct queue_rcpt *r = &m->entry.rcpts[res->index];
	size_t index = res->index;
	int only = m->entry.rcpt_count == 1;

	queue_rcpt_set(r, res->status, res->dsn, res->text, res->mta);
	r->attempts++;
	if (r->status == QUEUE_PENDING) {
		int64_t least = conf->minimal_backoff_time;

		if (blame == QMGR_OURS && least > QMGR_SOON_MS)
			least = QMGR_SOON_MS;
		r->next_try = (int64_t)time(NULL) +
			      (schedule_backoff_ms(least, conf->maximal_backoff_time, r->attempts) +
				      999) /
				      1000;
		m->q->deferrals++;
	} else if (r->status == QUEUE_FAILED) {
		m->q->bounced++;
	} else {
		m->q->delivered++;
	}
	log_delivery(m, r);
	/* The removal of the file is the record, when nothing else is to come. */
	if (only && queue_status_final(r->status) && !report_is_due(r))
		return;
	(void)qmgr_record(m, &index, 1, r->status != QUEUE_PENDING && !only);
}

void
qmgr_job_end(struct qmgr_job *job, const char *why, enum schedule_outcome outcome)
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
			qmgr_take_result(m, &res, QMGR_OURS);
	}
	job_forget(job, outcome);
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

void
qmgr_job_result(struct qmgr_job *job, struct str body)
{
	struct job_result res;
	size_t slot;

	if (job_result_get(body, &res) == OK && slot_of(job, res.index, &slot) &&
		!job->answered[slot]) {
		job->answered[slot] = 1;
		qmgr_take_result(job->message, &res, QMGR_THEIRS);
	}
}

/* Nobody is asked: what was heard when the destination was tried last counts for this one too. */
static void
put_off(struct qmgr_job *job)
{
	struct buf text = {0};
	size_t i;

	buf_printf(&text, "not tried, since the destination could not be reached: %s",
		schedule_reason(job->slot));
	for (i = 0; i < job->rcpt_count; i++) {
		struct job_result res = {
			.index = (uint32_t)job->rcpts[i],
			.status = QUEUE_PENDING,
			.dsn = STR("4.4.1"),
			.text = buf_str(&text),
		};

		job->answered[i] = 1;
		qmgr_take_result(job->message, &res, QMGR_THEIRS);
	}
	buf_free(&text);
	qmgr_job_end(job, "", SCHEDULE_CANCELLED);
}

static void
start_job(struct qmgr_job *job)
{
	enum err e = qmgr_agent_start(job);

	if (e == OK)
		return;
	log_event(LOGL_WARN, "qmgr.job failed", "queue_id", job->message->entry.id, "error",
		err_text(e), NULL);
	/* Somebody took the file away; where it is found again it counts. */
	if (e == E_NOTFOUND)
		job->message->gone = 1;
	qmgr_job_end(job, "the delivery agent is not available", SCHEDULE_CANCELLED);
}

static void
pump_after(struct qmgr *q, int64_t ms)
{
	struct timeval tv = {.tv_sec = (time_t)(ms / 1000), .tv_usec = (ms % 1000) * 1000};

	event_add(q->pump_timer, &tv);
}

void
qmgr_pump(struct qmgr *q)
{
	struct schedule_job *slot;
	int64_t now = io_now_ms(), wait;
	unsigned dead = 0;

	if (service_is_draining(q->run))
		return;
	while (dead++ < QMGR_DEAD_AT_ONCE && (slot = schedule_next_dead(q->schedule, now)) != NULL)
		put_off(schedule_job_arg(slot));
	while ((slot = schedule_next(q->schedule, now)) != NULL)
		start_job(schedule_job_arg(slot));
	wait = schedule_wait_ms(q->schedule, now);
	if (dead > QMGR_DEAD_AT_ONCE)
		wait = 0;
	if (wait >= 0)
		pump_after(q, wait);
}
