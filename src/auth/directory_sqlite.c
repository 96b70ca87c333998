/* SPDX-License-Identifier: MIT */
#include "auth/directory_db.h"

#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

static const char schema[] =
#include "src/auth/schema_sqlite.inc"
	;

/* Steps of SQLite's machine between two looks at the clock. */
enum { PROGRESS_STEPS = 10000 };

struct sqlite_handle {
	sqlite3 *db;
	sqlite3_stmt *prepared[SQL_COUNT];
	int timeout_ms;
	int64_t deadline_ms;
};

static void
log_failure(sqlite3 *db, const char *what)
{
	log_event(LOGL_ERROR, "auth.database fail", "backend", "sqlite", "doing", what, "error",
		db ? sqlite3_errmsg(db) : "out of memory", NULL);
}

static int
past_deadline(void *arg)
{
	const struct sqlite_handle *h = arg;

	return io_now_ms() > h->deadline_ms;
}

/* The first number of a query without parameters. */
static enum err
query_number(sqlite3 *db, const char *sql, int *out)
{
	sqlite3_stmt *st = NULL;
	enum err e = E_TEMPFAIL;

	if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK &&
		sqlite3_step(st) == SQLITE_ROW) {
		*out = sqlite3_column_int(st, 0);
		e = OK;
	}
	sqlite3_finalize(st);
	return e;
}

static enum err
schema_create(sqlite3 *db)
{
	int tables;

	/* Only one of several openers creates; the others wait for it here. */
	if (sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
		return E_TEMPFAIL;
	if (query_number(db, "SELECT count(*) FROM sqlite_master", &tables) ||
		(tables == 0 && sqlite3_exec(db, schema, NULL, NULL, NULL) != SQLITE_OK) ||
		sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK) {
		log_failure(db, "create the schema");
		sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
		return E_TEMPFAIL;
	}
	return OK;
}

/* Only one of several openers does it; the others find it done. */
static enum err
schema_upgrade(sqlite3 *db, int *version)
{
	int ok = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK;

	ok = ok && query_number(db, "SELECT max(version) FROM schema_version", version) == OK;
	for (; ok && *version >= 1 && *version < DB_SCHEMA_VERSION; (*version)++)
		ok = sqlite3_exec(db, db_schema_upgrades[*version - 1].sqlite, NULL, NULL, NULL) ==
		     SQLITE_OK;
	if (ok && sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK)
		return OK;
	log_failure(db, "upgrade the schema");
	sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	return E_TEMPFAIL;
}

static enum err
schema_ensure(sqlite3 *db)
{
	int tables, ours = 0, version = 0;
	enum err e = query_number(db, "SELECT count(*) FROM sqlite_master", &tables);

	if (!e && tables == 0)
		e = schema_create(db);
	if (!e)
		e = query_number(db,
			"SELECT count(*) FROM sqlite_master WHERE name = 'schema_version'", &ours);
	/* Without the table it is somebody else's schema, read by replaced queries. */
	if (!e && ours)
		e = query_number(db, "SELECT max(version) FROM schema_version", &version);
	if (!e && ours && version < DB_SCHEMA_VERSION)
		e = schema_upgrade(db, &version);
	if (e)
		log_failure(db, "read the schema");
	if (!e && version > DB_SCHEMA_VERSION) {
		log_event(LOGL_ERROR, "auth.database newer", "backend", "sqlite", "message",
			"the database was written by a newer Roost; install that version", NULL);
		e = E_TEMPFAIL;
	}
	return e;
}

static void
sqlite_close(void *handle)
{
	struct sqlite_handle *h = handle;

	for (size_t i = 0; i < SQL_COUNT; i++)
		sqlite3_finalize(h->prepared[i]);
	sqlite3_close(h->db);
	free(h);
}

static enum err
sqlite_open(const struct auth_settings *s, void **out)
{
	struct sqlite_handle *h = MEM_NEW(struct sqlite_handle);
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;

	h->timeout_ms = s->db_timeout_ms;
	h->deadline_ms = io_now_ms() + h->timeout_ms;
	if (sqlite3_open_v2(s->sqlite_path, &h->db, flags, NULL) != SQLITE_OK) {
		log_event(LOGL_ERROR, "auth.database fail", "backend", "sqlite", "path",
			s->sqlite_path, "error", h->db ? sqlite3_errmsg(h->db) : "out of memory",
			NULL);
		sqlite_close(h);
		return E_TEMPFAIL;
	}
	sqlite3_busy_timeout(h->db, h->timeout_ms);
	sqlite3_progress_handler(h->db, PROGRESS_STEPS, past_deadline, h);
	if (sqlite3_exec(h->db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL) != SQLITE_OK ||
		sqlite3_exec(h->db, "PRAGMA foreign_keys = ON", NULL, NULL, NULL) != SQLITE_OK ||
		sqlite3_exec(h->db, "PRAGMA synchronous = FULL", NULL, NULL, NULL) != SQLITE_OK) {
		log_failure(h->db, "open");
		sqlite_close(h);
		return E_TEMPFAIL;
	}
	if (!s->is_postfixadmin && schema_ensure(h->db)) {
		sqlite_close(h);
		return E_TEMPFAIL;
	}
	*out = h;
	return OK;
}

static enum err
error_of(struct sqlite_handle *h)
{
	switch (sqlite3_extended_errcode(h->db)) {
	case SQLITE_CONSTRAINT_PRIMARYKEY:
	case SQLITE_CONSTRAINT_UNIQUE:
		return E_EXISTS;
	case SQLITE_CONSTRAINT_FOREIGNKEY:
		return E_CONFLICT;
	default:
		log_failure(h->db, "query");
		return E_TEMPFAIL;
	}
}

static enum err
rows_read(struct sqlite_handle *h, sqlite3_stmt *st, struct db_result *out)
{
	int rc;

	db_result_init(out, (size_t)sqlite3_column_count(st));
	for (size_t i = 0; i < out->cols; i++)
		out->names[i] = mem_strdup(sqlite3_column_name(st, (int)i));
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		char **row = db_result_add_row(out);

		for (size_t i = 0; i < out->cols; i++) {
			const char *text = (const char *)sqlite3_column_text(st, (int)i);

			row[i] = text ? mem_strdup(text) : NULL;
		}
	}
	if (rc != SQLITE_DONE)
		return error_of(h);
	out->affected = sqlite3_stmt_readonly(st) ? 0 : (uint64_t)sqlite3_changes64(h->db);
	return OK;
}

