/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_QMGR_H
#define ROOST_MTA_QMGR_H

#include <dirent.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "lib/ipc.h"
#include "lib/service.h"
#include "mta-lite/aliases.h"
#include "mta-lite/srs.h"
#include "mta-lite/deferred.h"
#include "mta-lite/map.h"
#include "mta-lite/queue_store.h"
#include "mta-lite/route.h"
#include "mta-lite/schedule.h"

struct event;
struct qmgr;

/*
 * A message at which something is under way. One that waits or is held is not in memory: its file
 * is read when its time comes. The file is opened for each use, never kept open.
 */
struct qmgr_message {
	struct qmgr *q;
	struct queue_entry entry;
	enum queue_dir dir;
	unsigned jobs; /* waiting and running */
	int reporting; /* a child writes the delivery report */
	int deleted, held; /* asked for while jobs were running */
	int gone; /* its file was not where it should be */
};

struct qmgr_etrn; /* a domain whose mail is being looked for; see qmgr_etrn.c */
struct qmgr_link; /* to a delivery process; see qmgr_agent.c */

/* A delivery under way or waiting for its turn. */
struct qmgr_job {
	TAILQ_ENTRY(qmgr_job) entry;
	struct qmgr_message *message;
	struct schedule_job *slot;
	struct qmgr_link *link; /* NULL while waiting */
	struct route route;
	size_t *rcpts; /* indexes */
	size_t rcpt_count;
	unsigned char *answered; /* one for each index */
};

enum { QMGR_AGENTS = 3 };
struct qmgr {
	struct service_run *run;
	void *messages; /* tsearch(3) tree by id */
	size_t active; /* messages in it */
	size_t counts[QUEUE_DIR_COUNT]; /* files */
	int incoming_left; /* some had no room in memory */
	int deferred_unread; /* the directory could not be read yet */
	struct deferred *deferred;
	DIR *rereading; /* deferred, for what was not known; or NULL */
	int64_t reread_ms; /* when that began the last time */
	struct schedule *schedule;
	struct maps *maps;
	struct routes *routes;
	struct aliases *aliases; /* NULL: they could not be opened */
	struct srs *srs; /* or NULL */
	TAILQ_HEAD(, qmgr_job) jobs;
	TAILQ_HEAD(, qmgr_link) idle; /* delivery processes that wait for more */
	struct ipc_conn
		*agents[QMGR_AGENTS]; /* smtp-out, lmtp-out, local-out; NULL while not connected */
	unsigned agent_links[QMGR_AGENTS]; /* delivery processes of each */
	LIST_HEAD(, qmgr_etrn) etrns;
	struct event *scan_timer, *drain_timer, *due_timer, *pump_timer;
	uint64_t delivered, deferrals, bounced; /* recipients since start, for status */
	unsigned reporters; /* children that write reports and notices */
	unsigned notices; /* those that write notices */
	uint32_t next_request;
};

/* ---- qmgr.c: the directories ---- */

/* NULL: logged. */
DIR *qmgr_dir_open(struct qmgr *q, enum queue_dir dir);
/* The next message's id, borrowed until the next call. NULL: the end. */
const char *qmgr_dir_next(DIR *d);
void qmgr_dir_close(DIR **d);
/* Takes in what is in incoming, as long as there is room in memory. */
void qmgr_scan_incoming(struct qmgr *q);

/* ---- qmgr_due.c: the clock ---- */

void qmgr_due_open(struct qmgr *q);
/* Reads and counts what is deferred, at the start; q->deferred_unread: it could not be read. */
void qmgr_deferred_count(struct qmgr *q);
/* Makes all that is deferred due. How many there are. */
size_t qmgr_hurry(struct qmgr *q);
/* Sets the clock to what is due next. */
void qmgr_due_wait(struct qmgr *q);
/* There may be room, or something due: looks from the loop. */
void qmgr_look_soon(struct qmgr *q);
/* Whether deferred messages may come into memory. */
int qmgr_has_room(const struct qmgr *q);

/* ---- qmgr_message.c: the life of a message ---- */

/* After a fault of this machine's (a file that cannot be read or moved) it is tried again then. */
enum { QMGR_FAULT_AGAIN_S = 60 };
/*
 * A file in this directory that qmgr may not know yet. forced: waits do not count. An error: it
 * could not be read, and is to be tried again.
 */
enum err qmgr_take_in(struct qmgr *q, enum queue_dir dir, const char *id, int forced);
/* One in memory. */
struct qmgr_message *qmgr_find(struct qmgr *q, struct str id);
/*
 * One wherever it is, in memory for the moment: what it was read for must end in
 * qmgr_settle, qmgr_activate, qmgr_remove or qmgr_drop. NULL: there is none.
 */
