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
 * inotify: one descriptor for each worker, whatever the number of folders. A table leads from the
 * kernel's number of a watch to the user and to what was watched. An event does no work, it only
 * says where to look; the look follows a few milliseconds later, for all events until then.
 *
 * The descriptor is had when the first user comes: max_user_instances (128 by default) is for all
 * programs of this user id.
 */

enum {
	DIR_EVENTS = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF |
		     IN_MOVE_SELF | IN_ONLYDIR,
	SELF_EVENTS = IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED,
};

static struct index_watched **
bucket(struct index_worker *w, int wd)
{
	return &w->watched[(unsigned)wd % INDEX_WATCH_BUCKETS];
}

static void
say_once(struct index_worker *w, int error)
{
	if (w->inotify_warned)
		return;
	w->inotify_warned = 1;
	log_event(LOGL_WARN, "index.inotify failed", "error", log_errno(error), "effect",
		"changes by other programs are found later", "see", "fs.inotify.max_user_watches",
		NULL);
}

static void on_inotify(evutil_socket_t fd, short what, void *arg);

/* Again for each watch that is wanted: others may have had all instances for a while. */
static void
open_inotify(struct index_worker *w)
{
	w->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (w->inotify_fd < 0) {
		say_once(w, errno);
		return;
	}
	w->inotify_event = event_new(w->base, w->inotify_fd, EV_READ | EV_PERSIST, on_inotify, w);
	event_add(w->inotify_event, NULL);
}

int
index_inotify_add(
	struct index_user_entry *u, enum index_watch_kind kind, uint32_t mailbox, const char *path)
{
	struct index_worker *w = u->worker;
	uint32_t follow = kind == INDEX_WATCH_NEW || kind == INDEX_WATCH_CUR ? IN_DONT_FOLLOW : 0;
	struct index_watched *x;
	int wd;

	if (w->inotify_fd < 0)
		open_inotify(w);
	wd = w->inotify_fd < 0 ? -1 : inotify_add_watch(w->inotify_fd, path, DIR_EVENTS | follow);

	if (wd < 0) {
		/* A folder that is not there is no shortage. */
		if (w->inotify_fd >= 0 && errno != ENOENT && errno != ENOTDIR && errno != ELOOP)
			say_once(w, errno);
		return 0;
	}
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
	(void)inotify_rm_watch(x->user->worker->inotify_fd, x->wd);
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
		if (!(ev->mask & IN_IGNORED))
			(void)inotify_rm_watch(w->inotify_fd, x->wd);
		unlink_watched(x);
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
on_inotify(evutil_socket_t fd, short what, void *arg)
{
	char text[16 * 1024] __attribute__((aligned(__alignof__(struct inotify_event))));
	struct index_worker *w = arg;
	ssize_t n = read(fd, text, sizeof(text));

	(void)what;
	for (ssize_t at = 0; at < n;) {
		const struct inotify_event *ev = (const struct inotify_event *)(text + at);

		if (ev->mask & IN_Q_OVERFLOW)
			overflow(w);
		else
			event_of(w, ev);
		at += (ssize_t)(sizeof(*ev) + ev->len);
	}
}

void
index_inotify_close(struct index_worker *w)
{
	if (w->inotify_event)
		event_free(w->inotify_event);
	io_close(&w->inotify_fd);
}
