/* SPDX-License-Identifier: MIT */
#include "index/index_service.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "lib/log.h"
#include "lib/mem.h"

/*
 * Opening a user can take long: an index is made, a tree taken over, a folder read that grew while
 * nobody looked. So it is done in a thread that has nothing else to do, and the user's worker goes
 * on with its other users. Until then the user is in the worker's list of openings, so that no two
 * threads are ever in one index; whoever else wants it meanwhile is run again afterwards.
 */

struct index_opening {
	struct index_opener_job job;
	struct index_opening *next; /* of the worker */
	struct index_worker *worker;
	struct index_open *open;
	struct index_core *core;
	enum err e;
	struct index_work *waiting, **waiting_last;
};

/* ---- in an opener's thread ---- */

static void opening_done(void *worker, void *opening);

static void
opening_run(struct index_opener_job *job)
{
	struct index_opening *op = (struct index_opening *)job;

	op->e = index_open_core(op->open, &op->core);
	index_queue_add(&op->worker->queue, opening_done, op);
}

static void *
opener_thread(void *arg)
{
	struct index_openers *p = arg;

	pthread_mutex_lock(&p->mutex);
	for (;;) {
		struct index_opener_job *job = p->first;

		if (!job) {
			if (p->stop)
				break;
			p->idle++;
			pthread_cond_wait(&p->cond, &p->mutex);
			p->idle--;
			continue;
		}
		p->first = job->next;
		if (!p->first)
			p->last = &p->first;
		p->queued--;
		pthread_mutex_unlock(&p->mutex);
		job->run(job);
		pthread_mutex_lock(&p->mutex);
	}
	pthread_mutex_unlock(&p->mutex);
	return NULL;
}

/* With the mutex held. */
static enum err
thread_add(struct index_openers *p)
{
	sigset_t all, old;
	enum err e;

	sigfillset(&all);
	/* Of a thread's own faults: core_damage.c. */
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGSEGV);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	e = err_from_errno(pthread_create(&p->threads[p->count], NULL, opener_thread, p));
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	p->count += e == OK;
	return e;
}

enum err
index_openers_start(struct index_openers *p)
{
	enum err e;

	pthread_mutex_init(&p->mutex, NULL);
	pthread_cond_init(&p->cond, NULL);
	p->last = &p->first;
	pthread_mutex_lock(&p->mutex);
	e = thread_add(p);
	pthread_mutex_unlock(&p->mutex);
	return e;
}

void
index_openers_stop(struct index_openers *p)
{
	pthread_mutex_lock(&p->mutex);
	p->stop = 1;
	pthread_cond_broadcast(&p->cond);
	pthread_mutex_unlock(&p->mutex);
	for (size_t i = 0; i < p->count; i++)
		pthread_join(p->threads[i], NULL);
	pthread_cond_destroy(&p->cond);
	pthread_mutex_destroy(&p->mutex);
}

/* ---- in the worker's ---- */

void
index_openers_add(struct index_openers *p, struct index_opener_job *job)
{
	job->next = NULL;
	pthread_mutex_lock(&p->mutex);
	*p->last = job;
	p->last = &job->next;
	p->queued++;
	/* Who waits behind long ones gets a thread; there is one at least. */
	if (p->queued > p->idle && p->count < INDEX_OPENERS_MAX && thread_add(p))
		log_event(LOGL_WARN, "index.threads failed", "for", "open", NULL);
	pthread_cond_signal(&p->cond);
	pthread_mutex_unlock(&p->mutex);
}

struct index_opening *
index_opening_find(struct index_worker *w, const char *user)
{
	struct index_opening *op = w->openings;

	while (op && strcmp(op->open->user, user) != 0)
		op = op->next;
	return op;
}

void
index_opening_wait(struct index_opening *op, void (*run)(void *worker, void *arg), void *arg)
{
	struct index_work *w = MEM_NEW(struct index_work);

	w->run = run;
	w->arg = arg;
	*op->waiting_last = w;
	op->waiting_last = &w->next;
}

void
index_opening_begin(struct index_worker *w, struct index_open *o)
{
	struct index_opening *op = MEM_NEW(struct index_opening);

	op->job.run = opening_run;
	op->worker = w;
	op->open = o;
	op->waiting_last = &op->waiting;
	op->next = w->openings;
	w->openings = op;
	w->opening_count++;
	index_openers_add(&w->service->openers, &op->job);
}

static void
opening_done(void *worker, void *opening)
{
	struct index_worker *w = worker;
	struct index_opening *op = opening, **at = &w->openings;

	while (*at != op)
		at = &(*at)->next;
	*at = op->next;
	w->opening_count--;
	index_worker_opened(w, op->open, op->e, op->core);
	for (struct index_work *x = op->waiting, *next; x; x = next) {
		next = x->next;
		x->run(w, x->arg);
		free(x);
	}
	free(op);
}

/* ---- how many are open ---- */

static uint64_t
descriptors_of(struct index_worker *w)
{
	return (atomic_load(&w->users_open) + w->opening_count) * INDEX_USER_FDS +
	       atomic_load(&w->connections);
}

/* Each worker has the same share of them, for it can close its own users only. */
static uint64_t
descriptors_share(const struct index_worker *w)
{
	struct rlimit lim;
	uint64_t all, spare;

	if (getrlimit(RLIMIT_NOFILE, &lim) != 0 || lim.rlim_cur == RLIM_INFINITY)
		return UINT64_MAX;
	all = lim.rlim_cur;
	/* For sockets and threads of our own, and for directories that are being read or synced. */
	spare = INDEX_SPARE_FDS + all / 8;
	return (all > spare ? all - spare : 0) / w->service->worker_count;
}

void
index_users_make_room(struct index_worker *w)
{
	uint64_t share = descriptors_share(w);

	while (w->idle_first && descriptors_of(w) + INDEX_USER_FDS > share) {
		struct index_user_entry *u = w->idle_first;

		log_event(LOGL_DEBUG, "index.user closed", "user", u->name, "reason", "room", NULL);
		index_user_end(u);
	}
}

void
index_user_set_idle(struct index_user_entry *u, int on)
{
	struct index_worker *w = u->worker;

	if (u->is_idle == on)
		return;
	u->is_idle = on;
	if (on) {
		u->idle_prev = w->idle_last;
		u->idle_next = NULL;
		*(w->idle_last ? &w->idle_last->idle_next : &w->idle_first) = u;
		w->idle_last = u;
	} else {
		*(u->idle_prev ? &u->idle_prev->idle_next : &w->idle_first) = u->idle_next;
		*(u->idle_next ? &u->idle_next->idle_prev : &w->idle_last) = u->idle_prev;
	}
}
