/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_QMGR_H
#define ROOST_MTA_QMGR_H

#include <sys/queue.h>
#include <sys/types.h>

#include "lib/ipc.h"
#include "lib/service.h"
#include "mta-lite/queue_store.h"
#include "mta-lite/schedule.h"

struct event;
struct qmgr;

/* A message that qmgr knows. Its file is opened for each use, never kept open. */
struct qmgr_message {
	struct qmgr *q;
	struct queue_entry entry;
	enum queue_dir dir;
	unsigned jobs; /* waiting and running */
	int reporting; /* a child writes the delivery report */
	int deleted; /* asked for while jobs were running */
	int gone; /* its file was not where it should be */
	int64_t next_try; /* Unix time; DEFERRED */
	struct event *timer;
};

struct qmgr_link; /* to the warm parent of delivery processes; see qmgr_job.c */

/* A delivery under way or waiting for its turn. */
struct qmgr_job {
	TAILQ_ENTRY(qmgr_job) link;
	struct qmgr_message *message;
	struct schedule_job *slot;
	struct ipc_conn *conn; /* to the agent; NULL while waiting */
	size_t *rcpts; /* indexes */
	size_t rcpt_count;
	unsigned char *answered; /* one for each index */
};

enum { QMGR_AGENTS = 2 };
struct qmgr {
	struct service_run *run;
	void *messages; /* tsearch(3) tree by id */
	size_t counts[QUEUE_DIR_COUNT];
	struct schedule *schedule;
	TAILQ_HEAD(, qmgr_job) jobs;
	struct ipc_conn *agents[QMGR_AGENTS]; /* smtp-out, lmtp-out; NULL while not connected */
	struct event *scan_timer, *drain_timer;
	uint64_t delivered, deferred, bounced; /* recipients since start, for status */
	unsigned reporters;
	uint32_t next_request;
};

/* ---- qmgr.c: the life of a message ---- */

/* A file in this directory that qmgr may not know yet. */
void qmgr_take_in(struct qmgr *q, enum queue_dir dir, const char *id);
struct qmgr_message *qmgr_find(struct qmgr *q, struct str id);
/* Starts jobs for the recipients that are due; all that are pending when forced. May free m. */
void qmgr_activate(struct qmgr_message *m, int forced);
/* Nothing is under way any more: report, remove or defer. May free m. */
void qmgr_settle(struct qmgr_message *m);
/* Forgets it and removes the file. */
void qmgr_remove(struct qmgr_message *m);
/* Moves the file and counts. */
enum err qmgr_move(struct qmgr_message *m, enum queue_dir to);
/* Calls back for every message. */
void qmgr_each(struct qmgr *q, void (*call)(struct qmgr_message *m, void *arg), void *arg);
/* Appends what is in memory about these recipients to the file. */
enum err qmgr_record(struct qmgr_message *m, const size_t *list, size_t n, int sync);

/* ---- qmgr_job.c: deliveries ---- */

/* Queues a delivery of some recipients (list is copied) to one destination. */
void qmgr_job_add(struct qmgr_message *m, const char *destination, const size_t *list, size_t n);
/* Starts as many waiting jobs as the limits allow. */
void qmgr_pump(struct qmgr *q);
/* Takes back the jobs of a message that have not started. */
void qmgr_jobs_cancel(struct qmgr_message *m);
/* The schedule's name for mailboxes here; no domain looks like it. */
#define QMGR_LOCAL "(local)"

/* ---- qmgr_report.c ---- */

/* Whether a report is due for any recipient. */
int qmgr_report_needed(const struct qmgr_message *m);
/* Starts a child that writes the report into the queue; then calls qmgr_report_done. */
void qmgr_report_start(struct qmgr_message *m);
/* In qmgr.c: goes on with the message, at once or, when there was no report, later. */
void qmgr_report_done(struct qmgr_message *m, int ok);
enum { QMGR_REPORT_AGAIN_S = 30 };

/* ---- qmgr_ctl.c ---- */
extern const struct ctl_verb qmgr_verbs[];
void qmgr_status(struct service_run *run, json_t *object);

#endif
