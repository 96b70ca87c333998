/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/alias_list.h"
#include "mta-lite/map_text.h"

/* aliases:PATH, a file of aliases(5), "name: list". */

struct map_aliases {
	struct map_text text;
	struct map_table table;
	const struct map *map;
};

static void
add_entry(void *arg, struct str name, struct str list, unsigned line)
{
	struct map_aliases *f = arg;

	(void)line;
	/* With what is wrong in it: mail for the name must wait, and not come back. */
	map_table_add(&f->table, name, list);
}

static void
warn(void *arg, unsigned line, const char *why)
{
	const struct map_aliases *f = arg;

	map_warn(f->map, line, why);
}

static void
aliases_refresh(struct map *map)
{
	struct map_aliases *f = map->data;
	const struct alias_reader reader = {add_entry, warn, f};
	struct buf text = {0};
	size_t twice;

	if (map_text_changed(&f->text, map, &text)) {
		map_table_fini(&f->table);
		f->map = map;
		alias_text_read(buf_str(&text), &reader);
		twice = map_table_sort(&f->table);
		if (twice > 0)
			log_event(LOGL_WARN, "map.keys repeated", "table", map->name, "count",
				log_u64(twice), "using", "the first", NULL);
	}
	buf_free(&text);
}

static enum err
aliases_open(struct map *map, struct str argument, struct buf *why)
{
	struct map_aliases *f;

	if (argument.len == 0) {
		buf_printf(why, "'%s' names no file", map->name);
		return E_PARSE;
	}
	f = MEM_NEW(struct map_aliases);
	f->text.path = map_path(map->conf, argument);
	map->data = f;
	aliases_refresh(map);
	return OK;
}

static enum err
aliases_find(struct map *map, struct str key, struct buf *value)
{
	struct map_aliases *f = map->data;
	struct str found;
	enum err e;

	if (!f->text.loaded)
		return E_TEMPFAIL;
	e = map_table_find(&f->table, key, &found);
	return e ? e : buf_add_str(value, found);
}

static void
aliases_sandbox(const struct map *map, struct sandbox *sb)
{
	map_sandbox_file(sb, ((const struct map_aliases *)map->data)->text.path);
}

static void
aliases_close(struct map *map)
{
	struct map_aliases *f = map->data;

	map_text_fini(&f->text);
	map_table_fini(&f->table);
	free(f);
}

const struct map_type map_type_aliases = {
	.name = "aliases",
	.fold = 1,
	.open = aliases_open,
	.find = aliases_find,
	.refresh = aliases_refresh,
	.sandbox = aliases_sandbox,
	.close = aliases_close,
};
