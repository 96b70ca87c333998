/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_MAP_SQL_H
#define ROOST_MTA_MAP_SQL_H

#include "mta-lite/map_private.h"

/*
 * What pgsql_table(5) and sqlite_table(5) have in common: a small file "name = value", a query in
 * which parts of the key are put, and a format for results.
 */
struct map_sql {
	char *path; /* of the file */
	int readable; /* it could be read and has a query */
	char *query, *result_format;
	unsigned expansion_limit; /* 0: none */
	struct conf_list domains; /* empty: all */
	/* Names and values of the file, for the database's own (dbpath, hosts, user ...). */
	struct map_sql_setting {
		char *name, *value;
	} * settings;
	size_t setting_count;
};

/* Reads the file. E_PARSE only for a missing name; else look-ups fail until a restart. */
enum err map_sql_open(struct map_sql *sql, struct map *map, struct str argument, struct buf *why);
void map_sql_fini(struct map_sql *sql);
/* NULL: not set. Borrowed. */
const char *map_sql_setting(const struct map_sql *sql, const char *name);

/* Appends text so that it can stand in a string literal of the query. */
typedef enum err (*map_sql_escape)(void *arg, struct str text, struct buf *out);
/* OK; E_NOTFOUND: nothing is to be asked for this key; E_TEMPFAIL. */
enum err map_sql_query(const struct map_sql *sql, struct str key, map_sql_escape escape, void *arg,
	struct buf *out);

/* Collects results: zero it, add each cell, look at err. */
struct map_sql_result {
	unsigned count;
	enum err err; /* E_TEMPFAIL: more than expansion_limit */
};
void map_sql_add(const struct map_sql *sql, struct map_sql_result *r, struct str key,
	struct str cell, struct buf *value);

#endif
