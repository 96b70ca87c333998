/* SPDX-License-Identifier: MIT */
#include "index/index_service.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "index/core_guest.h"
#include "index/index_proto.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

unsigned
index_user_hash(const char *name)
{
	unsigned h = 2166136261u; /* FNV-1a */

	for (const unsigned char *p = (const unsigned char *)name; *p; p++)
		h = (h ^ *p) * 16777619u;
	return h;
}

void
index_open_free(struct index_open *o)
{
	io_close(&o->fd);
	buf_free(&o->readahead);
	for (char **d = o->default_mailboxes; d && *d; d++)
		free(*d);
	free(o->default_mailboxes);
	free(o->user);
	free(o->maildir);
	free(o->index_dir);
	free(o->host);
	free(o->rules);
	index_warnings_free(&o->warnings);
	index_owner_free(&o->owner);
	free(o->guest);
	free(o->guest_maildir);
	free(o->guest_dir);
	free(o->acl_groups);
	free(o->url);
	free(o->url_user);
	free(o->url_mailbox);
	if (o->url_then)
		index_open_free(o->url_then);
	free(o->url_found.sharer);
	io_close(&o->url_found.fd);
	free(o);
}

static struct index_user_entry **
user_slot(struct index_worker *w, const char *name)
{
	/* The low bits chose the worker. */
	struct index_user_entry **slot =
		&w->users[(index_user_hash(name) >> 16) % INDEX_USER_BUCKETS];

	while (*slot && strcmp((*slot)->name, name) != 0)
		slot = &(*slot)->next;
	return slot;
}

struct index_user_entry *
index_worker_find(struct index_worker *w, const char *name)
{
	return *user_slot(w, name);
}

static void
after_ms(struct event *ev, int64_t ms)
{
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};

	event_add(ev, &tv);
}

static void
count_messages(struct index_user_entry *u, uint64_t now)
{
	atomic_fetch_add(&u->worker->messages, now - u->counted);
	u->counted = now;
}

void
index_user_touch(struct index_user_entry *u)
{
	struct index_quota q;

	if (!u->core || u->away)
		return;
	index_core_quota(u->core, &q);
	count_messages(u, q.messages);
	index_user_quota_look(u, &q);
	index_user_parse(u);
	if (!event_pending(u->background, EV_TIMEOUT, NULL))
		after_ms(u->background, INDEX_BACKGROUND_DELAY_MS);
}

void
index_user_corrupt(struct index_user_entry *u)
{
	u->corrupt = 1;
	if (!u->away)
		after_ms(u->background, 0);
}

enum err
index_user_flush(struct index_user_entry *u)
{
	index_notes_flush(u);
	index_user_warn(u);
	while (index_core_background(u->core))
		;
	return index_core_sync(u->core);
}

/* ---- the end of a user ---- */

static void
user_free(struct index_user_entry *u, int clean)
{
	struct index_user_entry **slot = user_slot(u->worker, u->name);

	*slot = u->next;
	index_user_set_idle(u, 0);
	count_messages(u, 0);
	atomic_fetch_sub(&u->worker->users_open, 1);
	index_watch_end(u);
	index_notes_free(u);
	index_warnings_free(&u->warnings);
	index_core_close(&u->core, clean);
	if (u->corrupt) {
		if (index_core_discard(u->index_dir))
			log_event(LOGL_ERROR, "index.discard failed", "user", u->name, NULL);
		/* What it knew may not hold in the new one. */
		index_sleep_notify(u->worker, u->name, 0);
	}
	event_free(u->background);
	event_free(u->idle);
	event_free(u->news);
	event_free(u->slow);
	event_free(u->parse);
	event_free(u->guests_event);
	index_owner_free(&u->owner);
	event_free(u->fts);
	numset_free(&u->news_boxes);
	free(u->maildir);
	free(u->index_dir);
	free(u->name);
	free(u);
}

static void
on_idle(evutil_socket_t fd, short what, void *arg)
{
	struct index_user_entry *u = arg;

	(void)fd;
	(void)what;
	if (u->conns || index_user_look_for_files(u))
		return;
	if (index_user_is_parsing(u)) {
		after_ms(u->idle, INDEX_IDLE_CLOSE_MS);
		return;
	}
	index_core_clean_tmp(u->core);
	if (index_user_flush(u) == OK)
		user_free(u, 1);
	else
		after_ms(u->idle, INDEX_IDLE_CLOSE_MS);
}

void
index_user_end(struct index_user_entry *u)
{
	int clean;

	index_notes_flush(u);
	index_user_warn(u);
	/* What is pending stays so, and is done when the user is opened next. */
	clean = !u->corrupt && index_core_sync(u->core) == OK;
	user_free(u, clean);
}

