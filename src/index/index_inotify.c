/* SPDX-License-Identifier: MIT */
#include "index/index_service.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

/*
 * inotify: one descriptor for the process, whatever the number of threads and folders, for
 * max_user_instances (128 by default) is for all programs of this user id. It is had when the first
 * user comes. The main thread reads it; whatever is watched is of one user, so that a table leads
 * from the kernel's number of a watch to the worker that has the user, and a table of the worker's
 * to what was watched. An event does no work, it only says where to look; the look follows a few
 * milliseconds later, for all events until then.
 *
 * A directory has one number, however often it is watched: who holds it is counted.
 */

enum {
	DIR_EVENTS = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF |
		     IN_MOVE_SELF | IN_ONLYDIR,
	SELF_EVENTS = IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED,
	READ_SIZE = 16 * 1024,
};

struct index_wd {
	struct index_wd *next; /* in its bucket */
	int wd;
	unsigned refs;
	struct index_worker *worker;
};

/* Events on their way to a worker. */
struct events {
	size_t len;
	char bytes[READ_SIZE] __attribute__((aligned(__alignof__(struct inotify_event))));
};

/* ---- the descriptor ---- */

static struct index_wd **
wd_slot(struct index_inotify *in, int wd)
{
	struct index_wd **at = &in->wds[(unsigned)wd % INDEX_WATCH_BUCKETS];

	while (*at && (*at)->wd != wd)
		at = &(*at)->next;
	return at;
}

static void
say_once(struct index_inotify *in, int error)
{
	if (in->warned)
		return;
	in->warned = 1;
	log_event(LOGL_WARN, "index.inotify failed", "error", log_errno(error), "effect",
		"changes by other programs are found later", "see", "fs.inotify.max_user_watches",
		NULL);
}

void
index_inotify_init(struct index_inotify *in)
{
	pthread_mutex_init(&in->mutex, NULL);
	in->fd = -1;
}

void
index_inotify_fini(struct index_inotify *in)
{
	if (in->event)
		event_free(in->event);
	io_close(&in->fd);
	for (size_t i = 0; i < INDEX_WATCH_BUCKETS; i++)
		for (struct index_wd *x = in->wds[i], *next; x; x = next) {
			next = x->next;
			free(x);
		}
	pthread_mutex_destroy(&in->mutex);
}

static void events_run(void *worker, void *events);

static void
send_to(struct index_worker *w, const char *bytes, size_t len)
{
	struct events *e = mem_alloc(sizeof(*e));

	e->len = len;
	memcpy(e->bytes, bytes, len);
	index_queue_add(&w->queue, events_run, e);
}

static struct index_worker *
worker_of(struct index_inotify *in, int wd)
{
	struct index_wd *x;

	pthread_mutex_lock(&in->mutex);
	x = *wd_slot(in, wd);
	pthread_mutex_unlock(&in->mutex);
	return x ? x->worker : NULL;
}

/* In the main thread. Events in a row that are for the same worker go together. */
static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct index_service_state *s = arg;
	char text[READ_SIZE] __attribute__((aligned(__alignof__(struct inotify_event))));
	struct index_worker *w = NULL;
	ssize_t n = read(fd, text, sizeof(text)), begin = 0;

	(void)what;
	for (ssize_t at = 0; at < n;) {
		const struct inotify_event *ev = (const struct inotify_event *)(text + at);
		ssize_t end = at + (ssize_t)(sizeof(*ev) + ev->len);
		struct index_worker *of = worker_of(&s->inotify, ev->wd);

		if (of != w && w)
			send_to(w, text + begin, (size_t)(at - begin));
		if (of != w)
			begin = at;
		w = of;
		for (size_t i = 0; (ev->mask & IN_Q_OVERFLOW) && i < s->worker_count; i++)
			send_to(&s->workers[i], text + at, (size_t)(end - at));
		at = end;
	}
	if (w)
		send_to(w, text + begin, (size_t)(n - begin));
}

static void
listen_to(void *service, void *unused)
{
	struct index_service_state *s = service;
	struct index_inotify *in = &s->inotify;

	(void)unused;
	in->event = event_new(service_base(s->run), in->fd, EV_READ | EV_PERSIST, on_readable, s);
	event_add(in->event, NULL);
}

/* Again for each watch that is wanted: others may have had all instances for a while. */
static int
open_inotify(struct index_service_state *s)
{
	s->inotify.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (s->inotify.fd >= 0)
		index_queue_add(&s->queue, listen_to, NULL);
	return s->inotify.fd >= 0;
}

int
index_inotify_hold(struct index_worker *w, const char *path, uint32_t flags)
{
	struct index_inotify *in = &w->service->inotify;
	int wd = -1, error = 0;

	pthread_mutex_lock(&in->mutex);
	if (in->fd >= 0 || open_inotify(w->service))
		wd = inotify_add_watch(in->fd, path, DIR_EVENTS | flags);
	if (wd < 0) {
		error = errno;
		/* A folder that is not there is no shortage. */
		if (error != ENOENT && error != ENOTDIR && error != ELOOP)
			say_once(in, error);
	} else {
		struct index_wd **at = wd_slot(in, wd);

		if (!*at) {
			*at = MEM_NEW(struct index_wd);
			(*at)->wd = wd;
			(*at)->worker = w;
		}
		(*at)->refs++;
	}
	pthread_mutex_unlock(&in->mutex);
	return wd;
}

