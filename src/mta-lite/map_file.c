/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/alias_list.h"
#include "mta-lite/map_text.h"

/*
 * Text files that need no compiling: file:PATH, "key value" a line, and aliases:PATH, a file of
 * aliases(5), "name: list".
 */

struct map_file {
	struct map_text text;
	struct map_table table;
	void (*parse)(struct map *map, struct str text); /* fills the table */
};

/* Where the key ends: at a blank outside of the quotes of a local part ("a b"@example.com). */
static size_t
key_len(struct str line)
{
	int quoted = 0;
	size_t i;

	for (i = 0; i < line.len; i++) {
		if (line.p[i] == '"')
			quoted = !quoted;
		else if (!quoted && str_is_space(line.p[i]))
			break;
	}
	return i;
}

static void
parse_keys(struct map *map, struct str text)
{
	struct map_file *f = map->data;
	struct map_lines lines = {.rest = text};
	struct str line;
	unsigned number;

	while (map_lines_next(&lines, &line, &number)) {
		size_t len = key_len(line);
		struct str value = str_trim(str_make(line.p + len, line.len - len));

		if (value.len == 0)
			map_warn(map, number, "a key without a value");
		else
			map_table_add(&f->table, str_make(line.p, len), value);
	}
	map_lines_fini(&lines);
}

static void
add_alias(void *arg, struct str name, struct str list, unsigned line)
{
	const struct map *map = arg;
	struct map_file *f = map->data;

	(void)line;
	/* With what is wrong in it: mail for the name must wait, and not come back. */
	map_table_add(&f->table, name, list);
}

static void
warn_alias(void *arg, unsigned line, const char *why)
{
	map_warn(arg, line, why);
}

static void
parse_aliases(struct map *map, struct str text)
{
	const struct alias_reader reader = {add_alias, warn_alias, map};

	alias_text_read(text, &reader);
}

static void
file_refresh(struct map *map)
{
	struct map_file *f = map->data;
	struct buf text = {0};
	size_t twice;

	if (map_text_changed(&f->text, map, &text)) {
		map_table_fini(&f->table);
		f->parse(map, buf_str(&text));
		twice = map_table_sort(&f->table);
		if (twice > 0)
			log_event(LOGL_WARN, "map.keys repeated", "table", map->name, "count",
				log_u64(twice), "using", "the first", NULL);
	}
	buf_free(&text);
}

static enum err
open_with(struct map *map, struct str argument, struct buf *why,
	void (*parse)(struct map *map, struct str text))
{
	struct map_file *f;

	if (argument.len == 0) {
		buf_printf(why, "'%s' names no file", map->name);
		return E_PARSE;
	}
	f = MEM_NEW(struct map_file);
	f->text.path = map_path(map->conf, argument);
	f->parse = parse;
	map->data = f;
	file_refresh(map);
	return OK;
}

static enum err
file_open(struct map *map, struct str argument, struct buf *why)
{
	return open_with(map, argument, why, parse_keys);
}

static enum err
aliases_open(struct map *map, struct str argument, struct buf *why)
{
	return open_with(map, argument, why, parse_aliases);
}

static enum err
file_find(struct map *map, struct str key, struct buf *value)
{
	struct map_file *f = map->data;
	struct str found;
	enum err e;

	if (!f->text.loaded)
		return E_TEMPFAIL;
	e = map_table_find(&f->table, key, &found);
	return e ? e : buf_add_str(value, found);
}

static void
file_sandbox(const struct map *map, struct sandbox *sb)
{
	map_sandbox_file(sb, ((const struct map_file *)map->data)->text.path);
}

static void
file_close(struct map *map)
{
	struct map_file *f = map->data;

	map_text_fini(&f->text);
	map_table_fini(&f->table);
	free(f);
}

const struct map_type map_type_file = {
	.name = "file",
	.fold = 1,
	.open = file_open,
	.find = file_find,
	.refresh = file_refresh,
	.sandbox = file_sandbox,
	.close = file_close,
};

const struct map_type map_type_aliases = {
	.name = "aliases",
	.fold = 1,
	.open = aliases_open,
	.find = file_find,
	.refresh = file_refresh,
	.sandbox = file_sandbox,
	.close = file_close,
};
