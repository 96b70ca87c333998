/* SPDX-License-Identifier: MIT */
#ifndef ROOST_FTS_SERVICE_H
#define ROOST_FTS_SERVICE_H

#include <sys/queue.h>
#include <sys/types.h>

#include <jansson.h>

#include "index/fts/fts.h"
#include "lib/ctl.h"
#include "lib/ipc.h"
#include "lib/service.h"

/* Private to roost-fts: the users it knows of, and their processes. */

enum fts_state {
	FTS_RESTS, /* nothing to do that we know of */
	FTS_WAITS, /* in the queue */
	FTS_RUNS, /* a process indexes */
};

struct fts_user {
	TAILQ_ENTRY(fts_user) entry; /* of all */
	TAILQ_ENTRY(fts_user) queued; /* FTS_WAITS */
	struct fts *fts;
	char *name, *maildir, *index_dir; /* the places NULL: not told yet */
	enum fts_state state;
	int again; /* it changed while its process ran */
	int64_t due_ms; /* not before */
	int64_t changed_ms; /* of the first change that is not indexed yet; 0: none */
	unsigned failures; /* in a row */
	int fresh, compact; /* for the next job */

	/* the process that indexes */
	struct fts_job *job; /* shared with it; kept behind its end, for `status` */
	pid_t job_pid;
	struct event *job_event; /* its end of a pipe closes */
	int job_fd;

	/* the process that answers */
	pid_t answer_pid;
	struct ipc_conn *answer;
};

TAILQ_HEAD(fts_users, fts_user);

struct fts {
	struct service_run *run;
	struct fts_users users, queue;
	unsigned running, answering;
	struct event *pump, *gauges;
	int64_t full_until_ms; /* the disk was full: nothing is indexed */
	uint64_t indexed, jobs, failed, questions; /* since the start */
};

/* ---- fts_users.c ---- */

/* Made when it is not there. */
struct fts_user *fts_user_get(struct fts *fts, const char *name);
struct fts_user *fts_user_find(struct fts *fts, const char *name);
void fts_user_free(struct fts_user *u);
/* Where its mail is. */
void fts_user_place(struct fts_user *u, const char *maildir, const char *index_dir);
/* Something may have to be indexed. */
void fts_user_changed(struct fts_user *u, int delay_ms);
/* Starts what is due and may be started. */
void fts_pump(struct fts *fts);
/* Ends all processes and frees all. */
void fts_users_stop(struct fts *fts);

/* ---- fts_answerer.c ---- */

/* Gives a client to the user's process, which is started if need be. Owns fd. */
void fts_answer_client(struct fts_user *u, int fd, uint32_t request, struct str ticket);
void fts_answer_end(struct fts_user *u);

/* ---- fts_ctl.c ---- */

extern const struct ctl_verb fts_ctl_verbs[];
void fts_status(struct service_run *run, json_t *object);
/* Metrics of what is now. */
void fts_gauges_set(const struct fts *fts);

#endif
