/* SPDX-License-Identifier: MIT */
#include "auth/directory_watch.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "auth/addr.h"
#include "auth/directory_pg_connect.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

enum {
	RETRY_MS = 1000, /* between two tries to connect */
	PING_MS = 15000, /* a connection this long silent is asked whether it lives */
	PING_SOON_MS = 1000, /* our own schema may be about to be made */
};

/*
 * The one on "alias" came last, in our schema as in the script for PostfixAdmin: where it is, there
 * are all. It is asked again with each ping, since who can make triggers can switch them off.
 */
#define TRIGGERS                                                                                   \
	"SELECT count(*) FROM pg_catalog.pg_trigger WHERE tgname = 'roost_directory_changed' AND " \
	"tgrelid = to_regclass('alias') AND tgenabled IN ('O', 'A')"

struct directory_watch {
	pthread_t thread;
	int started;
	int wake_fd;
	struct cache *cache;
	struct answers *answers;
	pthread_mutex_t lock;
	/* Under the lock. */
	struct auth_settings *settings;
	int stopping, changed, up, complete;
};

/* ---- between the threads ---- */

/* Whether the thread has to leave what it does. */
static int
is_called(struct directory_watch *w)
{
	int yes;

	pthread_mutex_lock(&w->lock);
	yes = w->stopping || w->changed;
	pthread_mutex_unlock(&w->lock);
	return yes;
}

static void
set_up(struct directory_watch *w, int up)
{
	pthread_mutex_lock(&w->lock);
	w->up = up;
	w->complete = w->complete && up;
	pthread_mutex_unlock(&w->lock);
}

/*
 * Settings that were changed meanwhile may mean other tables. What was remembered before some time
 * without triggers may be wrong after it.
 */
static void
set_complete(struct directory_watch *w, int complete)
{
	if (complete && !directory_watch_is_complete(w))
		answers_forget(w->answers);
	pthread_mutex_lock(&w->lock);
	w->complete = complete && !w->changed && w->settings->is_watchable;
	pthread_mutex_unlock(&w->lock);
}

static void
wake(struct directory_watch *w)
{
	uint64_t one = 1;

	/* A full counter wakes as well. */
	if (write(w->wake_fd, &one, sizeof(one)) < 0)
		return;
}