static enum err
sqlite_query(void *handle, size_t id, const struct db_statement *st, const char *const *values,
	struct db_result *out)
{
	struct sqlite_handle *h = handle;
	sqlite3_stmt *prepared;
	enum err e = OK;

	h->deadline_ms = io_now_ms() + h->timeout_ms;
	if (!h->prepared[id] && sqlite3_prepare_v3(h->db, st->sql, -1, SQLITE_PREPARE_PERSISTENT,
					&h->prepared[id], NULL) != SQLITE_OK)
		return error_of(h);
	prepared = h->prepared[id];
	if (!prepared)
		return E_TEMPFAIL; /* an empty text */
	for (size_t i = 0; i < st->param_count && !e; i++)
		if (sqlite3_bind_text(prepared, (int)i + 1, values[i], -1, SQLITE_STATIC) !=
			SQLITE_OK)
			e = error_of(h);
	/* The time of the last log-in is not worth a wait for the disk; a password is. */
	if (id == SQL_LOGIN_NOTE)
		sqlite3_exec(h->db, "PRAGMA synchronous = NORMAL", NULL, NULL, NULL);
	if (!e)
		e = rows_read(h, prepared, out);
	sqlite3_reset(prepared);
	sqlite3_clear_bindings(prepared);
	if (id == SQL_LOGIN_NOTE)
		sqlite3_exec(h->db, "PRAGMA synchronous = FULL", NULL, NULL, NULL);
	return e;
}

/* A file does not go away by itself, but one that failed is opened anew. */
static int
sqlite_is_alive(void *handle)
{
	const struct sqlite_handle *h = handle;
	int rc = sqlite3_errcode(h->db);

	return rc == SQLITE_BUSY || rc == SQLITE_INTERRUPT || rc == SQLITE_ERROR ||
	       rc == SQLITE_CONSTRAINT;
}

const struct db_backend db_backend_sqlite = {
	.name = "sqlite",
	.mark = '?',
	.open = sqlite_open,
	.close = sqlite_close,
	.query = sqlite_query,
	.is_alive = sqlite_is_alive,
};