struct qmgr_message *qmgr_load(struct qmgr *q, struct str id);
/* Forgets a message that is not active; its file stays. */
void qmgr_drop(struct qmgr_message *m);
/* Starts jobs for the recipients that are due; all that are pending when forced. May free m. */
void qmgr_activate(struct qmgr_message *m, int forced);
/* Nothing is under way any more: report, remove or defer. May free m. */
void qmgr_settle(struct qmgr_message *m);
/* Forgets it and removes the file. */
void qmgr_remove(struct qmgr_message *m);
/* Into HOLD, now or when what is under way has ended. May free m. */
enum err qmgr_hold(struct qmgr_message *m);
/* Appends what is in memory about these recipients to the file. */
enum err qmgr_record(struct qmgr_message *m, const size_t *list, size_t n, int sync);

/* ---- qmgr_job.c: deliveries ---- */

/* Queues a delivery of some recipients (list is copied); the route is taken over. */
void qmgr_job_add(
	struct qmgr_message *m, const char *key, struct route *route, const size_t *list, size_t n);
/* Starts as many waiting jobs as the limits allow. */
void qmgr_pump(struct qmgr *q);
/* Takes back the jobs of a message that have not started. */
void qmgr_jobs_cancel(struct qmgr_message *m);
/* What a try gave for one recipient, in memory and in the file. */
enum qmgr_blame { QMGR_THEIRS, QMGR_OURS /* tried again soon */ };
struct job_result;
void qmgr_take_result(struct qmgr_message *m, const struct job_result *res, enum qmgr_blame blame);
/* Ends a job: recipients without an answer are tried again for this reason. */
void qmgr_job_end(struct qmgr_job *job, const char *why, enum schedule_outcome outcome);
/* The frames of a delivery process. */
void qmgr_job_result(struct qmgr_job *job, struct str body);

/* ---- qmgr_agent.c: delivery processes ---- */

/* Gives the job to a process that has just done one for the destination, or to a new one. */
enum err qmgr_agent_start(struct qmgr_job *job);
/* Lets go of those that wait for more. */
void qmgr_agents_release(struct qmgr *q);

/* ---- qmgr_report.c ---- */

/* Whether a report is due for any recipient. */
int qmgr_report_needed(const struct qmgr_message *m);
/* Starts a child that writes the report into the queue; then calls qmgr_report_done. */
void qmgr_report_start(struct qmgr_message *m);
/* In qmgr_message.c: goes on with the message, at once or, when there was no report, later. */
void qmgr_report_done(struct qmgr_message *m, int ok);
enum { QMGR_REPORT_AGAIN_S = 30 };

/* ---- qmgr_notice.c ---- */

/* A JOB_NOTICE frame. */
void qmgr_notice(struct qmgr *q, struct str body);

/* ---- qmgr_ctl.c, qmgr_select.c ---- */
extern const struct ctl_verb qmgr_verbs[];
void qmgr_status(struct service_run *run, json_t *object);

/* qmgr_limit.c: what users have sent (submission_limit_hour). */
void qmgr_limit_list(struct service_run *run, struct ctl_request *req, const json_t *args);
void qmgr_limit_reset(struct service_run *run, struct ctl_request *req, const json_t *args);

/*
 * Calls back for each message that a request selects (verbs of qmgr_ctl.c), a few in each turn of
 * the loop, and answers the request: with the list that the callback filled, or how many it took.
 */
struct qmgr_verb {
	/* 1: counts. The message is in memory; as with qmgr_load. */
	int (*run)(struct qmgr *q, struct qmgr_message *m, json_t *list);
	int lists; /* the answer is the list */
	int needs_selection; /* nothing named is an error and not all */
	unsigned dirs; /* bits of enum queue_dir */
};
void qmgr_select(
	struct qmgr *q, struct ctl_request *req, const json_t *args, const struct qmgr_verb *verb);
/* Shows each message of some directories, in the same way; they must be left as they are. */
struct qmgr_look {
	void (*each)(struct qmgr *q, struct qmgr_message *m, void *arg);
	void (*done)(struct qmgr *q, void *arg);
	unsigned dirs; /* bits of enum queue_dir */
};
void qmgr_look(struct qmgr *q, const struct qmgr_look *look, void *arg);

/* ---- qmgr_etrn.c ---- */

/* A QMGR_ETRN frame. */
void qmgr_etrn(struct qmgr *q, struct ipc_conn *c, struct ipc_msg *msg);
/* The connection is gone: there is nobody to answer. */
void qmgr_etrn_forget(struct qmgr *q, const struct ipc_conn *c);

#endif
