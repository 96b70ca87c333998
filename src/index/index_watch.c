/* SPDX-License-Identifier: MIT */
#include "index/index_service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "index/index_proto.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

/*
 * Notices to the clients that watch, and what the kernel is asked to watch for them, so that other
 * programs' changes are news too:
 *
 *   the index directory    as long as the user is open: was it removed?
 *   the Maildir            as long as the user is open: folders that come and go
 *   new/ and cur/          of each mailbox that a client has selected; of all mailboxes, INBOX
 *                          first, while a client watches all, up to the setting
 *
 * What could not be had (the setting, the kernel's limit) is looked at every INDEX_SLOW_LOOK_MS
 * while a client waits for it.
 */

void
index_watch_tell(struct index_conn *c, uint32_t mailbox, uint64_t modseq)
{
	struct buf body = {0};

	if (!c->ipc || !(c->watch_all || (mailbox && numset_contains(&c->watch, mailbox))))
		return;
	ipc_put_u32(&body, mailbox);
	ipc_put_u64(&body, modseq);
	/* Of who does not read, what it will be told is kept once for each mailbox. */
	if (ipc_conn_pending(c->ipc) < INDEX_NOTICES_MAX)
		ipc_conn_send(c->ipc, INDEX_CHANGED, 0, buf_str(&body), NULL, 0);
	else if (mailbox)
		numset_add(&c->missed, mailbox);
	else
		c->missed_tree = 1;
	buf_free(&body);
}

void
index_watch_notify(uint32_t mailbox, uint64_t modseq, void *arg)
{
	struct index_user_entry *u = arg;

	/* Guests hear of it when their index has it. */
	for (struct index_conn *c = u->conns; c; c = c->next)
		if (!c->guest)
			index_watch_tell(c, mailbox, modseq);
	index_sleep_notify(u->worker, u->name, mailbox);
	index_guest_note(u, mailbox);
	index_fts_changed(u);
	/* A folder that came is to be watched too. */
	if (mailbox == 0) {
		u->news_lost = 1;
		index_watch_soon(u);
	}
}

static void
send_missed(struct index_conn *c, uint32_t mailbox)
{
	struct buf body = {0};

	ipc_put_u32(&body, mailbox);
	ipc_put_u64(&body, mailbox ? index_core_modseq(c->user->core, mailbox) : 0);
	ipc_conn_send(c->ipc, INDEX_CHANGED, 0, buf_str(&body), NULL, 0);
	buf_free(&body);
}

void
index_watch_drained(struct ipc_conn *ipc, void *arg)
{
	struct index_conn *c = arg;
	struct numset missed = c->missed;
	int tree = c->missed_tree;

	(void)ipc;
	if (c->user && c->user->away)
		return; /* and sent when it is back */
	c->missed = (struct numset){0};
	c->missed_tree = 0;
	if (c->user && c->user->core && !c->user->corrupt) {
		for (size_t i = 0; i < missed.count; i++)
			for (uint64_t id = missed.ranges[i].first; id <= missed.ranges[i].last;
				id++)
				send_missed(c, (uint32_t)id);
		if (tree)
			send_missed(c, 0);
	}
	numset_free(&missed);
}

void
index_watch_soon(struct index_user_entry *u)
{
	/* Who fills a folder is looked after in pieces, a single change at once. */
	int64_t ms = u->news_ms + u->news_delay_ms - io_now_ms();
	struct timeval tv;

	if (u->away)
		return;
	/* Whoever removes an index file by file is not to find that we went on with it. */
	if (u->news_files && ms < INDEX_NEWS_DELAY_MS)
		ms = INDEX_NEWS_DELAY_MS;
	if (ms < 0)
		ms = 0;
	tv = (struct timeval){ms / 1000, ms % 1000 * 1000};
	if (!event_pending(u->news, EV_TIMEOUT, NULL))
		event_add(u->news, &tv);
}

/* A copy that another program made of such a file has an older time, or another one in front. */
int
index_watch_is_ours(const char *name)
{
	enum { JUST_NOW_S = 10 };
	long long age = (long long)time(NULL) - strtoll(name, NULL, 10);
	char mark[32];

	snprintf(mark, sizeof(mark), "P%ldQ", (long)getpid());
	return age >= -1 && age <= JUST_NOW_S && strstr(name, mark) && strstr(name, ",U=");
}

