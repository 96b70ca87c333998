/* SPDX-License-Identifier: MIT */
#include "index/index_service.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

int
index_queue_run(struct index_queue *q)
{
	struct index_work *first;

	pthread_mutex_lock(&q->mutex);
	first = q->first;
	q->first = NULL;
	q->last = &q->first;
	pthread_mutex_unlock(&q->mutex);
	for (struct index_work *w = first, *next; w; w = next) {
		next = w->next;
		w->run(q->owner, w->arg);
		free(w);
	}
	return first != NULL;
}

static void
on_wake(evutil_socket_t fd, short what, void *arg)
{
	uint64_t n;

	(void)what;
	if (read(fd, &n, sizeof(n)) == sizeof(n))
		(void)index_queue_run(arg);
}

void
index_queue_init(struct index_queue *q, struct event_base *base, void *owner)
{
	pthread_mutex_init(&q->mutex, NULL);
	q->first = NULL;
	q->last = &q->first;
	q->owner = owner;
	q->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (q->fd < 0)
		log_bug(__FILE__, __LINE__, "no eventfd");
	q->event = event_new(base, q->fd, EV_READ | EV_PERSIST, on_wake, q);
	event_add(q->event, NULL);
}

void
index_queue_fini(struct index_queue *q)
{
	event_free(q->event);
	io_close(&q->fd);
	for (struct index_work *w = q->first, *next; w; w = next) {
		next = w->next;
		free(w);
	}
	pthread_mutex_destroy(&q->mutex);
}

void
index_queue_add(struct index_queue *q, void (*run)(void *owner, void *arg), void *arg)
{
	struct index_work *w = MEM_NEW(struct index_work);
	uint64_t one = 1;

	w->run = run;
	w->arg = arg;
	pthread_mutex_lock(&q->mutex);
	*q->last = w;
	q->last = &w->next;
	pthread_mutex_unlock(&q->mutex);
	/* The counter cannot overflow: whoever reads it takes all. */
	if (write(q->fd, &one, sizeof(one)) < 0)
		log_event(LOGL_ERROR, "index.queue failed", NULL);
}
