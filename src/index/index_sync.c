/* SPDX-License-Identifier: MIT */
#include "index/index_service.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "index/index_proto.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/mem.h"

/*
 * Group commit. Requests are carried out as they come; the directories they touched are fsync'd by
 * a thread of the worker's own, one round at a time, and the answers wait for the round that covers
 * them. While the disk works the worker goes on, and what it did meanwhile is the next round.
 */

static void
free_answers(struct index_answer *a)
{
	for (struct index_answer *next; a; a = next) {
		next = a->next;
		a->conn->held--;
		index_conn_release(a->conn);
		buf_free(&a->body);
		free(a);
	}
}

static void
deliver(struct index_worker *w, struct index_answer *a, enum err e)
{
	(void)w;
	for (; a; a = a->next) {
		if (!a->conn->ipc)
			continue;
		if (e) {
			struct buf body = {0};

			ipc_put_u32(&body, (uint32_t)e);
			ipc_put_cstr(&body, "the disk failed");
			ipc_conn_send(
				a->conn->ipc, INDEX_ERROR, a->request, buf_str(&body), NULL, 0);
			buf_free(&body);
		} else {
			ipc_conn_send(
				a->conn->ipc, a->type, a->request, buf_str(&a->body), NULL, 0);
		}
	}
}

static void
round_done(void *owner, void *arg)
{
	struct index_worker *w = owner;
	struct index_sync *s = &w->sync;
	struct index_answer *answers = s->flying;
	enum err e = s->failed ? err_from_errno(s->failed) : OK;

	(void)arg;
	if (e)
		log_event(LOGL_ERROR, "index.sync failed", "error", log_errno(s->failed), NULL);
	s->flying = NULL;
	s->busy = 0;
	deliver(w, answers, e);
	free_answers(answers);
	if (s->held)
		event_active(s->launch, EV_TIMEOUT, 0);
}

static void *
sync_thread(void *arg)
{
	struct index_worker *w = arg;
	struct index_sync *s = &w->sync;

	pthread_mutex_lock(&s->mutex);
	for (;;) {
		while (!s->fd_count && !s->stop)
			pthread_cond_wait(&s->cond, &s->mutex);
		if (s->stop)
			break;
		size_t n = s->fd_count;
		int failed = s->failed; /* what could not wait for us */

		pthread_mutex_unlock(&s->mutex);
		for (size_t i = 0; i < n; i++) {
			if (fsync(s->fds[i]) != 0 && !failed)
				failed = errno;
			close(s->fds[i]);
		}
		pthread_mutex_lock(&s->mutex);
		s->fd_count = 0;
		s->failed = failed;
		index_queue_add(&w->queue, round_done, NULL);
	}
	pthread_mutex_unlock(&s->mutex);
	return NULL;
}

struct taken {
	int *fds;
	size_t count, cap;
	int failed;
};

static void
take_of(struct index_user_entry *u, struct taken *t)
{
	size_t n;
	int early;

	do {
		if (t->cap - t->count < INDEX_SYNC_FDS_MAX) {
			t->cap = t->count + INDEX_SYNC_FDS_MAX;
			t->fds = mem_realloc(t->fds, t->cap, sizeof(int));
		}
		n = index_core_sync_take(u->core, t->fds + t->count, t->cap - t->count);
		t->count += n;
	} while (n);
	early = index_core_sync_errno(u->core);
	if (early)
		t->failed = early;
}

void
index_sync_take(struct index_worker *w, struct index_user_entry *u)
{
	struct index_sync *s = &w->sync;
	struct taken t = {s->early_fds, s->early_count, s->early_count, s->early_failed};

	take_of(u, &t);
	s->early_fds = t.fds;
	s->early_count = t.count;
	s->early_failed = t.failed;
}

static size_t
take_fds(struct index_worker *w, int **fds, int *failed)
{
	struct index_sync *s = &w->sync;
	struct taken t = {s->early_fds, s->early_count, s->early_count, s->early_failed};

	s->early_fds = NULL;
	s->early_count = 0;
	s->early_failed = 0;
	for (size_t i = 0; i < INDEX_USER_BUCKETS; i++)
		for (struct index_user_entry *u = w->users[i]; u; u = u->next)
			if (u->core && !u->away)
				take_of(u, &t);
	*fds = t.fds;
	*failed = t.failed;
	return t.count;
}

/* Active events run in turn: this one behind all clients that had something to say already. */
static void
on_launch(evutil_socket_t fd, short what, void *arg)
{
	struct index_worker *w = arg;
	struct index_sync *s = &w->sync;
	size_t count;

	(void)fd;
	(void)what;
	if (s->busy || !s->held)
		return;
	free(s->fds);
	count = take_fds(w, &s->fds, &s->failed);
	s->flying = s->held;
	s->held = NULL;
	s->held_last = &s->held;
	s->busy = 1;
	if (!count) {
		round_done(w, NULL);
		return;
	}
	pthread_mutex_lock(&s->mutex);
	s->fd_count = count;
	pthread_cond_signal(&s->cond);
	pthread_mutex_unlock(&s->mutex);
}

void
index_answer_send(struct index_conn *c, uint16_t type, uint32_t request, struct buf *body)
{
	struct index_sync *s = &c->worker->sync;
	struct index_answer *a;

	if (!c->ipc) {
		buf_free(body);
		return;
	}
	if (!c->held && !(c->user && c->user->core && index_core_sync_waits(c->user->core))) {
		ipc_conn_send(c->ipc, type, request, buf_str(body), NULL, 0);
		buf_free(body);
		return;
	}
	a = MEM_NEW(struct index_answer);
	a->conn = c;
	a->type = type;
	a->request = request;
	a->body = *body;
	*body = (struct buf){0};
	c->held++;
	c->refs++;
	*s->held_last = a;
	s->held_last = &a->next;
	if (!s->busy)
		event_active(s->launch, EV_TIMEOUT, 0);
}

int
index_sync_is_idle(const struct index_worker *w)
{
	return !w->sync.busy && !w->sync.held;
}

enum err
index_sync_start(struct index_worker *w)
{
	struct index_sync *s = &w->sync;

	s->held_last = &s->held;
	pthread_mutex_init(&s->mutex, NULL);
	pthread_cond_init(&s->cond, NULL);
	s->launch = event_new(w->base, -1, 0, on_launch, w);
	return err_from_errno(pthread_create(&s->thread, NULL, sync_thread, w));
}

void
index_sync_stop(struct index_worker *w)
{
	struct index_sync *s = &w->sync;

	pthread_mutex_lock(&s->mutex);
	s->stop = 1;
	pthread_cond_signal(&s->cond);
	pthread_mutex_unlock(&s->mutex);
	pthread_join(s->thread, NULL);
	free_answers(s->flying);
	free_answers(s->held);
	free(s->fds);
	for (size_t i = 0; i < s->early_count; i++)
		close(s->early_fds[i]);
	free(s->early_fds);
	event_free(s->launch);
	pthread_mutex_destroy(&s->mutex);
	pthread_cond_destroy(&s->cond);
}