void
index_watch_look(struct index_user_entry *u, uint32_t mailbox)
{
	numset_add(&u->news_boxes, mailbox);
	index_watch_soon(u);
}

/* ---- which folders ---- */

static int
all_are_wanted(const struct index_user_entry *u)
{
	for (const struct index_conn *c = u->conns; c; c = c->next)
		if (c->watch_all)
			return 1;
	return 0;
}

static int
is_selected(const struct index_user_entry *u, uint32_t mailbox)
{
	for (const struct index_conn *c = u->conns; c; c = c->next)
		if (numset_contains(&c->watch, mailbox))
			return 1;
	return 0;
}

static int
has_watch(const struct index_user_entry *u, enum index_watch_kind kind, uint32_t mailbox)
{
	for (const struct index_watched *x = u->watched; x; x = x->next)
		if (x->kind == kind && x->mailbox == mailbox)
			return 1;
	return 0;
}

/* 1: both directories of the mailbox are watched. */
static int
add_mailbox(struct index_user_entry *u, uint32_t mailbox)
{
	static const struct {
		enum index_watch_kind kind;
		const char *name;
	} subs[] = {{INDEX_WATCH_NEW, "new"}, {INDEX_WATCH_CUR, "cur"}};
	char *folder;
	int all = 1;

	if (index_core_folder_path(u->core, mailbox, &folder))
		return 0;
	for (size_t i = 0; i < 2; i++) {
		char *path = mem_printf("%s/%s", folder, subs[i].name);

		if (!has_watch(u, subs[i].kind, mailbox)) {
			all &= index_inotify_add(u, subs[i].kind, mailbox, path);
			/* What was done to it before that has no event. */
			numset_add(&u->news_boxes, mailbox);
			index_watch_soon(u);
		}
		free(path);
	}
	free(folder);
	return all;
}

static int
add_selected(struct index_user_entry *u)
{
	int all = 1;

	for (const struct index_conn *c = u->conns; c; c = c->next)
		for (size_t i = 0; i < c->watch.count; i++)
			for (uint64_t id = c->watch.ranges[i].first; id <= c->watch.ranges[i].last;
				id++)
				all &= add_mailbox(u, (uint32_t)id);
	return all;
}

static int
add_all(struct index_user_entry *u)
{
	struct numset has = {0};
	uint32_t *ids = NULL;
	size_t count = 0, done = 0;

	if (u->watches_all != WATCHES_UNKNOWN)
		return u->watches_all == WATCHES_COMPLETE;
	if (index_core_mailboxes(u->core, &ids, &count))
		return 0;
	for (const struct index_watched *x = u->watched; x; x = x->next)
		if (x->kind == INDEX_WATCH_CUR)
			numset_add(&has, x->mailbox);
	while (done < count &&
		(numset_contains(&has, ids[done]) ||
			(u->watched_count + 2 <= u->watches_max && add_mailbox(u, ids[done]))))
		done++;
	u->watches_all = done == count ? WATCHES_COMPLETE : WATCHES_PARTLY;
	numset_free(&has);
	free(ids);
	return done == count;
}

static void
drop_unwanted(struct index_user_entry *u)
{
	struct index_watched *next;
	int all = all_are_wanted(u);

	for (struct index_watched *x = u->watched; x; x = next) {
		next = x->next;
		if (x->mailbox && !all && !is_selected(u, x->mailbox))
			index_inotify_remove(x);
	}
}

static int
add_files(struct index_user_entry *u)
{
	int all = has_watch(u, INDEX_WATCH_FILES, 0) ||
		  index_inotify_add(u, INDEX_WATCH_FILES, 0, u->index_dir);

	if (!has_watch(u, INDEX_WATCH_TREE, 0))
		all &= index_inotify_add(u, INDEX_WATCH_TREE, 0, u->maildir);
	return all;
}

static int
is_watched_for(const struct index_user_entry *u)
{
	for (const struct index_conn *c = u->conns; c; c = c->next)
		if (c->watch_all || !numset_is_empty(&c->watch))
			return 1;
	return 0;
}

