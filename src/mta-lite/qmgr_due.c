/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/qmgr.h"

#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "lib/io.h"

/* Deferred messages: the clock, and the directory behind what is known of it. */

enum {
	DUE_AT_ONCE = 100, /* taken up in one turn of the loop */
	NAMES_AT_ONCE = 1000, /* read in one turn of the loop */
	REREAD_MS = 1000, /* between two readings, when what was found did not help */
};

/* Deferred mail never takes all the room: there is some for what comes in. */
int
qmgr_has_room(const struct qmgr *q)
{
	size_t limit = (size_t)service_conf(q->run)->qmgr_message_active_limit;

	return q->active < limit - limit / 5;
}

/* ---- the directory ---- */

/* Of what waits only its name and the time are read: a restart is quick, whatever is queued. */
static void
add_file(struct qmgr *q, DIR *d, const char *id)
{
	struct stat st;

	if (fstatat(dirfd(d), id, &st, AT_SYMLINK_NOFOLLOW) == 0)
		deferred_add(q->deferred, id, st.st_mtime > 0 ? (int64_t)st.st_mtime : 1);
}

void
qmgr_deferred_count(struct qmgr *q)
{
	DIR *d = qmgr_dir_open(q, QUEUE_DEFERRED);
	const char *id;

	q->deferred_unread = d == NULL;
	q->counts[QUEUE_DEFERRED] = 0; /* with what was put off before this look */
	while (d && (id = qmgr_dir_next(d)) != NULL) {
		add_file(q, d, id);
		q->counts[QUEUE_DEFERRED]++;
	}
	qmgr_dir_close(&d);
}

size_t
qmgr_hurry(struct qmgr *q)
{
	DIR *d = qmgr_dir_open(q, QUEUE_DEFERRED);
	const char *id;
	size_t n = 0;

	if (d)
		deferred_hurry_anew(q->deferred);
	for (; (id = qmgr_dir_next(d)) != NULL; n++)
		deferred_add(q->deferred, id, DEFERRED_NOW);
	qmgr_dir_close(&d);
	return n;
}

static void
reread_begin(struct qmgr *q)
{
	q->reread_ms = io_now_ms();
	q->rereading = qmgr_dir_open(q, QUEUE_DEFERRED);
	if (q->rereading)
		deferred_reread(q->deferred);
	else
		deferred_reread_at(q->deferred, (int64_t)time(NULL) + QMGR_FAULT_AGAIN_S);
}

static void
reread_some(struct qmgr *q)
{
	const char *id = NULL;
	unsigned n;

	for (n = 0; n < NAMES_AT_ONCE && (id = qmgr_dir_next(q->rereading)) != NULL; n++)
		add_file(q, q->rereading, id);
	if (id == NULL)
		qmgr_dir_close(&q->rereading);
}

/* ---- the clock ---- */

/*
 * The entry may be out of date: the file's word counts. No scan looks here again: what cannot be
 * read now stays on the list.
 */
static void
take_due(struct qmgr *q, const char *id, int64_t when, int64_t now)
{
	int64_t next;
	enum err e = queue_store_next_try(service_conf(q->run), id, &next);

	if (e == E_NOTFOUND)
		return;
	if (e == OK && (when == DEFERRED_NOW || next <= now))
		e = qmgr_take_in(q, QUEUE_DEFERRED, id, when == DEFERRED_NOW);
	if (e)
		deferred_add(q->deferred, id, now + QMGR_FAULT_AGAIN_S);
}

void
qmgr_due_wait(struct qmgr *q)
{
	int64_t when, left_ms = 0, now = (int64_t)time(NULL);
	struct timeval tv;

	if (!qmgr_has_room(q) || (!q->rereading && !deferred_first(q->deferred, &when)))
		return;
	if (!q->rereading) {
		left_ms = when > now ? (when - now) * 1000 : 0;
		if (left_ms < REREAD_MS && deferred_wants_directory(q->deferred))
			left_ms = q->reread_ms + REREAD_MS - io_now_ms();
	}
	if (left_ms < 0)
		left_ms = 0;
	tv = (struct timeval){(time_t)(left_ms / 1000), (suseconds_t)(left_ms % 1000 * 1000)};
	event_add(q->due_timer, &tv);
}

static void
on_due(evutil_socket_t fd, short what, void *arg)
{
	struct qmgr *q = arg;
	int64_t when, now = (int64_t)time(NULL);
	char id[QUEUE_ID_SIZE];
	unsigned n = 0;

	(void)fd;
	(void)what;
	if (service_is_draining(q->run))
		return;
	while (qmgr_has_room(q) && deferred_first(q->deferred, &when) && when <= now &&
		n++ < DUE_AT_ONCE && deferred_take(q->deferred, id, &when))
		take_due(q, id, when, now);
	if (q->rereading)
		reread_some(q);
	else if (deferred_wants_directory(q->deferred) && deferred_first(q->deferred, &when) &&
		 when <= now && io_now_ms() - q->reread_ms >= REREAD_MS)
		reread_begin(q);
	if (q->incoming_left && q->active < (size_t)service_conf(q->run)->qmgr_message_active_limit)
		qmgr_scan_incoming(q);
	qmgr_due_wait(q);
	qmgr_pump(q);
}

void
qmgr_look_soon(struct qmgr *q)
{
	if (q->incoming_left)
		event_active(q->due_timer, EV_TIMEOUT, 0);
	else
		qmgr_due_wait(q);
}

void
qmgr_due_open(struct qmgr *q)
{
	q->deferred = deferred_create();
	q->due_timer = evtimer_new(service_base(q->run), on_due, q);
}
