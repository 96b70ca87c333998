/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_MAP_PRIVATE_H
#define ROOST_MTA_MAP_PRIVATE_H

#include "mta-lite/map.h"

/* What a family of tables is to map.c: a row in the table of types there. */
struct map_type {
	const char *name;
	int pattern; /* keys are matched and not looked up: addresses are not taken apart */
	int fold; /* keys are looked up in lower case */
	/* argument: behind "type:". Sets map->data. E_PARSE with *why: the name makes no sense. */
	enum err (*open)(struct map *map, struct str argument, struct buf *why);
	enum err (*find)(struct map *map, struct str key, struct buf *value);
	void (*refresh)(struct map *map); /* or NULL */
	void (*sandbox)(const struct map *map, struct sandbox *sb); /* or NULL */
	void (*close)(struct map *map);
};

struct map {
	struct map *next;
	const struct map_type *type;
	char *name; /* "type:argument" */
	const struct config *conf;
	struct maps *maps;
	void *data; /* the type's own */
};

extern const struct map_type map_type_file, map_type_inline, map_type_static, map_type_fail,
	map_type_cidr, map_type_regexp, map_type_pcre, map_type_pgsql, map_type_sqlite,
	map_type_tcp, map_type_unix, map_type_lmdb, map_type_aliases;

/* How long one look-up outside of this process may take in all. */
enum { MAP_TIMEOUT_MS = 10000 };

/* The file's path on the heap: a relative one is below the configuration file's directory. */
char *map_path(const struct config *conf, struct str name);
/* Lets the file, and one that replaces it, be read. */
void map_sandbox_file(struct sandbox *sb, const char *path);
/* A line that is left out, for the administrator. */
void map_warn(const struct map *map, unsigned line, const char *reason);

#endif