void
index_watch_sync(struct index_user_entry *u)
{
	int all;

	if (u->away)
		return;
	drop_unwanted(u);
	all = add_files(u);
	all &= add_selected(u);
	if (all_are_wanted(u))
		all &= add_all(u);
	else
		u->watches_all = WATCHES_UNKNOWN;
	if (all || !is_watched_for(u)) {
		event_del(u->slow);
	} else if (!event_pending(u->slow, EV_TIMEOUT, NULL)) {
		struct timeval tv = {INDEX_SLOW_LOOK_MS / 1000, 0};

		event_add(u->slow, &tv);
	}
}

void
index_watch_end(struct index_user_entry *u)
{
	while (u->watched)
		index_inotify_remove(u->watched);
}

void
index_watch_again(struct index_user_entry *u)
{
	index_watch_end(u);
	u->watches_all = WATCHES_UNKNOWN;
	index_watch_sync(u);
}

/* ---- looking ---- */

static void
look_at(struct index_user_entry *u, uint32_t mailbox)
{
	if (index_core_refresh(u->core, mailbox) == E_CORRUPT)
		index_user_corrupt(u);
}

static void
look_again_at_half_made(struct index_user_entry *u)
{
	if (!is_watched_for(u) || !index_core_tree_is_half_made(u->core))
		return;
	u->news_tree = 1;
	if (u->news_delay_ms < INDEX_HALF_MADE_MS)
		u->news_delay_ms = INDEX_HALF_MADE_MS;
	index_watch_soon(u);
}

void
index_watch_looked(struct index_user_entry *u, int64_t begin_ms)
{
	int64_t delay;

	/* A look at a big folder must not take all of the time while somebody fills it. */
	u->news_ms = io_now_ms();
	delay = (u->news_ms - begin_ms) * INDEX_NEWS_FACTOR;
	u->news_delay_ms = delay < INDEX_NEWS_DELAY_MS	     ? INDEX_NEWS_DELAY_MS
			   : delay > INDEX_NEWS_DELAY_MAX_MS ? INDEX_NEWS_DELAY_MAX_MS
							     : (unsigned)delay;
}

void
index_watch_news(evutil_socket_t fd, short what, void *arg)
{
	struct index_user_entry *u = arg;
	struct numset boxes = u->news_boxes;
	int tree = u->news_tree, files = u->news_files, lost = u->news_lost;
	int64_t begin = io_now_ms();

	(void)fd;
	(void)what;
	u->news_boxes = (struct numset){0};
	u->news_tree = u->news_files = u->news_lost = 0;
	if (u->corrupt || (files && index_user_look_for_files(u))) {
		numset_free(&boxes);
		return; /* and u may be gone */
	}
	if (tree && index_core_refresh_tree(u->core) == E_CORRUPT)
		index_user_corrupt(u);
	if (!u->corrupt && index_away_look(u, &boxes, NULL, 0)) {
		u->news_lost |= lost;
		numset_free(&boxes);
		return;
	}
	for (size_t i = 0; i < boxes.count && !u->corrupt; i++)
		for (uint64_t id = boxes.ranges[i].first; id <= boxes.ranges[i].last; id++)
			look_at(u, (uint32_t)id);
	numset_free(&boxes);
	if (lost) {
		u->watches_all = WATCHES_UNKNOWN;
		index_watch_sync(u);
		/* A folder that another program made may have come with rights. */
		if (!u->corrupt)
			index_shared_learn(u);
	}
	index_watch_looked(u, begin);
	if (tree && !u->corrupt)
		look_again_at_half_made(u);
	index_user_touch(u);
}

void
index_watch_slow_look(evutil_socket_t fd, short what, void *arg)
{
	struct index_user_entry *u = arg;

	(void)fd;
	(void)what;
	if (u->corrupt || index_user_look_for_files(u))
		return;
	if (all_are_wanted(u)) {
		look_at(u, 0);
	} else {
		if (index_core_refresh_tree(u->core) == E_CORRUPT)
			index_user_corrupt(u);
		for (const struct index_conn *c = u->conns; c && !u->corrupt; c = c->next)
			for (size_t i = 0; i < c->watch.count; i++)
				for (uint64_t id = c->watch.ranges[i].first;
					id <= c->watch.ranges[i].last; id++)
					look_at(u, (uint32_t)id);
	}
	if (!u->corrupt)
		index_watch_sync(u); /* and the next look, if it is still needed */
}
