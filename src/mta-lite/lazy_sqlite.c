/* SPDX-License-Identifier: MIT */
#include <sqlite3.h>

#include "mta-lite/lazy_library.h"

/* SQLite: every function is what its library declares. */

enum {
	AT_sqlite3_busy_timeout,
	AT_sqlite3_close,
	AT_sqlite3_column_count,
	AT_sqlite3_column_text,
	AT_sqlite3_errmsg,
	AT_sqlite3_finalize,
	AT_sqlite3_open_v2,
	AT_sqlite3_prepare_v2,
	AT_sqlite3_progress_handler,
	AT_sqlite3_step,
	FUNCTIONS,
};

static const char *const names[FUNCTIONS] = {
	[AT_sqlite3_busy_timeout] = "sqlite3_busy_timeout",
	[AT_sqlite3_close] = "sqlite3_close",
	[AT_sqlite3_column_count] = "sqlite3_column_count",
	[AT_sqlite3_column_text] = "sqlite3_column_text",
	[AT_sqlite3_errmsg] = "sqlite3_errmsg",
	[AT_sqlite3_finalize] = "sqlite3_finalize",
	[AT_sqlite3_open_v2] = "sqlite3_open_v2",
	[AT_sqlite3_prepare_v2] = "sqlite3_prepare_v2",
	[AT_sqlite3_progress_handler] = "sqlite3_progress_handler",
	[AT_sqlite3_step] = "sqlite3_step",
};
static void *functions[FUNCTIONS];

enum err
lazy_sqlite_load(struct buf *why)
{
	if (functions[0])
		return OK;
	return lazy_library_load("libsqlite3.so.0", names, FUNCTIONS, functions, why);
}

/* The function of this name in the library. */
#define REAL(name) ((__typeof__(&(name)))functions[AT_##name])

int
sqlite3_busy_timeout(sqlite3 *db, int ms)
{
	return REAL(sqlite3_busy_timeout)(db, ms);
}

int
sqlite3_close(sqlite3 *db)
{
	return REAL(sqlite3_close)(db);
}

int
sqlite3_column_count(sqlite3_stmt *statement)
{
	return REAL(sqlite3_column_count)(statement);
}

const unsigned char *
sqlite3_column_text(sqlite3_stmt *statement, int column)
{
	return REAL(sqlite3_column_text)(statement, column);
}

const char *
sqlite3_errmsg(sqlite3 *db)
{
	return REAL(sqlite3_errmsg)(db);
}

int
sqlite3_finalize(sqlite3_stmt *statement)
{
	return REAL(sqlite3_finalize)(statement);
}

int
sqlite3_open_v2(const char *path, sqlite3 **db, int flags, const char *vfs)
{
	return REAL(sqlite3_open_v2)(path, db, flags, vfs);
}

int
sqlite3_prepare_v2(
	sqlite3 *db, const char *sql, int len, sqlite3_stmt **statement, const char **tail)
{
	return REAL(sqlite3_prepare_v2)(db, sql, len, statement, tail);
}

void
sqlite3_progress_handler(sqlite3 *db, int steps, int (*handler)(void *), void *arg)
{
	REAL(sqlite3_progress_handler)(db, steps, handler, arg);
}

int
sqlite3_step(sqlite3_stmt *statement)
{
	return REAL(sqlite3_step)(statement);
}
