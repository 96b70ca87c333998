/* SPDX-License-Identifier: MIT */
#include "index/index_service.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "index/index_proto.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

/*
 * Notices to the clients that watch, and inotify on the folders that they watch, so that other
 * programs' changes are news too. Where inotify cannot be had (too many watches) the next refresh
 * finds them.
 */

enum { WATCH_EVENTS = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR };

void
index_watch_notify(uint32_t mailbox, uint64_t modseq, void *arg)
{
	struct index_user_entry *u = arg;
	struct buf body = {0};

	ipc_put_u32(&body, mailbox);
	ipc_put_u64(&body, modseq);
	for (struct index_conn *c = u->conns; c; c = c->next)
		if (c->ipc && (c->watch_all || (mailbox && numset_contains(&c->watch, mailbox))))
			ipc_conn_send(c->ipc, INDEX_CHANGED, 0, buf_str(&body), NULL, 0);
	buf_free(&body);
}

static void
add_one(struct index_user_entry *u, uint32_t mailbox, const char *folder, int in_new)
{
	char *path = mem_printf("%s/%s", folder, in_new ? "new" : "cur");
	int wd = inotify_add_watch(u->worker->inotify_fd, path, WATCH_EVENTS);

	free(path);
	if (wd < 0) {
		log_event(LOGL_DEBUG, "index.inotify failed", "user", u->name, "error",
			log_errno(errno), NULL);
		return;
	}
	u->watched = mem_realloc(u->watched, u->watched_count + 1, sizeof(*u->watched));
	u->watched[u->watched_count++] =
		(struct index_watched){.wd = wd, .mailbox = mailbox, .in_new = in_new};
}

void
index_watch_add(struct index_user_entry *u, uint32_t mailbox)
{
	char *folder;

	if (u->worker->inotify_fd < 0)
		return;
	for (size_t i = 0; i < u->watched_count; i++)
		if (u->watched[i].mailbox == mailbox)
			return;
	if (index_core_folder_path(u->core, mailbox, &folder))
		return;
	add_one(u, mailbox, folder, 1);
	add_one(u, mailbox, folder, 0);
	free(folder);
}

void
index_watch_prune(struct index_user_entry *u)
{
	size_t kept = 0;

	for (size_t i = 0; i < u->watched_count; i++) {
		int wanted = 0;

		for (struct index_conn *c = u->conns; c && !wanted; c = c->next)
			wanted = u->watched[i].mailbox &&
				 numset_contains(&c->watch, u->watched[i].mailbox);
		if (wanted)
			u->watched[kept++] = u->watched[i];
		else
			(void)inotify_rm_watch(u->worker->inotify_fd, u->watched[i].wd);
	}
	u->watched_count = kept;
}

/* Our own deliveries into new/ have a UID already; others have none. */
static int
is_news(const struct index_watched *watched, const struct inotify_event *ev)
{
	if (ev->mask & IN_Q_OVERFLOW)
		return 1;
	if (watched->wd != ev->wd)
		return 0;
	return !(watched->in_new && (ev->mask & (IN_CREATE | IN_MOVED_TO)) && ev->len &&
		 strstr(ev->name, ",U="));
}

static void
mark_news(struct index_worker *w, const struct inotify_event *ev)
{
	struct timeval soon = {0, INDEX_NEWS_DELAY_MS * 1000};

	for (size_t i = 0; i < INDEX_USER_BUCKETS; i++) {
		for (struct index_user_entry *u = w->users[i]; u; u = u->next) {
			for (size_t j = 0; j < u->watched_count; j++) {
				if (!is_news(&u->watched[j], ev))
					continue;
				numset_add(&u->news_boxes, u->watched[j].mailbox);
				if (!event_pending(u->news, EV_TIMEOUT, NULL))
					event_add(u->news, &soon);
			}
		}
	}
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

		mark_news(w, ev);
		at += (ssize_t)(sizeof(*ev) + ev->len);
	}
}

void
index_watch_news(evutil_socket_t fd, short what, void *arg)
{
	struct index_user_entry *u = arg;
	struct numset boxes = u->news_boxes;

	(void)fd;
	(void)what;
	u->news_boxes = (struct numset){0};
	for (size_t i = 0; i < boxes.count; i++) {
		for (uint64_t id = boxes.ranges[i].first; id <= boxes.ranges[i].last; id++) {
			enum err e = index_core_refresh(u->core, (uint32_t)id);

			if (e == E_CORRUPT) {
				struct timeval now = {0, 0};

				u->corrupt = 1;
				event_add(u->background, &now);
			}
		}
	}
	numset_free(&boxes);
	index_user_touch(u);
}

enum err
index_watch_open(struct index_worker *w)
{
	w->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (w->inotify_fd < 0) {
		log_event(LOGL_WARN, "index.inotify failed", "error", log_errno(errno), NULL);
		return OK;
	}
	w->inotify_event = event_new(w->base, w->inotify_fd, EV_READ | EV_PERSIST, on_inotify, w);
	event_add(w->inotify_event, NULL);
	return OK;
}

void
index_watch_close(struct index_worker *w)
{
	if (w->inotify_event)
		event_free(w->inotify_event);
	io_close(&w->inotify_fd);
}