static void
tell_rebuilt(struct index_user_entry *u)
{
	struct buf body = {0};

	ipc_put_u64(&body, index_core_generation(u->core));
	for (struct index_conn *c = u->conns; c; c = c->next)
		if (c->ipc && !c->guest)
			ipc_conn_send(c->ipc, INDEX_REBUILT, 0, buf_str(&body), NULL, 0);
	buf_free(&body);
	index_guest_note(u, 0);
}

/* All of a user's clients have to come again; the index is made anew for the first of them. */
static void
disconnect_all(struct index_user_entry *u)
{
	while (u->conns) {
		struct index_conn *c = u->conns;

		u->conns = c->next;
		index_guest_leave(c);
		ipc_conn_free(&c->ipc);
		c->user = NULL;
		index_conn_release(c);
	}
}

enum err
index_user_look_for_files(struct index_user_entry *u)
{
	int same = 0;
	enum err e;

	if (u->corrupt || !index_core_is_gone(u->core))
		return OK;
	log_event(LOGL_WARN, "index.user replaced", "user", u->name, NULL);
	/* What was not written of it yet is of files that are there no more, or are read again. */
	index_notes_free(u);
	e = index_core_rebuild(&u->core, &same);
	index_sleep_notify(u->worker, u->name, 0);
	if (e == OK && same) {
		tell_rebuilt(u);
		index_watch_again(u);
		return OK;
	}
	log_event(e ? LOGL_ERROR : LOGL_WARN, "index.user disconnected", "user", u->name, "error",
		e ? err_word(e) : NULL, NULL);
	disconnect_all(u);
	if (e) {
		user_free(u, 0);
		return e;
	}
	index_watch_again(u);
	index_user_is_left(u);
	return OK;
}

static void
on_background(evutil_socket_t fd, short what, void *arg)
{
	struct index_user_entry *u = arg;
	int64_t begin;

	(void)fd;
	(void)what;
	if (u->corrupt) {
		log_event(LOGL_ERROR, "index.rebuild begin", "user", u->name, NULL);
		disconnect_all(u);
		user_free(u, 0);
		return;
	}
	begin = io_now_ms();
	index_user_warn(u);
	if (index_core_background(u->core)) {
		/* Thousands of renames must not stand in the way of the client that caused them. */
		int64_t pause = (io_now_ms() - begin + 1) * INDEX_BACKGROUND_PAUSE_FACTOR;

		after_ms(u->background, pause < INDEX_BACKGROUND_PAUSE_MAX_MS
						? pause
						: INDEX_BACKGROUND_PAUSE_MAX_MS);
	}
}

/* ---- connections ---- */

void
index_conn_release(struct index_conn *c)
{
	if (--c->refs)
		return;
	numset_free(&c->watch);
	numset_free(&c->missed);
	free(c->acl_groups);
	atomic_fetch_sub(&c->worker->connections, 1);
	free(c);
}

void
index_user_is_left(struct index_user_entry *u)
{
	index_user_set_idle(u, 1);
	after_ms(u->idle, INDEX_IDLE_CLOSE_MS);
}

static void
conn_leave(struct index_conn *c)
{
	struct index_user_entry *u = c->user;
	struct index_conn **at;

	index_guest_leave(c);
	c->user = NULL;
	if (!u)
		return;
	for (at = &u->conns; *at != c; at = &(*at)->next)
		;
	*at = c->next;
	if (u->away)
		return; /* and looked at then */
	if (c->watch_all || !numset_is_empty(&c->watch))
		index_watch_sync(u);
	if (!u->conns)
		index_user_is_left(u);
}

void
index_conn_end(struct index_conn *c)
{
	ipc_conn_free(&c->ipc);
	conn_leave(c);
	index_conn_release(c);
}

static void
on_close(struct ipc_conn *ipc, enum err e, void *arg)
{
	struct index_conn *c = arg;

	(void)ipc;
	if (e != E_CLOSED)
		log_event(LOGL_WARN, "index.client lost", "user", c->user ? c->user->name : NULL,
			"reason", err_word(e), NULL);
	c->ipc = NULL;
	conn_leave(c);
	index_conn_release(c);
}

static void
on_message(struct ipc_conn *ipc, struct ipc_msg *m, void *arg)
{
	struct index_conn *c = arg;
	enum err e;

	(void)ipc;
	if (!c->user)
		return; /* its OPEN failed, or it is being closed */
	atomic_fetch_add(&c->worker->requests, 1);
	c->refs++; /* a request may find that all clients have to come again */
	c->user->request_ms = io_now_ms();
	e = index_request_run(c, m);
	if (!c->user) {
		index_conn_release(c);
		return;
	}
	c->refs--;
	if (e == E_PROTO) {
		log_event(LOGL_WARN, "index.client bad", "user", c->user->name, "frame",
			log_u64(m->type), NULL);
		index_conn_end(c);
		return;
	}
	if (e == E_CORRUPT)
		index_user_corrupt(c->user);
}

