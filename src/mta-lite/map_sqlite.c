/* SPDX-License-Identifier: MIT */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/lazy_library.h"
#include "mta-lite/map_sql.h"

/* sqlite:FILE (sqlite_table(5)). */

enum { SQLITE_STEPS_BETWEEN_LOOKS = 10000 };

struct map_sqlite {
	struct map_sql sql;
	sqlite3 *db; /* opened by the process that asks: it does not outlive a fork */
	int64_t deadline_ms;
};

static enum err
sqlite_map_open(struct map *map, struct str argument, struct buf *why)
{
	struct map_sqlite *s = MEM_NEW(struct map_sqlite);
	enum err e;

	map->data = s;
	e = map_sql_open(&s->sql, map, argument, why);
	if (e == OK && s->sql.readable && map_sql_setting(&s->sql, "dbpath") == NULL) {
		log_event(LOGL_ERROR, "map.file malformed", "table", map->name, "reason",
			"it has no dbpath", NULL);
		s->sql.readable = 0;
	}
	return e ? e : lazy_sqlite_load(why);
}

static int
look_at_clock(void *arg)
{
	const struct map_sqlite *s = arg;

	return io_now_ms() >= s->deadline_ms;
}

static enum err
connect_db(struct map *map)
{
	struct map_sqlite *s = map->data;

	if (s->db)
		return OK;
	if (sqlite3_open_v2(map_sql_setting(&s->sql, "dbpath"), &s->db, SQLITE_OPEN_READONLY,
		    NULL) != SQLITE_OK) {
		log_event(LOGL_ERROR, "map.database failed", "table", map->name, "error",
			s->db ? sqlite3_errmsg(s->db) : "out of memory", NULL);
		sqlite3_close(s->db);
		s->db = NULL;
		return E_TEMPFAIL;
	}
	(void)sqlite3_busy_timeout(s->db, MAP_TIMEOUT_MS / 2);
	sqlite3_progress_handler(s->db, SQLITE_STEPS_BETWEEN_LOOKS, look_at_clock, s);
	return OK;
}

/* The query puts it between single quotes. */
static enum err
escape(void *arg, struct str text, struct buf *out)
{
	size_t i;

	(void)arg;
	for (i = 0; i < text.len; i++) {
		if (text.p[i] == '\'')
			buf_add_char(out, '\'');
		buf_add_char(out, text.p[i]);
	}
	return out->err;
}

static enum err
run_query(struct map *map, const char *query, struct str key, struct buf *value)
{
	struct map_sqlite *s = map->data;
	struct map_sql_result result = {0};
	sqlite3_stmt *statement = NULL;
	int status = sqlite3_prepare_v2(s->db, query, -1, &statement, NULL), i;

	s->deadline_ms = io_now_ms() + MAP_TIMEOUT_MS;
	while (status == SQLITE_OK || status == SQLITE_ROW) {
		status = sqlite3_step(statement);
		if (status != SQLITE_ROW)
			break;
		for (i = 0; i < sqlite3_column_count(statement); i++) {
			const unsigned char *cell = sqlite3_column_text(statement, i);

			map_sql_add(&s->sql, &result, key, str_of((const char *)cell), value);
		}
	}
	if (status != SQLITE_DONE)
		log_event(LOGL_ERROR, "map.query failed", "table", map->name, "error",
			sqlite3_errmsg(s->db), NULL);
	(void)sqlite3_finalize(statement);
	if (status != SQLITE_DONE || result.err)
		return E_TEMPFAIL;
	return result.count > 0 ? OK : E_NOTFOUND;
}

static enum err
sqlite_find(struct map *map, struct str key, struct buf *value)
{
	struct map_sqlite *s = map->data;
	struct buf query = {0};
	enum err e;

	if (!s->sql.readable)
		return E_TEMPFAIL;
	e = map_sql_query(&s->sql, key, escape, NULL, &query);
	if (e == OK)
		e = connect_db(map);
	if (e == OK)
		e = run_query(map, buf_cstr(&query), key, value);
	buf_free(&query);
	return e;
}

static void
sqlite_sandbox(const struct map *map, struct sandbox *sb)
{
	const struct map_sqlite *s = map->data;
	const char *path = map_sql_setting(&s->sql, "dbpath");

	if (path)
		map_sandbox_file(sb, path);
}

static void
sqlite_map_close(struct map *map)
{
	struct map_sqlite *s = map->data;

	if (s->db)
		(void)sqlite3_close(s->db);
	map_sql_fini(&s->sql);
	free(s);
}

const struct map_type map_type_sqlite = {
	.name = "sqlite",
	.fold = 1,
	.open = sqlite_map_open,
	.find = sqlite_find,
	.sandbox = sqlite_sandbox,
	.close = sqlite_map_close,
};
