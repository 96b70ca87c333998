/* SPDX-License-Identifier: MIT */
#include "auth/worker.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <event2/event.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

struct job_list {
	struct worker_job *first, **last;
};

struct lane {
	struct job_list queue;
	size_t queued, queued_max;
	size_t running, running_max;
};

struct worker_pool {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct lane lanes[WORKER_LANES]; /* these under the lock */
	struct job_list finished;
	int stopping;
	struct auth_settings *settings;
	struct directory_health *health;

	size_t pending; /* the loop's */
	int event_fd;
	struct event *event;
	pthread_t *threads;
	size_t thread_count;
};

static void
list_push(struct job_list *l, struct worker_job *job)
{
	job->next = NULL;
	*l->last = job;
	l->last = &job->next;
}

static struct worker_job *
list_pop(struct job_list *l)
{
	struct worker_job *job = l->first;

	if (job) {
		l->first = job->next;
		if (!l->first)
			l->last = &l->first;
	}
	return job;
}

/* Under the lock; NULL: nothing that may start now. */
static struct worker_job *
job_next(struct worker_pool *p)
{
	for (struct lane *l = p->lanes; l < p->lanes + WORKER_LANES; l++) {
		struct worker_job *job = l->running < l->running_max ? list_pop(&l->queue) : NULL;

		if (job) {
			l->queued--;
			l->running++;
			return job;
		}
	}
	return NULL;
}

/* The next job, with the settings to run it under; NULL: the end. */
static struct worker_job *
job_wait(struct worker_pool *p, struct directory **d)
{
	struct auth_settings *settings;
	struct worker_job *job = NULL;

	pthread_mutex_lock(&p->lock);
	while (!p->stopping && !(job = job_next(p)))
		pthread_cond_wait(&p->wake, &p->lock);
	settings = auth_settings_ref(p->settings);
	pthread_mutex_unlock(&p->lock);
	if (*d && directory_settings(*d) != settings)
		directory_free(d);
	if (!*d)
		*d = directory_create(settings, p->health);
	auth_settings_unref(&settings);
	return job;
}

static void *
worker_main(void *arg)
{
	struct worker_pool *p = arg;
	struct directory *d = NULL;
	struct worker_job *job;

	while ((job = job_wait(p, &d))) {
		uint64_t one = 1;

		job->run(job, d);
		pthread_mutex_lock(&p->lock);
		p->lanes[job->lane].running--;
		list_push(&p->finished, job);
		pthread_mutex_unlock(&p->lock);
		/* A full counter already wakes the loop. */
		if (write(p->event_fd, &one, sizeof(one)) < 0)
			continue;
	}
	directory_free(&d);
	return NULL;
}

static void
on_finished(evutil_socket_t fd, short what, void *arg)
{
	struct worker_pool *p = arg;
	struct worker_job *job, *next;
	uint64_t count;

	(void)what;
	if (read(fd, &count, sizeof(count)) < 0)
		return;
	pthread_mutex_lock(&p->lock);
	job = p->finished.first;
	p->finished = (struct job_list){NULL, &p->finished.first};
	pthread_mutex_unlock(&p->lock);
	for (; job; job = next) {
		next = job->next;
		p->pending--;
		job->done(job);
	}
}

static void
lanes_init(struct lane lanes[WORKER_LANES], size_t threads)
{
	static const struct {
		size_t threads_per_job, queued_max;
	} table[WORKER_LANES] = {
		[WORKER_USUAL] = {1, WORKER_QUEUE_MAX},
		[WORKER_SLOW] = {WORKERS_PER_SLOW, WORKER_SLOW_MAX},
		[WORKER_DOUBTFUL] = {WORKERS_PER_DOUBTFUL, WORKER_QUEUE_MAX},
	};

	for (size_t i = 0; i < WORKER_LANES; i++) {
		size_t max = threads / table[i].threads_per_job;

		lanes[i].queue.last = &lanes[i].queue.first;
		lanes[i].queued_max = table[i].queued_max;
		lanes[i].running_max = max ? max : 1;
	}
}

struct worker_pool *
worker_pool_create(struct event_base *base, size_t threads, struct auth_settings *settings,
	struct directory_health *health)
{
	struct worker_pool *p = MEM_NEW(struct worker_pool);
	sigset_t all, old;

	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->wake, NULL);
	lanes_init(p->lanes, threads);
	p->finished.last = &p->finished.first;
	p->settings = auth_settings_ref(settings);
	p->health = health;
	p->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ROOST_ASSERT(p->event_fd >= 0);
	p->event = event_new(base, p->event_fd, EV_READ | EV_PERSIST, on_finished, p);
	event_add(p->event, NULL);
	p->threads = mem_zalloc(threads * sizeof(pthread_t));
	/* Signals are the loop's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (p->thread_count < threads &&
		pthread_create(&p->threads[p->thread_count], NULL, worker_main, p) == 0)
		p->thread_count++;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (p->thread_count < threads)
		log_event(
			LOGL_ERROR, "auth.worker fail", "started", log_u64(p->thread_count), NULL);
	return p;
}

void
worker_pool_free(struct worker_pool **pp)
{
	struct worker_pool *p = *pp;

	*pp = NULL;
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->stopping = 1;
	pthread_cond_broadcast(&p->wake);
	pthread_mutex_unlock(&p->lock);
	for (size_t i = 0; i < p->thread_count; i++)
		pthread_join(p->threads[i], NULL);
	event_free(p->event);
	io_close(&p->event_fd);
	auth_settings_unref(&p->settings);
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->lock);
	free(p->threads);
	free(p);
}

enum err
worker_pool_submit(struct worker_pool *p, struct worker_job *job)
{
	struct lane *l = &p->lanes[job->lane];
	enum err e = OK;

	pthread_mutex_lock(&p->lock);
	if (p->thread_count == 0 || l->queued >= l->queued_max) {
		e = E_TEMPFAIL;
	} else {
		list_push(&l->queue, job);
		l->queued++;
		p->pending++;
		pthread_cond_signal(&p->wake);
	}
	pthread_mutex_unlock(&p->lock);
	return e;
}

void
worker_pool_set_settings(struct worker_pool *p, struct auth_settings *settings)
{
	pthread_mutex_lock(&p->lock);
	auth_settings_unref(&p->settings);
	p->settings = auth_settings_ref(settings);
	pthread_mutex_unlock(&p->lock);
}

size_t
worker_pool_pending(const struct worker_pool *p)
{
	return p->pending;
}