static const struct ipc_conn_handler conn_handler = {on_message, on_close};

/* ---- opening ---- */

static struct index_core_options
core_options(const struct index_open *o)
{
	return (struct index_core_options){
		.maildir = o->maildir,
		.index_dir = o->index_dir,
		.host = o->host,
		.default_mailboxes = (const char *const *)o->default_mailboxes,
		.map_size = o->map_size,
		.max_message_size = o->max_message_size,
		.limits = o->limits,
		.fsync = o->fsync,
		.expunge_keep_s = o->expunge_keep_s,
	};
}

enum err
index_open_core(const struct index_open *o, struct index_core **out)
{
	struct index_core_options options = core_options(o);

	return index_core_open(&options, out);
}

static struct index_user_entry *
user_make(struct index_worker *w, const struct index_open *o, struct index_core *core)
{
	struct index_user_entry *u = MEM_NEW(struct index_user_entry);

	u->core = core;
	u->worker = w;
	u->refreshed_ms = io_now_ms();
	u->name = mem_strdup(o->user);
	u->maildir = mem_strdup(o->maildir);
	u->index_dir = mem_strdup(o->index_dir);
	u->watches_max = o->watches_max;
	u->news_delay_ms = INDEX_NEWS_DELAY_MS;
	u->background = evtimer_new(w->base, on_background, u);
	u->idle = evtimer_new(w->base, on_idle, u);
	u->news = evtimer_new(w->base, index_watch_news, u);
	u->slow = evtimer_new(w->base, index_watch_slow_look, u);
	u->parse = evtimer_new(w->base, index_user_parse_event, u);
	u->guests_event = evtimer_new(w->base, index_guest_event, u);
	index_owner_copy(&u->owner, &o->owner);
	u->fts = evtimer_new(w->base, index_fts_tell, u);
	*user_slot(w, u->name) = u;
	atomic_fetch_add(&w->users_open, 1);
	index_core_set_watcher(u->core, index_watch_notify, u);
	index_core_quota(u->core, &u->quota_seen);
	index_watch_sync(u);
	index_sleep_look(u);
	index_shared_learn(u);
	return u;
}

/* Of one who is open already. E_NOTFOUND: not any more. */
static enum err
user_get(struct index_worker *w, const struct index_open *o, struct index_user_entry **out)
{
	struct index_user_entry *u = index_worker_find(w, o->user);
	enum err e;

	if (!u || index_user_look_for_files(u))
		return E_NOTFOUND;
	*out = u;
	if (u->corrupt)
		return E_TEMPFAIL;
	/* Others bring what the user's own ticket said some time ago. */
	if (!o->guest && !o->url) {
		index_core_set_limits(u->core, &o->limits);
		index_owner_copy(&u->owner, &o->owner);
	}
	/* Every session and delivery opens; who selects a mailbox has that one looked at. */
	if (io_now_ms() - u->refreshed_ms < INDEX_REFRESH_AGAIN_MS) {
		e = index_core_refresh_tree(u->core);
	} else {
		u->refreshed_ms = io_now_ms();
		if (index_away_look(u, NULL, NULL, 0))
			return OK;
		e = index_core_refresh(u->core, 0);
	}
	if (e != E_CORRUPT)
		return e == E_NOTFOUND ? E_TEMPFAIL : e;
	log_event(LOGL_ERROR, "index.rebuild begin", "user", o->user, NULL);
	u->corrupt = 1;
	disconnect_all(u);
	user_free(u, 0);
	return E_NOTFOUND;
}

static void
answer_opened(struct index_conn *c, const struct index_open *o)
{
	struct buf body = {0};

	ipc_put_cstr(&body, o->user);
	if (c->guest) {
		ipc_put_cstr(&body, "");
		ipc_put_cstr(&body, index_guest_dir(c->guest));
		ipc_put_u64(&body, core_guest_generation(index_guest_core(c->guest)));
	} else {
		ipc_put_cstr(&body, o->maildir);
		ipc_put_cstr(&body, o->index_dir);
		ipc_put_u64(&body, index_core_generation(c->user->core));
	}
	index_answer_send(c, INDEX_OPENED, o->request, &body);
}

/* What the settings say now, for a reload may have changed them since the user was opened. */
static void
take_settings(struct index_user_entry *u, struct index_open *o)
{
	struct index_core_options options = core_options(o);

	index_core_set_options(u->core, &options);
	u->watches_max = o->watches_max;
	index_warnings_free(&u->warnings);
	u->warnings = o->warnings;
	o->warnings = NULL;
}

