/* SPDX-License-Identifier: MIT */
#include "auth/directory_db.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include "auth/directory_pg_connect.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

static const char schema[] =
#include "src/auth/schema_pg.inc"
#include "src/auth/schema_pg_watch.inc"
	;

/* Any number that no other program is likely to lock: two servers may start on an empty database.
 */
#define SCHEMA_LOCK "SELECT pg_advisory_xact_lock(7260553)"

struct pg_handle {
	PGconn *conn;
	int timeout_ms;
	int broken; /* in the middle of an exchange: only good for closing */
	unsigned char prepared[SQL_COUNT];
};

/* The message's first line: the others may quote values. */
static void
log_failure(const struct pg_handle *h, const PGresult *r, const char *what)
{
	const char *text = r ? PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY) : NULL;
	struct str line = str_of(text ? text : PQerrorMessage(h->conn));

	line = str_split(&line, '\n');
	log_event(LOGL_ERROR, "auth.database fail", "backend", "postgresql", "doing", what, "error",
		log_str(line), NULL);
}

/* Waits for the socket until the deadline. */
static enum err
wait_for(struct pg_handle *h, short events, int64_t deadline_ms)
{
	for (;;) {
		struct pollfd p = {.fd = PQsocket(h->conn), .events = events};
		int64_t left = deadline_ms - io_now_ms();
		int n;

		if (p.fd < 0)
			return E_CLOSED;
		if (left <= 0)
			return E_TIMEOUT;
		n = poll(&p, 1, (int)left);
		if (n > 0)
			return OK;
	}
}

static enum err
send_all(struct pg_handle *h, int64_t deadline_ms)
{
	int n;

	while ((n = PQflush(h->conn)) == 1) {
		enum err e = wait_for(h, POLLIN | POLLOUT, deadline_ms);

		if (e)
			return e;
		if (!PQconsumeInput(h->conn))
			return E_CLOSED;
	}
	return n == 0 ? OK : E_CLOSED;
}

/*
 * Waits for the result of what was sent; of several (a script) the first bad or else the last. A
 * connection that takes too long or breaks is left in the middle and must be closed.
 */
static enum err
take_result(struct pg_handle *h, int64_t deadline_ms, PGresult **out)
{
	enum err e = send_all(h, deadline_ms);
	PGresult *last = NULL, *r;

	for (;;) {
		while (!e && PQisBusy(h->conn)) {
			e = wait_for(h, POLLIN, deadline_ms);
			if (!e && !PQconsumeInput(h->conn))
				e = E_CLOSED;
		}
		if (e)
			break;
		r = PQgetResult(h->conn);
		if (!r)
			break;
		if (last && PQresultStatus(last) == PGRES_FATAL_ERROR) {
			PQclear(r);
			continue;
		}
		PQclear(last);
		last = r;
	}
	if (e) {
		h->broken = 1;
		log_event(LOGL_ERROR, "auth.database fail", "backend", "postgresql", "doing",
			"query", "error", err_word(e), NULL);
		PQclear(last);
		return E_TEMPFAIL;
	}
	*out = last;
	return last ? OK : E_TEMPFAIL;
}

static enum err
result_check(const struct pg_handle *h, const PGresult *r, const char *what)
{
	const char *state;

	switch (PQresultStatus(r)) {
	case PGRES_COMMAND_OK:
	case PGRES_TUPLES_OK:
		return OK;
	default:
		break;
	}
	state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
	if (state && strcmp(state, "23505") == 0)
		return E_EXISTS;
	if (state && strcmp(state, "23503") == 0)
		return E_CONFLICT;
	log_failure(h, r, what);
	return E_TEMPFAIL;
}

/* Runs SQL without parameters, several statements being one transaction. number: NULL, or gets
 * the first cell. */
static enum err
script_run(struct pg_handle *h, const char *sql, const char *what, int *number)
{
	int64_t deadline_ms = io_now_ms() + h->timeout_ms;
	PGresult *r = NULL;
	enum err e;

	if (!PQsendQuery(h->conn, sql)) {
		log_failure(h, NULL, what);
		h->broken = 1;
		return E_TEMPFAIL;
	}
	e = take_result(h, deadline_ms, &r);
	if (!e)
		e = result_check(h, r, what);
	if (!e && number)
		*number = PQntuples(r) > 0 ? atoi(PQgetvalue(r, 0, 0)) : 0;
	PQclear(r);
	return e ? E_TEMPFAIL : OK;
}

#define COUNT_TABLES "SELECT count(*) FROM pg_catalog.pg_tables WHERE schemaname = current_schema()"

static enum err
schema_create(struct pg_handle *h)
{
	int tables = 0;
	enum err e = script_run(h, "BEGIN; " SCHEMA_LOCK, "create the schema", NULL);

	if (!e)
		e = script_run(h, COUNT_TABLES, "create the schema", &tables);
	if (!e && tables == 0)
		e = script_run(h, schema, "create the schema", NULL);
	if (!e)
		e = script_run(h, "COMMIT", "create the schema", NULL);
	return e;
}

