/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_MAP_TEXT_H
#define ROOST_MTA_MAP_TEXT_H

#include <sys/stat.h>

#include "lib/buf.h"
#include "mta-lite/map_private.h"

/* Text files of tables: when they have changed, their lines, and a table of keys made of them. */

enum { MAP_FILE_MAX = 256 << 20, MAP_LINE_MAX = 1 << 20 };

struct map_text {
	char *path;
	int loaded; /* it was read once */
	int failed; /* the last reading failed; said once */
	struct stat seen;
	int64_t checked_ms;
};
/*
 * 1: the file is new or has changed, *out has its text. 0: nothing to do; looked at once a second
 * at most. A file that cannot be read any more keeps what it said before, with a line in the log.
 */
int map_text_changed(struct map_text *t, const struct map *map, struct buf *out);
void map_text_fini(struct map_text *t);

/*
 * Logical lines as postconf(5) has them: empty lines and those that begin with "#" are left out, a
 * line that begins with a blank goes on with the one before. Zero it and set rest.
 */
struct map_lines {
	struct str rest;
	unsigned number; /* of the last line that was read */
	struct buf line;
};
/* 1: *line is borrowed until the next call, *number is where it began. */
int map_lines_next(struct map_lines *it, struct str *line, unsigned *number);
void map_lines_fini(struct map_lines *it);

/* Keys and values, for exact look-ups. Add all, sort, find. */
struct map_table {
	struct buf text;
	struct map_entry *entries;
	size_t count;
};
void map_table_add(struct map_table *t, struct str key, struct str value);
/* Of entries with the same key the first stays. Returns how many were dropped. */
size_t map_table_sort(struct map_table *t);
/* OK or E_NOTFOUND; *value is borrowed. */
enum err map_table_find(const struct map_table *t, struct str key, struct str *value);
void map_table_fini(struct map_table *t);

#endif
