/* SPDX-License-Identifier: MIT */
#include "auth/directory.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "auth/directory_db.h"
#include "auth/directory_sql.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

/* How long a database that was found dead is left alone. */
enum { RETRY_MS = 1000 };

struct directory_health {
	pthread_mutex_t lock;
	int down;
	int64_t retry_ms; /* nobody tries before */
};

struct directory {
	struct auth_settings *settings;
	struct directory_health *health;
	const struct db_backend *backend;
	void *handle;
	int in_transaction;
	struct db_statement statements[SQL_COUNT];
};

/* ---- health ---- */

struct directory_health *
directory_health_create(void)
{
	struct directory_health *h = MEM_NEW(struct directory_health);

	pthread_mutex_init(&h->lock, NULL);
	return h;
}

void
directory_health_free(struct directory_health **h)
{
	if (!*h)
		return;
	pthread_mutex_destroy(&(*h)->lock);
	MEM_FREE(*h);
}

int
directory_health_is_down(struct directory_health *h)
{
	int down;

	pthread_mutex_lock(&h->lock);
	down = h->down;
	pthread_mutex_unlock(&h->lock);
	return down;
}

/* Whether to try now. While the database is down one caller a second gets a yes. */
static int
health_may_try(struct directory_health *h)
{
	int64_t now = io_now_ms();
	int yes = 1;

	pthread_mutex_lock(&h->lock);
	if (h->down && now < h->retry_ms)
		yes = 0;
	else if (h->down)
		h->retry_ms = now + RETRY_MS;
	pthread_mutex_unlock(&h->lock);
	return yes;
}

static void
health_set(struct directory_health *h, int down)
{
	int changed;

	pthread_mutex_lock(&h->lock);
	changed = h->down != down;
	h->down = down;
	if (down)
		h->retry_ms = io_now_ms() + RETRY_MS;
	pthread_mutex_unlock(&h->lock);
	if (changed)
		log_event(down ? LOGL_ERROR : LOGL_INFO,
			down ? "auth.database down" : "auth.database up", NULL);
}

/* ---- connection ---- */

struct directory *
directory_create(struct auth_settings *settings, struct directory_health *health)
{
	struct directory *d = MEM_NEW(struct directory);

	d->settings = auth_settings_ref(settings);
	d->health = health;
	d->backend = settings->use_postgresql ? &db_backend_postgresql : &db_backend_sqlite;
	for (size_t i = 0; i < SQL_COUNT; i++) {
		const char *sql = directory_sql_text(settings, (enum directory_statement)i);

		/* A query that does not compile was reported at the start; it has no sql. */
		if (*sql)
			db_statement_compile(sql, d->backend->mark, &d->statements[i], NULL);
	}
	return d;
}

void
directory_disconnect(struct directory *d)
{
	if (d->handle)
		d->backend->close(d->handle);
	d->handle = NULL;
}

void
directory_free(struct directory **dp)
{
	struct directory *d = *dp;

	*dp = NULL;
	if (!d)
		return;
	directory_disconnect(d);
	for (size_t i = 0; i < SQL_COUNT; i++)
		db_statement_free(&d->statements[i]);
	auth_settings_unref(&d->settings);
	free(d);
}

const struct auth_settings *
directory_settings(const struct directory *d)
{
	return d->settings;
}

enum err
directory_check_queries(const struct auth_settings *s, char **why)
{
	for (const struct directory_replaceable *r = directory_replaceable; r->setting; r++) {
		struct db_statement st;
		char *reason = NULL;
		enum err e = db_statement_compile(directory_sql_text(s, r->id), '?', &st, &reason);

		db_statement_free(&st);
		if (e) {
			*why = mem_printf(
				"setting '%s': %s", r->setting, reason ? reason : "too long");
			free(reason);
			return E_PARSE;
		}
	}
	return OK;
}

int
directory_has(const struct directory *d, enum directory_statement id)
{
	return d->statements[id].sql != NULL;
}

