/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_DIRECTORY_DB_H
#define ROOST_AUTH_DIRECTORY_DB_H

#include <stddef.h>

#include "auth/directory.h"
#include "auth/settings.h"

/*
 * What a database must do for the directory; private to directory*.c. A handle belongs to one
 * thread. Values go in as parameters and come out as text; nothing is ever spliced into SQL.
 */
enum { DB_PARAMS_MAX = 24 };
struct db_statement {
	char *sql; /* positional parameters, numbered from 1 */
	size_t param_count; /* at most DB_PARAMS_MAX */
	unsigned char params[DB_PARAMS_MAX]; /* which argument each of them is */
};

struct db_backend {
	const char *name;
	char mark; /* in front of a parameter's number in SQL */
	/* Connects within the settings' db_timeout; creates the schema in an empty database.
	 * E_TEMPFAIL, with a log line. */
	enum err (*open)(const struct auth_settings *s, void **handle);
	void (*close)(void *handle);
	/*
	 * Runs statement id (prepared at its first use). *out is zeroed by the caller, who frees
	 * it. E_EXISTS: unique key; E_CONFLICT: foreign key; E_TEMPFAIL: everything else, with a
	 * log line.
	 */
	enum err (*query)(void *handle, size_t id, const struct db_statement *st,
		const char *const *values, struct db_result *out);
	/* After an E_TEMPFAIL: whether the handle can still be used. */
	int (*is_alive)(void *handle);
};

extern const struct db_backend db_backend_postgresql, db_backend_sqlite;

/* The schema version that this program writes. */
enum { DB_SCHEMA_VERSION = 7 };
/* What makes version i + 2 of a database of version i + 1. */
struct db_schema_upgrade {
	const char *postgresql, *sqlite;
};
extern const struct db_schema_upgrade db_schema_upgrades[DB_SCHEMA_VERSION - 1];

/* Sets up a result of so many columns and rows with all cells NULL. */
void db_result_init(struct db_result *r, size_t cols);
/* Adds a row of NULLs; the cells of the new row, r->cols of them. */
char **db_result_add_row(struct db_result *r);

#endif
