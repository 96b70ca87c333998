/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_MAP_RULES_H
#define ROOST_MTA_MAP_RULES_H

#include "mta-lite/map_text.h"

/*
 * Tables whose lines are tried from the top: cidr, regexp, pcre. Lines are
 *   [!]PATTERN VALUE     "!": what does not match
 *   if [!]PATTERN, endif
 * and header and body checks have the same shape.
 */

enum { MAP_GROUPS_MAX = 16, MAP_IF_DEPTH_MAX = 32 };

/* Where a pattern matched and its groups did; 0 is the whole. start == SIZE_MAX: not at all. */
struct map_groups {
	size_t count;
	struct {
		size_t start, end;
	} at[MAP_GROUPS_MAX];
};

/* What a kind of pattern is. */
struct map_pattern_type {
	/*
	 * Cuts a pattern off the front of *line and compiles it. groups: how many "(...)" it has.
	 * NULL: *why is the reason, a static text.
	 */
	void *(*compile)(struct str *line, unsigned *groups, const char **why);
	/* OK, E_NOTFOUND; E_TEMPFAIL: a limit was reached. */
	enum err (*match)(const void *pattern, struct str subject, struct map_groups *groups);
	void (*free)(void *pattern);
	int substitutes; /* $1 in values */
};

struct map_rules;
struct map_rules *map_rules_create(const struct map_pattern_type *type);
void map_rules_free(struct map_rules **r);
/* Replaces the rules by those in text; lines that make no sense are logged and left out. */
void map_rules_parse(struct map_rules *r, const struct map *map, struct str text);
/* The first rule that holds: its value, groups put in. As map_find. */
enum err map_rules_find(const struct map_rules *r, struct str subject, struct buf *value);

/* A file of such rules, for map types: data is this. */
struct map_rules_file {
	struct map_text text;
	struct map_rules *rules;
};
enum err map_rules_open(
	struct map *map, const struct map_pattern_type *type, struct str argument, struct buf *why);
enum err map_rules_file_find(struct map *map, struct str key, struct buf *value);
void map_rules_refresh(struct map *map);
void map_rules_sandbox(const struct map *map, struct sandbox *sb);
void map_rules_close(struct map *map);

#endif