static enum err
connect_now(struct directory *d)
{
	enum err e;

	if (d->handle)
		return OK;
	if (!health_may_try(d->health))
		return E_TEMPFAIL;
	e = d->backend->open(d->settings, &d->handle);
	if (e)
		d->handle = NULL;
	health_set(d->health, e != OK);
	return e ? E_TEMPFAIL : OK;
}

static enum err
run_once(struct directory *d, enum directory_statement id, const struct directory_args *args,
	struct db_result *out)
{
	const struct db_statement *st = &d->statements[id];
	const char *values[DB_PARAMS_MAX];
	enum err e = st->sql ? connect_now(d) : E_TEMPFAIL;

	if (e)
		return e;
	for (size_t i = 0; i < st->param_count; i++)
		values[i] = args ? args->v[st->params[i]] : NULL;
	e = d->backend->query(d->handle, (size_t)id, st, values, out);
	if (e != E_TEMPFAIL)
		return e;
	db_result_free(out);
	if (!d->backend->is_alive(d->handle))
		directory_disconnect(d);
	return E_TEMPFAIL;
}

/* What may safely be asked twice: it changes nothing. */
static int
is_question(enum directory_statement id)
{
	return id <= SQL_ALIAS_FIND || id == SQL_BEGIN || id == SQL_USER_LIST ||
	       id == SQL_USER_SHOW || id == SQL_APP_PASSWORD_LIST || id == SQL_DOMAIN_LIST ||
	       id == SQL_ALIAS_LIST || id == SQL_DOMAIN_ALIAS_LIST;
}

enum err
directory_run(struct directory *d, enum directory_statement id, const struct directory_args *args,
	struct db_result *out)
{
	int had_connection = d->handle != NULL, in_transaction = d->in_transaction;
	int64_t start_ms = io_now_ms();
	enum err e;

	memset(out, 0, sizeof(*out));
	if (in_transaction && !d->handle)
		e = E_TEMPFAIL;
	else
		e = run_once(d, id, args, out);
	/*
	 * A connection that lay idle may have died with a server that is back by now. Not when the
	 * answer took long: then it would take db_timeout twice.
	 */
	if (e == E_TEMPFAIL && had_connection && !d->handle && !in_transaction && is_question(id) &&
		io_now_ms() - start_ms < d->settings->db_timeout_ms / 2)
		e = run_once(d, id, args, out);
	if (id == SQL_BEGIN)
		d->in_transaction = e == OK;
	else if (id == SQL_COMMIT || id == SQL_ROLLBACK)
		d->in_transaction = 0;
	return e;
}

/* ---- results ---- */

void
db_result_init(struct db_result *r, size_t cols)
{
	memset(r, 0, sizeof(*r));
	r->cols = cols;
	r->names = mem_zalloc((cols ? cols : 1) * sizeof(char *));
}

char **
db_result_add_row(struct db_result *r)
{
	char **row;

	/* Room for a power of two of rows. */
	if ((r->rows & (r->rows - 1)) == 0)
		r->cells = mem_realloc(r->cells,
			(r->rows ? r->rows * 2 : 1) * (r->cols ? r->cols : 1), sizeof(char *));
	row = r->cells + r->rows * r->cols;
	memset(row, 0, r->cols * sizeof(char *));
	r->rows++;
	return row;
}

void
db_result_free(struct db_result *r)
{
	for (size_t i = 0; i < r->cols; i++)
		free(r->names[i]);
	for (size_t i = 0; i < r->rows * r->cols; i++)
		free(r->cells[i]);
	free(r->names);
	free(r->cells);
	memset(r, 0, sizeof(*r));
}

const char *
db_result_get(const struct db_result *r, size_t row, const char *column)
{
	for (size_t i = 0; i < r->cols; i++)
		if (row < r->rows && strcmp(r->names[i], column) == 0)
			return r->cells[row * r->cols + i];
	return NULL;
}
