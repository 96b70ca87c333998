/* SPDX-License-Identifier: MIT */
#include "index/index_service.h"

#include <stdlib.h>

#include "index/index_proto.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

/*
 * A look at a folder with very many files takes long, and the user's worker has other users. So the
 * open index goes to a thread of the openers for the look, and its user is away: requests are not
 * read, timers do not run, whoever else wants the index waits in a list. Nobody but that thread
 * touches the core until it is back.
 */

struct index_away {
	struct index_opener_job job;
	struct index_user_entry *user;
	struct index_core *core;
	struct numset boxes; /* to be looked at */
	int all; /* the folders too, and all of them */
	struct index_conn *conn; /* that asked, or NULL */
	uint32_t request;
	int64_t begin_ms;
	/* What the look changed. */
	struct numset changed;
	int tree_changed;
	enum err e;
	struct index_work *waiting, **waiting_last;
};

/* ---- in the opener's thread ---- */

static void
note_change(uint32_t mailbox, uint64_t modseq, void *arg)
{
	struct index_away *a = arg;

	(void)modseq;
	if (mailbox)
		numset_add(&a->changed, mailbox);
	else
		a->tree_changed = 1;
}

static void away_done(void *worker, void *away);

static void
away_run(struct index_opener_job *job)
{
	struct index_away *a = (struct index_away *)job;

	if (a->all)
		a->e = index_core_refresh(a->core, 0);
	for (size_t i = 0; i < a->boxes.count && a->e == OK; i++)
		for (uint64_t id = a->boxes.ranges[i].first;
			id <= a->boxes.ranges[i].last && a->e != E_CORRUPT; id++)
			a->e = index_core_refresh(a->core, (uint32_t)id);
	index_queue_add(&a->user->worker->queue, away_done, a);
}

/* ---- in the worker's ---- */

static void
stop_timers(struct index_user_entry *u)
{
	event_del(u->background);
	event_del(u->idle);
	event_del(u->news);
	event_del(u->slow);
	event_del(u->parse);
	event_del(u->guests_event);
	if (u->notes_event)
		event_del(u->notes_event);
}

static void
away_begin(struct index_user_entry *u, struct index_away *a, struct index_conn *c, uint32_t request)
{
	a->job.run = away_run;
	a->user = u;
	a->core = u->core;
	a->begin_ms = io_now_ms();
	a->waiting_last = &a->waiting;
	a->conn = c;
	a->request = request;
	if (c)
		c->refs++;
	u->away = a;
	u->worker->away_count++;
	for (struct index_conn *x = u->conns; x; x = x->next)
		if (x->ipc)
			ipc_conn_pause(x->ipc, 1);
	stop_timers(u);
	index_user_set_idle(u, 0);
	index_sync_take(u->worker, u);
	index_core_set_watcher(u->core, note_change, a);
	index_openers_add(&u->worker->service->openers, &a->job);
}

/* 1: a look at all of them would take long. */
static int
all_is_long(struct index_user_entry *u)
{
	uint32_t *ids = NULL;
	size_t count = 0;
	int is_long = 0;

	if (index_core_mailboxes(u->core, &ids, &count))
		return 0;
	for (size_t i = 0; i < count && !is_long; i++)
		is_long = index_core_look_is_long(u->core, ids[i]);
	free(ids);
	return is_long;
}

int
index_away_look(struct index_user_entry *u, const struct numset *boxes, struct index_conn *c,
	uint32_t request)
{
	struct index_away *a;
	int is_long = 0;

	if (!boxes)
		is_long = all_is_long(u);
	for (size_t i = 0; boxes && i < boxes->count; i++)
		for (uint64_t id = boxes->ranges[i].first; id <= boxes->ranges[i].last; id++)
			is_long |= index_core_look_is_long(u->core, (uint32_t)id);
	if (!is_long)
		return 0;
	a = MEM_NEW(struct index_away);
	a->all = !boxes;
	for (size_t i = 0; boxes && i < boxes->count; i++)
		numset_add_range(&a->boxes, boxes->ranges[i].first, boxes->ranges[i].last);
	away_begin(u, a, c, request);
	return 1;
}

void
index_away_wait(struct index_user_entry *u, void (*run)(void *worker, void *arg), void *arg)
{
	struct index_work *w = MEM_NEW(struct index_work);

	w->run = run;
	w->arg = arg;
	*u->away->waiting_last = w;
	u->away->waiting_last = &w->next;
}

static void
tell_changes(struct index_user_entry *u, const struct index_away *a)
{
	if (a->tree_changed)
		index_watch_notify(0, 0, u);
	for (size_t i = 0; i < a->changed.count; i++)
		for (uint64_t id = a->changed.ranges[i].first; id <= a->changed.ranges[i].last;
			id++)
			index_watch_notify(
				(uint32_t)id, index_core_modseq(u->core, (uint32_t)id), u);
}

static void
answer(struct index_away *a)
{
	struct buf body = {0};

	if (!a->conn)
		return;
	if (a->e)
		index_answer_error(a->conn, a->request, a->e, "refresh");
	else
		index_answer_send(a->conn, INDEX_OK, a->request, &body);
	index_conn_release(a->conn);
}

static void
start_timers(struct index_user_entry *u)
{
	if (u->notes_event && u->notes)
		index_notes_flush(u);
	if (u->guests)
		event_active(u->guests_event, EV_TIMEOUT, 0);
	index_watch_sync(u);
	if (u->news_tree || u->news_files || u->news_lost || !numset_is_empty(&u->news_boxes))
		index_watch_soon(u);
	index_user_touch(u);
	if (!u->conns)
		index_user_is_left(u);
}

static void
away_done(void *worker, void *arg)
{
	struct index_worker *w = worker;
	struct index_away *a = arg;
	struct index_user_entry *u = a->user;

	u->away = NULL;
	w->away_count--;
	index_core_set_watcher(u->core, index_watch_notify, u);
	index_watch_looked(u, a->begin_ms);
	tell_changes(u, a);
	answer(a);
	for (struct index_conn *c = u->conns; c; c = c->next) {
		if (!c->ipc)
			continue;
		ipc_conn_pause(c->ipc, 0);
		if (!ipc_conn_pending(c->ipc))
			index_watch_drained(c->ipc, c);
	}
	index_sleep_look(u);
	start_timers(u);
	if (a->e == E_CORRUPT || u->corrupt)
		index_user_corrupt(u);
	for (struct index_work *x = a->waiting, *next; x; x = next) {
		next = x->next;
		x->run(w, x->arg);
		free(x);
	}
	numset_free(&a->boxes);
	numset_free(&a->changed);
	free(a);
}