void
index_inotify_drop(struct index_worker *w, int wd)
{
	struct index_inotify *in = &w->service->inotify;
	struct index_wd **at, *x;

	if (wd < 0)
		return;
	pthread_mutex_lock(&in->mutex);
	at = wd_slot(in, wd);
	x = *at;
	if (x && --x->refs == 0) {
		/* It may be gone with its directory already; numbers are not used again. */
		(void)inotify_rm_watch(in->fd, wd);
		*at = x->next;
		free(x);
	}
	pthread_mutex_unlock(&in->mutex);
}

/* ---- what a worker watches ---- */

static struct index_watched **
bucket(struct index_worker *w, int wd)
{
	return &w->watched[(unsigned)wd % INDEX_WATCH_BUCKETS];
}

int
index_inotify_add(
	struct index_user_entry *u, enum index_watch_kind kind, uint32_t mailbox, const char *path)
{
	struct index_worker *w = u->worker;
	uint32_t follow = kind == INDEX_WATCH_NEW || kind == INDEX_WATCH_CUR ? IN_DONT_FOLLOW : 0;
	int wd = index_inotify_hold(w, path, follow);
	struct index_watched *x;

	if (wd < 0)
		return 0;
	x = MEM_NEW(struct index_watched);
	x->wd = wd;
	x->kind = kind;
	x->mailbox = mailbox;
	x->user = u;
	x->in_table = *bucket(w, wd);
	*bucket(w, wd) = x;
	x->next = u->watched;
	u->watched = x;
	u->watched_count++;
	return 1;
}

static void
unlink_watched(struct index_watched *x)
{
	struct index_watched **at;

	for (at = bucket(x->user->worker, x->wd); *at != x; at = &(*at)->in_table)
		;
	*at = x->in_table;
	for (at = &x->user->watched; *at != x; at = &(*at)->next)
		;
	*at = x->next;
	x->user->watched_count--;
	free(x);
}

void
index_inotify_remove(struct index_watched *x)
{
	index_inotify_drop(x->user->worker, x->wd);
	unlink_watched(x);
}

/* ---- events ---- */

static void
note_news(struct index_watched *x)
{
	struct index_user_entry *u = x->user;

	if (x->kind == INDEX_WATCH_FILES)
		u->news_files = 1;
	else if (x->kind == INDEX_WATCH_TREE)
		u->news_tree = 1;
	else
		numset_add(&u->news_boxes, x->mailbox);
	index_watch_soon(u);
}

/* Most events are of what we do ourselves. */
static int
is_news(const struct index_watched *x, const struct inotify_event *ev)
{
	const char *name = ev->len ? ev->name : "";

	if (ev->mask & (SELF_EVENTS | IN_Q_OVERFLOW))
		return 1;
	switch (x->kind) {
	case INDEX_WATCH_FILES:
		return strcmp(name, "data.mdb") == 0 || strcmp(name, "lock.mdb") == 0;
	case INDEX_WATCH_TREE:
		return (ev->mask & IN_ISDIR) &&
		       (name[0] == '.' || strcmp(name, "new") == 0 || strcmp(name, "cur") == 0);
	case INDEX_WATCH_NEW:
		/* Our own deliveries have a UID already; others have none. */
		return !((ev->mask & (IN_CREATE | IN_MOVED_TO)) && index_watch_is_ours(name));
	case INDEX_WATCH_CUR:
		break;
	}
	return 1;
}

static void
event_of(struct index_worker *w, const struct inotify_event *ev)
{
	struct index_watched *next;

	for (struct index_watched *x = *bucket(w, ev->wd); x; x = next) {
		next = x->in_table;
		if (x->wd != ev->wd || !is_news(x, ev))
			continue;
		note_news(x);
		if (!(ev->mask & SELF_EVENTS))
			continue;
		/* The directory is another now, or gone: its name is watched by the next look. */
		x->user->news_lost = 1;
		index_inotify_remove(x);
	}
}

static void
overflow(struct index_worker *w)
{
	for (size_t i = 0; i < INDEX_WATCH_BUCKETS; i++)
		for (struct index_watched *x = w->watched[i]; x; x = x->in_table)
			note_news(x);
}

static void
events_run(void *worker, void *arg)
{
	struct index_worker *w = worker;
	struct events *e = arg;

	for (size_t at = 0; at < e->len;) {
		const struct inotify_event *ev = (const struct inotify_event *)(e->bytes + at);

		if (ev->mask & IN_Q_OVERFLOW)
			overflow(w);
		else
			event_of(w, ev);
		index_sleep_event(w, ev);
		at += sizeof(*ev) + ev->len;
	}
	free(e);
}
