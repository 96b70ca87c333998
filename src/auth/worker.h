/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_WORKER_H
#define ROOST_AUTH_WORKER_H

#include <stddef.h>

#include "auth/directory.h"
#include "auth/settings.h"

struct event_base;

/*
 * Threads for what blocks: SQL and hashing. Each has its own connection to the directory. Jobs
 * start in the order they came within their lane; of several lanes, the first goes first.
 */
struct worker_pool;

enum worker_lane {
	WORKER_USUAL,
	WORKER_SLOW, /* waits for other programs: half of the threads at most */
	WORKER_DOUBTFUL, /* few at a time, while nothing else waits */
	WORKER_LANES
};

struct worker_job {
	struct worker_job *next; /* the pool's */
	void (*run)(struct worker_job *job, struct directory *d); /* in a worker */
	void (*done)(struct worker_job *job); /* afterwards, in the loop */
	enum worker_lane lane;
};

enum {
	WORKER_QUEUE_MAX = 20000, /* that wait, in a lane */
	WORKER_SLOW_MAX = 1000,
	WORKERS_PER_SLOW = 2, /* one of so many threads */
	WORKERS_PER_DOUBTFUL = 8
};

/* Starts the threads; call it when the sandbox is closed, which threads inherit. */
struct worker_pool *worker_pool_create(struct event_base *base, size_t threads,
	struct auth_settings *settings, struct directory_health *health);
/* Waits for running jobs; those still queued and undelivered are dropped without done. */
void worker_pool_free(struct worker_pool **p);
/* E_TEMPFAIL: too many are waiting; the job is the caller's again. */
enum err worker_pool_submit(struct worker_pool *p, struct worker_job *job);
/* For jobs that start from now on. */
void worker_pool_set_settings(struct worker_pool *p, struct auth_settings *settings);
/* Jobs submitted whose done has not run. From the loop's thread. */
size_t worker_pool_pending(const struct worker_pool *p);

#endif
