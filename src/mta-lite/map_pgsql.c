/* SPDX-License-Identifier: MIT */
#include <libpq-fe.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "auth/directory_pg_connect.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/lazy_library.h"
#include "mta-lite/map_sql.h"
#include "mta-lite/words.h"

/*
 * pgsql:FILE (pgsql_table(5)). A process that asks has a connection of its own, from its first
 * question to its end: sessions are short, and roost-auth's connections belong to its one database.
 */
struct map_pgsql {
	struct map_sql sql;
	char *conninfo;
	PGconn *conn;
};

/* "key='value' " as libpq's connection strings have it. */
static void
add_parameter(struct buf *out, const char *key, struct str value)
{
	size_t i;

	buf_printf(out, "%s='", key);
	for (i = 0; i < value.len; i++) {
		if (value.p[i] == '\'' || value.p[i] == '\\')
			buf_add_char(out, '\\');
		buf_add_char(out, value.p[i]);
	}
	buf_add_cstr(out, "' ");
}

/* Postfix's "hosts": host, host:port, inet:host:port, unix:/directory; or URIs, the first is ours.
 */
static void
add_hosts(const char *hosts, struct buf *host, struct buf *port)
{
	struct str rest = str_of(hosts), word;

	while (words_next(&rest, &word, NULL)) {
		struct str number = STR("");
		size_t colon;

		if (host->len > 0) {
			buf_add_char(host, ',');
			buf_add_char(port, ',');
		}
		if (str_starts_i(word, "unix:")) {
			word = str_make(word.p + 5, word.len - 5);
		} else {
			if (str_starts_i(word, "inet:"))
				word = str_make(word.p + 5, word.len - 5);
			colon = word.len;
			while (colon > 0 && word.p[colon - 1] != ':' && word.p[colon - 1] != ']')
				colon--;
			if (colon > 0 && word.p[colon - 1] == ':') {
				number = str_make(word.p + colon, word.len - colon);
				word.len = colon - 1;
			}
			if (word.len > 2 && word.p[0] == '[' && word.p[word.len - 1] == ']')
				word = str_make(word.p + 1, word.len - 2);
		}
		buf_add_str(host, word);
		buf_add_str(port, number.len ? number : STR("5432"));
	}
}

static char *
make_conninfo(const struct map_sql *sql)
{
	const char *hosts = map_sql_setting(sql, "hosts"), *value;
	struct buf out = {0}, host = {0}, port = {0};

	if (hosts && (strncmp(hosts, "postgresql://", 13) == 0 ||
			     strncmp(hosts, "postgres://", 11) == 0))
		return mem_strdup(hosts);
	add_hosts(hosts ? hosts : "localhost", &host, &port);
	add_parameter(&out, "host", buf_str(&host));
	add_parameter(&out, "port", buf_str(&port));
	value = map_sql_setting(sql, "user");
	if (value)
		add_parameter(&out, "user", str_of(value));
	value = map_sql_setting(sql, "password");
	if (value)
		add_parameter(&out, "password", str_of(value));
	value = map_sql_setting(sql, "dbname");
	if (value)
		add_parameter(&out, "dbname", str_of(value));
	buf_free(&host);
	buf_free(&port);
	return buf_steal(&out);
}

static enum err
pgsql_open(struct map *map, struct str argument, struct buf *why)
{
	struct map_pgsql *s = MEM_NEW(struct map_pgsql);
	enum err e;

	map->data = s;
	e = map_sql_open(&s->sql, map, argument, why);
	s->conninfo = make_conninfo(&s->sql);
	return e ? e : lazy_pq_load(why);
}

static void
disconnect(struct map_pgsql *s)
{
	if (s->conn)
		PQfinish(s->conn);
	s->conn = NULL;
}

static enum err
escape(void *arg, struct str text, struct buf *out)
{
	int error = 0;

	if (buf_reserve(out, 2 * text.len + 1))
		return E_TEMPFAIL;
	out->len += PQescapeStringConn(arg, out->p + out->len, text.p, text.len, &error);
	return error ? E_TEMPFAIL : OK;
}

static enum err
wait_for(PGconn *conn, short events, int64_t deadline_ms)
{
	struct pollfd p = {.fd = PQsocket(conn), .events = events};
	int64_t left = deadline_ms - io_now_ms();

	if (p.fd < 0)
		return E_CLOSED;
	if (left <= 0)
		return E_TIMEOUT;
	(void)poll(&p, 1, (int)left);
	return PQconsumeInput(conn) ? OK : E_CLOSED;
}