/* u: NULL, with the error that is told. */
static void
conn_begin(struct index_worker *w, struct index_open *o, enum err e, struct index_user_entry *u)
{
	struct index_conn *c;

	if (o->url_then) {
		index_url_look(w, o, e, u);
		return;
	}
	c = MEM_NEW(struct index_conn);
	c->worker = w;
	c->refs = 1;
	c->acl_groups = mem_strdup(o->acl_groups);
	c->ipc = ipc_conn_create(w->base, o->fd, INDEX_PROTO_BODY_MAX, &conn_handler, c);
	ipc_conn_on_drained(c->ipc, index_watch_drained);
	o->fd = -1;
	atomic_fetch_add(&w->connections, 1);
	if (!u) {
		index_answer_error(c, o->request, e == E_CORRUPT ? E_TEMPFAIL : e, "open");
	} else {
		take_settings(u, o);
		c->user = u;
		c->next = u->conns;
		u->conns = c;
		index_user_set_idle(u, 0);
		event_del(u->idle);
		index_user_touch(u);
		e = o->guest ? index_guest_enter(c, o) : OK;
		if (e) {
			index_answer_error(c, o->request, e == E_CORRUPT ? E_TEMPFAIL : e, "guest");
			conn_leave(c);
		} else if (o->url) {
			index_url_answer(c, o);
			conn_leave(c);
		} else {
			answer_opened(c, o);
		}
		if (c->user && o->readahead.len)
			ipc_conn_push_input(c->ipc, buf_str(&o->readahead));
	}
	index_open_free(o);
}

void
index_worker_opened(
	struct index_worker *w, struct index_open *o, enum err e, struct index_core *core)
{
	conn_begin(w, o, e, e ? NULL : user_make(w, o, core));
}

void
index_worker_open(void *worker, void *arg)
{
	struct index_worker *w = worker;
	struct index_open *o = arg;
	struct index_opening *op = index_opening_find(w, o->user);
	struct index_user_entry *u = index_worker_find(w, o->user);
	enum err e = OK;

	if (op) {
		index_opening_wait(op, index_worker_open, o);
		return;
	}
	if (!u || !u->away) {
		u = NULL;
		e = w->draining ? E_TEMPFAIL : user_get(w, o, &u);
		if (e == E_NOTFOUND) {
			index_users_make_room(w);
			index_opening_begin(w, o);
			return;
		}
	}
	if (u && u->away) {
		index_away_wait(u, index_worker_open, o);
		return;
	}
	conn_begin(w, o, e, e ? NULL : u);
}

/* ---- the thread ---- */

static void *
worker_thread(void *arg)
{
	struct index_worker *w = arg;

	event_base_dispatch(w->base);
	index_sync_stop(w);
	index_sleep_close(w);
	index_queue_fini(&w->queue);
	event_base_free(w->base);
	return NULL;
}

enum err
index_worker_start(struct index_worker *w, struct index_service_state *service)
{
	sigset_t all, old;
	enum err e = OK;

	w->service = service;
	w->base = event_base_new();
	index_queue_init(&w->queue, w->base, w);
	/* Signals are the main thread's. */
	sigfillset(&all);
	/* Of a thread's own faults: core_damage.c. */
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGSEGV);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if (e == OK)
		e = index_sync_start(w);
	if (e == OK)
		e = err_from_errno(pthread_create(&w->thread, NULL, worker_thread, w));
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return e;
}

/* What is not done by then stays pending, in an index that is all on disk. */
static int
finish_by(struct index_user_entry *u, int64_t deadline_ms)
{
	index_notes_flush(u);
	while (io_now_ms() < deadline_ms && index_core_background(u->core))
		;
	return index_core_sync(u->core) == OK;
}

static void
close_all(struct index_worker *w)
{
	int64_t deadline = io_now_ms() + INDEX_DRAIN_RENAMES_MS;
	struct index_user_entry *next;

	for (size_t i = 0; i < INDEX_USER_BUCKETS; i++) {
		for (struct index_user_entry *u = w->users[i]; u; u = next) {
			int clean = !u->corrupt && finish_by(u, deadline);

			next = u->next;
			disconnect_all(u);
			user_free(u, clean);
		}
	}
	event_base_loopbreak(w->base);
}

static void
drain_again(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	index_worker_drain(arg, NULL);
}

void
index_worker_drain(void *worker, void *unused)
{
	struct index_worker *w = worker;
	struct timeval soon = {0, 10 * 1000};

	(void)unused;
	w->draining = 1;
	/* What was promised is answered first, and what is half open is nobody's to close. */
	if (index_sync_is_idle(w) && !w->openings && !w->away_count)
		close_all(w);
	else
		event_base_once(w->base, -1, EV_TIMEOUT, drain_again, w, &soon);
}
