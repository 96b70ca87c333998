/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/schedule.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>

#include "lib/log.h"
#include "lib/mem.h"

struct schedule_job {
	TAILQ_ENTRY(schedule_job) link;
	struct destination *destination;
	int running;
	void *arg;
};

struct destination {
	char *name; /* first: the tree compares through it */
	TAILQ_HEAD(, schedule_job) jobs; /* waiting */
	TAILQ_ENTRY(destination) link;
	unsigned running, waiting;
	int ready; /* in the list of those that may start a job */
};

struct schedule {
	void *tree; /* of destinations, by name */
	TAILQ_HEAD(, destination) ready; /* whose turn comes first */
	unsigned per_destination, total;
	unsigned running, waiting, count;
};

static int
compare(const void *a, const void *b)
{
	return strcasecmp(
		((const struct destination *)a)->name, ((const struct destination *)b)->name);
}

struct schedule *
schedule_create(unsigned per_destination, unsigned total)
{
	struct schedule *s = MEM_NEW(struct schedule);

	TAILQ_INIT(&s->ready);
	s->per_destination = per_destination;
	s->total = total;
	return s;
}

void
schedule_free(struct schedule **s)
{
	if (*s == NULL)
		return;
	ROOST_ASSERT((*s)->count == 0);
	MEM_FREE(*s);
}

static void
update_ready(struct schedule *s, struct destination *d)
{
	int ready = d->waiting > 0 && d->running < s->per_destination;

	if (ready && !d->ready)
		TAILQ_INSERT_TAIL(&s->ready, d, link);
	else if (!ready && d->ready)
		TAILQ_REMOVE(&s->ready, d, link);
	d->ready = ready;
}

void
schedule_set_limits(struct schedule *s, unsigned per_destination, unsigned total)
{
	/* Destinations over or under the new limit move at their next job. */
	s->per_destination = per_destination;
	s->total = total;
}

static struct destination *
find_or_make(struct schedule *s, const char *name)
{
	struct destination key = {.name = (char *)(uintptr_t)name};
	struct destination **at = tfind(&key, &s->tree, compare), *d;

	if (at)
		return *at;
	d = MEM_NEW(struct destination);
	d->name = mem_strdup(name);
	TAILQ_INIT(&d->jobs);
	(void)tsearch(d, &s->tree, compare);
	s->count++;
	return d;
}

struct schedule_job *
schedule_add(struct schedule *s, const char *destination, void *arg)
{
	struct schedule_job *job = MEM_NEW(struct schedule_job);
	struct destination *d = find_or_make(s, destination);

	job->destination = d;
	job->arg = arg;
	TAILQ_INSERT_TAIL(&d->jobs, job, link);
	d->waiting++;
	s->waiting++;
	update_ready(s, d);
	return job;
}

struct schedule_job *
schedule_next(struct schedule *s)
{
	struct destination *d = TAILQ_FIRST(&s->ready);
	struct schedule_job *job;

	if (d == NULL || s->running >= s->total)
		return NULL;
	job = TAILQ_FIRST(&d->jobs);
	TAILQ_REMOVE(&d->jobs, job, link);
	job->running = 1;
	d->waiting--;
	d->running++;
	s->waiting--;
	s->running++;
	/* To the end of the line. */
	TAILQ_REMOVE(&s->ready, d, link);
	d->ready = 0;
	update_ready(s, d);
	return job;
}

void
schedule_done(struct schedule *s, struct schedule_job **job)
{
	struct destination *d = (*job)->destination;

	if ((*job)->running) {
		d->running--;
		s->running--;
	} else {
		TAILQ_REMOVE(&d->jobs, *job, link);
		d->waiting--;
		s->waiting--;
	}
	update_ready(s, d);
	if (d->running == 0 && d->waiting == 0) {
		(void)tdelete(d, &s->tree, compare);
		free(d->name);
		free(d);
		s->count--;
	}
	MEM_FREE(*job);
}

void *
schedule_job_arg(const struct schedule_job *job)
{
	return job->arg;
}

const char *
schedule_job_destination(const struct schedule_job *job)
{
	return job->destination->name;
}

unsigned
schedule_running(const struct schedule *s)
{
	return s->running;
}

unsigned
schedule_waiting(const struct schedule *s)
{
	return s->waiting;
}

unsigned
schedule_destinations(const struct schedule *s)
{
	return s->count;
}

int64_t
schedule_backoff_ms(int64_t minimal_ms, int64_t maximal_ms, uint32_t attempts)
{
	int64_t wait = minimal_ms;

	while (attempts-- > 1 && wait < maximal_ms)
		wait = wait > maximal_ms / 2 ? maximal_ms : wait * 2;
	return wait < maximal_ms ? wait : maximal_ms;
}
