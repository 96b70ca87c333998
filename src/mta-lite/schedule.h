/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_SCHEDULE_H
#define ROOST_MTA_SCHEDULE_H

#include <stddef.h>
#include <stdint.h>

/*
 * Which delivery starts next. Jobs wait in a queue for each destination; destinations take turns,
 * so that a thousand messages for one do not delay the single one for another. Pure: no I/O, no
 * clock.
 */
struct schedule;
struct schedule_job;

struct schedule *schedule_create(unsigned per_destination, unsigned total);
/* All jobs must be gone. */
void schedule_free(struct schedule **s);
void schedule_set_limits(struct schedule *s, unsigned per_destination, unsigned total);

/* Queues a job for a destination (the name is copied; ASCII case does not count). */
struct schedule_job *schedule_add(struct schedule *s, const char *destination, void *arg);
/* The next job to start, counted as running from now on; NULL: nothing, or all limits reached. */
struct schedule_job *schedule_next(struct schedule *s);
/* A running job has ended, or a waiting one is called off. Frees it. */
void schedule_done(struct schedule *s, struct schedule_job **job);
void *schedule_job_arg(const struct schedule_job *job);
const char *schedule_job_destination(const struct schedule_job *job);

unsigned schedule_running(const struct schedule *s);
unsigned schedule_waiting(const struct schedule *s);
unsigned schedule_destinations(const struct schedule *s);

/*
 * Milliseconds to wait after the attempts-th failure (from 1): minimal_ms, doubled for each
 * further one, at most maximal_ms.
 */
int64_t schedule_backoff_ms(int64_t minimal_ms, int64_t maximal_ms, uint32_t attempts);

#endif