/* E_CLOSED, E_TIMEOUT: the connection is of no use any more. */
static enum err
exchange(PGconn *conn, const char *query, PGresult **out)
{
	int64_t deadline_ms = io_now_ms() + MAP_TIMEOUT_MS;
	PGresult *more;
	enum err e = OK;
	int unsent;

	*out = NULL;
	if (!PQsendQuery(conn, query))
		return E_CLOSED;
	while (e == OK && (unsent = PQflush(conn)) != 0)
		e = unsent < 0 ? E_CLOSED : wait_for(conn, POLLIN | POLLOUT, deadline_ms);
	while (e == OK && PQisBusy(conn))
		e = wait_for(conn, POLLIN, deadline_ms);
	if (e)
		return e;
	*out = PQgetResult(conn);
	/* A second one ends with the deadline too, since the first was whole. */
	while (e == OK) {
		while (e == OK && PQisBusy(conn))
			e = wait_for(conn, POLLIN, deadline_ms);
		more = e ? NULL : PQgetResult(conn);
		if (more == NULL)
			break;
		PQclear(*out);
		*out = more;
	}
	return e ? e : *out ? OK : E_CLOSED;
}

static enum err
take_rows(struct map *map, const PGresult *r, struct str key, struct buf *value)
{
	struct map_pgsql *s = map->data;
	struct map_sql_result result = {0};
	int row, column;

	for (row = 0; row < PQntuples(r); row++) {
		for (column = 0; column < PQnfields(r); column++) {
			if (PQgetisnull(r, row, column))
				continue;
			map_sql_add(&s->sql, &result, key,
				str_make(PQgetvalue(r, row, column),
					(size_t)PQgetlength(r, row, column)),
				value);
		}
	}
	if (result.err) {
		log_event(LOGL_ERROR, "map.query failed", "table", map->name, "error",
			"more results than expansion_limit", NULL);
		return E_TEMPFAIL;
	}
	return result.count > 0 ? OK : E_NOTFOUND;
}

/* *again: the connection had died while it waited. */
static enum err
ask(struct map *map, struct str key, struct buf *value, int *again)
{
	struct map_pgsql *s = map->data;
	struct buf query = {0};
	PGresult *r = NULL;
	int reused = s->conn != NULL;
	enum err e;

	*again = 0;
	/* Escaping needs to know the connection's encoding. */
	if (!reused && pg_connect(s->conninfo, MAP_TIMEOUT_MS, LOGL_ERROR, &s->conn))
		return E_TEMPFAIL;
	e = map_sql_query(&s->sql, key, escape, s->conn, &query);
	if (e == OK) {
		e = exchange(s->conn, buf_cstr(&query), &r);
		if (e) {
			*again = reused && e == E_CLOSED;
			if (!*again)
				log_event(LOGL_ERROR, "map.query failed", "table", map->name,
					"error", err_text(e), NULL);
			disconnect(s);
			e = E_TEMPFAIL;
		} else if (PQresultStatus(r) != PGRES_TUPLES_OK) {
			log_event(LOGL_ERROR, "map.query failed", "table", map->name, "error",
				PQresultErrorMessage(r), NULL);
			e = E_TEMPFAIL;
			*again = reused && PQstatus(s->conn) == CONNECTION_BAD;
			if (PQstatus(s->conn) == CONNECTION_BAD)
				disconnect(s);
		} else {
			e = take_rows(map, r, key, value);
		}
	}
	PQclear(r);
	buf_free(&query);
	return e;
}

static enum err
pgsql_find(struct map *map, struct str key, struct buf *value)
{
	struct map_pgsql *s = map->data;
	int again;
	enum err e;

	/* No connection for what the server would refuse as text. */
	if (!s->sql.readable)
		return E_TEMPFAIL;
	if (!str_is_utf8(key))
		return E_NOTFOUND;
	e = ask(map, key, value, &again);
	return again ? ask(map, key, value, &again) : e;
}

static void
allow_file(void *sb, const char *path)
{
	sandbox_allow_path(sb, path, SANDBOX_READ);
}

static void
pgsql_sandbox(const struct map *map, struct sandbox *sb)
{
	const struct map_pgsql *s = map->data;

	sandbox_allow(sb, SANDBOX_CAN_CONNECT_TCP | SANDBOX_CAN_UDP);
	pg_conninfo_files(s->conninfo, allow_file, sb);
}

static void
pgsql_close(struct map *map)
{
	struct map_pgsql *s = map->data;

	disconnect(s);
	free(s->conninfo);
	map_sql_fini(&s->sql);
	free(s);
}

const struct map_type map_type_pgsql = {
	.name = "pgsql",
	.fold = 1,
	.open = pgsql_open,
	.find = pgsql_find,
	.sandbox = pgsql_sandbox,
	.close = pgsql_close,
};