/* Waits for fd (-1: none) and for a call; timeout_ms -1: no end. 1: fd has something. */
static int
wait_for(struct directory_watch *w, int fd, int timeout_ms)
{
	struct pollfd p[2] = {{.fd = w->wake_fd, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
	uint64_t count;
	int n = poll(p, 2, timeout_ms);

	if (n > 0 && p[0].revents && read(w->wake_fd, &count, sizeof(count)) < 0)
		return 0;
	return n > 0 && p[1].revents != 0;
}

/* ---- one connection ---- */

struct listening {
	PGconn *conn;
	int pending; /* a statement has no answer yet */
	int64_t deadline_ms; /* of that answer */
	int heard; /* LISTEN was answered */
	int has_triggers;
};

static int
ask(struct listening *l, const char *sql, int timeout_ms)
{
	l->pending = 1;
	l->deadline_ms = io_now_ms() + timeout_ms;
	return PQsendQuery(l->conn, sql);
}

static void
on_notice(struct directory_watch *w, const char *payload)
{
	struct addr a;

	answers_forget(w->answers);
	if (strcmp(payload, "alias") != 0)
		cache_flush(w->cache, addr_parse(str_of(payload), &a) ? NULL : a.text);
}

/* 0: it failed. */
static int
on_result(struct listening *l, const PGresult *r)
{
	switch (PQresultStatus(r)) {
	case PGRES_COMMAND_OK: /* LISTEN */
		return 1;
	case PGRES_TUPLES_OK:
		l->has_triggers = PQntuples(r) > 0 && strcmp(PQgetvalue(r, 0, 0), "0") != 0;
		return 1;
	default:
		return 0;
	}
}

/* Reads what has come. 0: the connection is of no use any more. */
static int
take(struct directory_watch *w, struct listening *l)
{
	int was_pending = l->pending;
	PGnotify *n;

	if (!PQconsumeInput(l->conn))
		return 0;
	while (l->pending && !PQisBusy(l->conn)) {
		PGresult *r = PQgetResult(l->conn);
		int ok = !r || on_result(l, r);

		l->pending = r != NULL;
		PQclear(r);
		if (!ok)
			return 0;
	}
	if (!l->pending && !l->heard) {
		l->heard = 1;
		answers_forget(w->answers);
		cache_flush(w->cache, NULL);
		set_up(w, 1);
		log_event(LOGL_INFO, "auth.watch up", NULL);
	}
	while ((n = PQnotifies(l->conn)) != NULL) {
		on_notice(w, n->extra);
		PQfreemem(n);
	}
	if (was_pending && !l->pending)
		set_complete(w, l->has_triggers);
	return PQstatus(l->conn) == CONNECTION_OK;
}

/* Listens until it is called or the connection is lost. 1: it did listen. */
static int
listen_on(struct directory_watch *w, PGconn *conn, const struct auth_settings *s)
{
	struct listening l = {.conn = conn};
	int is_ours = s->is_watchable && !s->is_postfixadmin;
	int ok = ask(&l, "LISTEN roost_directory; " TRIGGERS, s->db_timeout_ms);

	while (ok && !is_called(w)) {
		int ping_ms = is_ours && !l.has_triggers ? PING_SOON_MS : PING_MS;
		int64_t left_ms = l.pending ? l.deadline_ms - io_now_ms() : ping_ms;

		if (wait_for(w, PQsocket(conn), left_ms > 0 ? (int)left_ms : 0))
			ok = take(w, &l);
		else if (l.pending)
			ok = io_now_ms() < l.deadline_ms;
		else if (!is_called(w))
			ok = ask(&l, TRIGGERS, s->db_timeout_ms);
	}
	set_up(w, 0);
	return l.heard;
}

/* ---- the thread ---- */

/* The settings to work with; NULL: the end. */
static struct auth_settings *
settings_take(struct directory_watch *w)
{
	struct auth_settings *s = NULL;

	pthread_mutex_lock(&w->lock);
	w->changed = 0;
	if (!w->stopping)
		s = auth_settings_ref(w->settings);
	pthread_mutex_unlock(&w->lock);
	return s;
}

static void *
watch_main(void *arg)
{
	struct directory_watch *w = arg;
	struct auth_settings *s;
	int complained = 0; /* an outage is one line */

	while ((s = settings_take(w)) != NULL) {
		PGconn *conn = NULL;
		int listened = 0;

		if (!s->use_postgresql) {
			wait_for(w, -1, -1);
		} else {
			if (!pg_connect(s->postgresql, s->db_timeout_ms,
				    complained ? LOGL_DEBUG : LOGL_WARN, &conn))
				listened = listen_on(w, conn, s);
			if (listened)
				complained = 0;
			if (!complained && !is_called(w)) {
				log_event(LOGL_WARN, "auth.watch down", "message",
					"changes made in the database itself count after auth_cache_ttl",
					NULL);
				complained = 1;
			}
			if (conn)
				PQfinish(conn);
			if (!is_called(w))
				wait_for(w, -1, RETRY_MS);
		}
		auth_settings_unref(&s);
	}
	return NULL;
}

struct directory_watch *
directory_watch_create(struct auth_settings *settings, struct cache *cache, struct answers *answers)
{
	struct directory_watch *w = MEM_NEW(struct directory_watch);
	sigset_t all, old;

	pthread_mutex_init(&w->lock, NULL);
	w->settings = auth_settings_ref(settings);
	w->cache = cache;
	w->answers = answers;
	w->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ROOST_ASSERT(w->wake_fd >= 0);
	/* Signals are the loop's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	w->started = pthread_create(&w->thread, NULL, watch_main, w) == 0;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!w->started)
		log_event(LOGL_ERROR, "auth.watch fail", NULL);
	return w;
}

void
directory_watch_free(struct directory_watch **wp)
{
	struct directory_watch *w = *wp;

	*wp = NULL;
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->stopping = 1;
	pthread_mutex_unlock(&w->lock);
	wake(w);
	if (w->started)
		pthread_join(w->thread, NULL);
	io_close(&w->wake_fd);
	auth_settings_unref(&w->settings);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

void
directory_watch_set_settings(struct directory_watch *w, struct auth_settings *settings)
{
	pthread_mutex_lock(&w->lock);
	auth_settings_unref(&w->settings);
	w->settings = auth_settings_ref(settings);
	w->changed = 1;
	w->complete = 0;
	pthread_mutex_unlock(&w->lock);
	wake(w);
}

int
directory_watch_is_up(struct directory_watch *w)
{
	int up;

	pthread_mutex_lock(&w->lock);
	up = w->up;
	pthread_mutex_unlock(&w->lock);
	return up;
}

int
directory_watch_is_complete(struct directory_watch *w)
{
	int complete;

	pthread_mutex_lock(&w->lock);
	complete = w->complete;
	pthread_mutex_unlock(&w->lock);
	return complete;
}
