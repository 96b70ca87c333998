/* SPDX-License-Identifier: MIT */
#include "auth/last_login.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <event2/event.h>

#include "auth/lru.h"
#include "auth/service.h"
#include "auth/verify.h"
#include "lib/log.h"
#include "lib/mem.h"

struct note {
	char user[ADDR_TEXT_SIZE];
	char app_password[VERIFY_APP_NAME_MAX + 1];
	char ip[NET_ADDR_TEXT];
	char service[TOKEN_SERVICE_MAX + 1];
	int64_t time_s;
};

struct last_login {
	struct auth_service *auth;
	struct lru *waiting; /* by user, and by user and app password */
	struct event *timer;
	size_t writing; /* notes in a worker */
};

struct batch {
	struct worker_job job;
	struct last_login *owner;
	struct note *notes;
	size_t count;
	enum err result;
};

/* ---- in a worker ---- */

static enum err
write_one(struct directory *d, const struct note *n)
{
	enum directory_statement id = n->app_password[0] ? SQL_APP_PASSWORD_NOTE : SQL_LOGIN_NOTE;
	char now[24];
	struct addr a;
	struct db_result r;
	enum err e;

	if (!directory_has(d, id) || addr_parse(str_of(n->user), &a))
		return OK;
	snprintf(now, sizeof(now), "%" PRId64, n->time_s);
	struct directory_args args = {.v = {[ARG_ADDRESS] = a.text,
					      [ARG_LOCAL] = a.local,
					      [ARG_DOMAIN] = a.domain,
					      [ARG_NAME] = n->app_password,
					      [ARG_NOW] = now,
					      [ARG_IP] = n->ip,
					      [ARG_PROTOCOLS] = n->service}};
	e = directory_run(d, id, &args, &r);
	db_result_free(&r);
	return e;
}

static void
batch_run(struct worker_job *job, struct directory *d)
{
	struct batch *b = (struct batch *)job;
	struct db_result r;

	if (!directory_has(d, SQL_LOGIN_NOTE) && !directory_has(d, SQL_APP_PASSWORD_NOTE))
		return;
	b->result = directory_run(d, SQL_BEGIN, NULL, &r);
	db_result_free(&r);
	if (b->result)
		return;
	for (size_t i = 0; i < b->count && !b->result; i++)
		b->result = write_one(d, &b->notes[i]);
	if (!b->result) {
		b->result = directory_run(d, SQL_COMMIT, NULL, &r);
	} else {
		directory_run(d, SQL_ROLLBACK, NULL, &r);
	}
	db_result_free(&r);
}

/* ---- in the loop ---- */

/* A later one of the same stays. */
static void
keep(struct last_login *l, const struct note *note)
{
	char *key = note->app_password[0] ? mem_printf("%s\t%s", note->user, note->app_password)
					  : mem_strdup(note->user);
	struct note *n = lru_put(l->waiting, key);

	if (n->time_s <= note->time_s)
		*n = *note;
	free(key);
}

static void
batch_done(struct worker_job *job)
{
	struct batch *b = (struct batch *)job;
	struct last_login *l = b->owner;

	l->writing = 0;
	for (size_t i = 0; i < b->count && b->result; i++)
		keep(l, &b->notes[i]);
	if (b->result)
		log_event(LOGL_WARN, "auth.last-login late", "kept", log_u64(lru_count(l->waiting)),
			"error", err_word(b->result), NULL);
	else if (service_is_draining(l->auth->run) || lru_count(l->waiting) >= LAST_LOGIN_BATCH)
		last_login_flush(l);
	free(b->notes);
	free(b);
	auth_job_done(l->auth);
}

void
last_login_flush(struct last_login *l)
{
	size_t count = lru_count(l->waiting);
	struct batch *b;
	struct note *n;
	const char *key;

	if (count == 0 || l->writing > 0)
		return;
	b = MEM_NEW(struct batch);
	b->job.run = batch_run;
	b->job.done = batch_done;
	b->owner = l;
	b->notes = mem_alloc(count * sizeof(*b->notes));
	while ((n = lru_oldest(l->waiting, &key)) != NULL) {
		b->notes[b->count++] = *n;
		lru_remove(l->waiting, key);
	}
	l->writing = b->count;
	if (!worker_pool_submit(l->auth->workers, &b->job))
		return;
	l->writing = 0;
	for (size_t i = 0; i < b->count; i++)
		keep(l, &b->notes[i]);
	free(b->notes);
	free(b);
}

void
last_login_note(struct last_login *l, const char *user, const char *app_password, const char *ip,
	const char *service)
{
	struct note n = {.time_s = (int64_t)time(NULL)};

	snprintf(n.user, sizeof(n.user), "%s", user);
	snprintf(n.ip, sizeof(n.ip), "%s", ip);
	snprintf(n.service, sizeof(n.service), "%s", service);
	keep(l, &n);
	if (app_password[0]) {
		snprintf(n.app_password, sizeof(n.app_password), "%s", app_password);
		keep(l, &n);
	}
	if (service_is_draining(l->auth->run) || lru_count(l->waiting) >= LAST_LOGIN_BATCH)
		last_login_flush(l);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	last_login_flush(arg);
}

struct last_login *
last_login_create(struct auth_service *auth)
{
	struct last_login *l = MEM_NEW(struct last_login);
	struct timeval every = {LAST_LOGIN_EVERY_MS / 1000, LAST_LOGIN_EVERY_MS % 1000 * 1000};

	l->auth = auth;
	l->waiting = lru_create(LAST_LOGIN_MAX, sizeof(struct note));
	l->timer = event_new(service_base(auth->run), -1, EV_PERSIST, on_timer, l);
	event_add(l->timer, &every);
	return l;
}

void
last_login_free(struct last_login **lp)
{
	if (!*lp)
		return;
	event_free((*lp)->timer);
	lru_free(&(*lp)->waiting);
	MEM_FREE(*lp);
}

size_t
last_login_pending(const struct last_login *l)
{
	return lru_count(l->waiting) + l->writing;
}