/* Only one of several openers does it; the others find it done. */
static enum err
schema_upgrade(struct pg_handle *h, int *version)
{
	static const char what[] = "upgrade the schema";
	enum err e = script_run(h, "BEGIN; " SCHEMA_LOCK, what, NULL);

	if (!e)
		e = script_run(h, "SELECT max(version) FROM schema_version", what, version);
	for (; !e && *version >= 1 && *version < DB_SCHEMA_VERSION; (*version)++)
		e = script_run(h, db_schema_upgrades[*version - 1].postgresql, what, NULL);
	if (!e)
		e = script_run(h, "COMMIT", what, NULL);
	return e;
}

static enum err
schema_ensure(struct pg_handle *h)
{
	int tables = 0, ours = 0, version = 0;
	enum err e = script_run(h, COUNT_TABLES, "read the schema", &tables);

	if (!e && tables == 0)
		e = schema_create(h);
	if (!e)
		e = script_run(h,
			"SELECT CASE WHEN to_regclass('schema_version') IS NULL THEN 0 ELSE 1 END",
			"read the schema", &ours);
	/* Without the table it is somebody else's schema, read by replaced queries. */
	if (!e && ours)
		e = script_run(
			h, "SELECT max(version) FROM schema_version", "read the schema", &version);
	if (!e && ours && version < DB_SCHEMA_VERSION)
		e = schema_upgrade(h, &version);
	if (!e && version > DB_SCHEMA_VERSION) {
		log_event(LOGL_ERROR, "auth.database newer", "backend", "postgresql", "message",
			"the database was written by a newer Roost; install that version", NULL);
		e = E_TEMPFAIL;
	}
	return e;
}

static void
pg_close(void *handle)
{
	struct pg_handle *h = handle;

	PQfinish(h->conn);
	free(h);
}

static enum err
pg_open(const struct auth_settings *s, void **out)
{
	struct pg_handle *h = MEM_NEW(struct pg_handle);
	char sql[96];
	enum err e = pg_connect(s->postgresql, s->db_timeout_ms, LOGL_WARN, &h->conn);

	h->timeout_ms = s->db_timeout_ms;
	if (!e && PQsetnonblocking(h->conn, 1) != 0)
		e = E_TEMPFAIL;
	if (!e) {
		/* The server gives up too, so that what we no longer wait for does not go on. */
		snprintf(sql, sizeof(sql), "SET statement_timeout = %d", s->db_timeout_ms);
		e = script_run(h, sql, "open", NULL);
	}
	if (!e && !s->is_postfixadmin)
		e = schema_ensure(h);
	if (e) {
		pg_close(h);
		return E_TEMPFAIL;
	}
	*out = h;
	return OK;
}

static enum err
prepare(struct pg_handle *h, size_t id, const char *name, const char *sql, int64_t deadline_ms)
{
	PGresult *r = NULL;
	enum err e;

	if (h->prepared[id])
		return OK;
	if (!PQsendPrepare(h->conn, name, sql, 0, NULL)) {
		log_failure(h, NULL, "prepare");
		return E_TEMPFAIL;
	}
	e = take_result(h, deadline_ms, &r);
	if (!e)
		e = result_check(h, r, "prepare");
	PQclear(r);
	h->prepared[id] = e == OK;
	return e;
}

static void
rows_copy(const PGresult *r, struct db_result *out)
{
	int cols = PQnfields(r), rows = PQntuples(r);
	const char *affected = PQcmdTuples((PGresult *)(uintptr_t)r);

	db_result_init(out, (size_t)cols);
	for (int i = 0; i < cols; i++)
		out->names[i] = mem_strdup(PQfname(r, i));
	for (int i = 0; i < rows; i++) {
		char **row = db_result_add_row(out);

		for (int j = 0; j < cols; j++)
			if (!PQgetisnull(r, i, j))
				row[j] = mem_strdup(PQgetvalue(r, i, j));
	}
	if (cols > 0 || str_to_u64(str_of(affected), &out->affected))
		out->affected = 0;
}

static enum err
pg_query(void *handle, size_t id, const struct db_statement *st, const char *const *values,
	struct db_result *out)
{
	struct pg_handle *h = handle;
	int64_t deadline_ms = io_now_ms() + h->timeout_ms;
	PGresult *r = NULL;
	char name[16];
	enum err e;

	snprintf(name, sizeof(name), "roost_%zu", id);
	e = prepare(h, id, name, st->sql, deadline_ms);
	if (e)
		return e;
	if (!PQsendQueryPrepared(h->conn, name, (int)st->param_count, values, NULL, NULL, 0)) {
		log_failure(h, NULL, "query");
		return E_TEMPFAIL;
	}
	e = take_result(h, deadline_ms, &r);
	if (!e)
		e = result_check(h, r, "query");
	if (!e)
		rows_copy(r, out);
	PQclear(r);
	return e;
}

/*
 * A failed statement leaves a connection as it was.
 */
static int
pg_is_alive(void *handle)
{
	struct pg_handle *h = handle;

	return !h->broken && PQstatus(h->conn) == CONNECTION_OK;
}

const struct db_backend db_backend_postgresql = {
	.name = "postgresql",
	.mark = '$',
	.open = pg_open,
	.close = pg_close,
	.query = pg_query,
	.is_alive = pg_is_alive,
};
