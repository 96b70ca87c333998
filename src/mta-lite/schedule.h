/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_SCHEDULE_H
#define ROOST_MTA_SCHEDULE_H

#include <stddef.h>
#include <stdint.h>

/*
 * Which delivery starts next. Jobs wait by destination, and there by sender. Destinations take
 * turns, and so do the senders to one destination: a thousand messages for one or from one do not
 * delay the single one of another. Urgent ones (MT-PRIORITY) go first within their destination.
 *
 * A destination that nobody has heard of gets one delivery until that has ended; then more, up to
 * the limit, with each success (as Postfix does it). One that could not be reached is
 * dead for a while: its jobs are handed back at once. Destinations that have not proved themselves
 * never take the last slots, and of them the newest and the oldest start in turns, so that mail to
 * a living destination passes by a crowd of dead ones. Those for which there are only retries get
 * less still.
 *
 * Pure: no I/O, no clock. now_ms: monotonic, and the same clock in all calls.
 */
struct schedule;
struct schedule_job;

struct schedule_limits {
	unsigned per_destination, total; /* deliveries at once */
	unsigned initial; /* to a destination after its first success */
	int64_t rate_delay_ms; /* between two starts; 0: none */
	int64_t dead_ms; /* how long a destination is left alone that could not be reached */
};

struct schedule *schedule_create(const struct schedule_limits *limits);
/* All jobs must be gone. */
void schedule_free(struct schedule **s);
void schedule_set_limits(struct schedule *s, const struct schedule_limits *limits);

struct schedule_kind {
	int priority; /* higher ones first */
	int retry; /* it was tried before, and not delivered */
};
/* Queues a job for a destination (names are copied; ASCII case does not count). */
struct schedule_job *schedule_add(struct schedule *s, const char *destination, const char *sender,
	const struct schedule_kind *kind, void *arg);
/* The next job to start, counted as running from now on; NULL: nothing, or all limits reached. */
struct schedule_job *schedule_next(struct schedule *s, int64_t now_ms);
/* The next job for the same destination, in the place of a running one that has ended well; NULL:
 * none, or others must have the turn. The old job is freed then and only then. */
struct schedule_job *schedule_follow(struct schedule *s, struct schedule_job **job, int64_t now_ms);
/* A waiting job whose destination is dead, counted as running; NULL: none. */
struct schedule_job *schedule_next_dead(struct schedule *s, int64_t now_ms);
/* How long until schedule_next may have something that it has not now; -1: no clock will tell. */
int64_t schedule_wait_ms(const struct schedule *s, int64_t now_ms);

/* Whether nobody has heard of the destination and it has that many jobs waiting. */
int schedule_is_unproven(struct schedule *s, const char *destination, unsigned waiting);

enum schedule_outcome {
	SCHEDULE_CANCELLED, /* says nothing about the destination */
	SCHEDULE_REACHED,
	SCHEDULE_UNREACHED,
};
/* A running job has ended, or a waiting one is called off. Frees it. */
void schedule_done(struct schedule *s, struct schedule_job **job, enum schedule_outcome outcome,
	int64_t now_ms);
/* Why a destination is dead, kept for those that are handed back. Copied. */
void schedule_set_reason(struct schedule *s, struct schedule_job *job, const char *reason);
/* "" when there is none. Borrowed. */
const char *schedule_reason(const struct schedule_job *job);
/* When a dead destination is tried again. */
int64_t schedule_dead_until_ms(const struct schedule_job *job);
/* Dead destinations get another chance now. */
void schedule_revive(struct schedule *s);
/* The same for one. */
void schedule_revive_one(struct schedule *s, const char *destination);
/* Forgets destinations without jobs that have nothing of interest. To be called now and then. */
void schedule_sweep(struct schedule *s, int64_t now_ms);

void *schedule_job_arg(const struct schedule_job *job);
const char *schedule_job_destination(const struct schedule_job *job);

unsigned schedule_running(const struct schedule *s);
unsigned schedule_waiting(const struct schedule *s);
/* With jobs waiting or running. */
unsigned schedule_destinations(const struct schedule *s);

/*
 * Milliseconds to wait after the attempts-th failure (from 1): minimal_ms, doubled for each
 * further one, at most maximal_ms.
 */
int64_t schedule_backoff_ms(int64_t minimal_ms, int64_t maximal_ms, uint32_t attempts);

#endif
