/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "lib/mem.h"
#include "mta-lite/map_text.h"
#include "mta-lite/words.h"

/* Tables that stand in the settings themselves: inline:{...}, static:VALUE, fail:TEXT. */

/* key = value; the blanks around "=" do not count. */
static enum err
add_pair(struct map_table *t, struct str pair)
{
	struct str value = words_unbrace(pair), key = str_split(&value, '=');

	key = str_trim(key);
	if (value.p == NULL || key.len == 0)
		return E_PARSE;
	value = words_unbrace(str_trim(value));
	map_table_add(t, key, value);
	return OK;
}

static enum err
inline_open(struct map *map, struct str argument, struct buf *why)
{
	struct map_table *t = MEM_NEW(struct map_table);
	struct str rest = words_unbrace(argument), word;
	int unbalanced = 0;
	enum err e = OK;

	map->data = t;
	if (argument.len < 2 || argument.p[0] != '{' || argument.p[argument.len - 1] != '}')
		e = E_PARSE;
	while (e == OK && words_next(&rest, &word, &unbalanced))
		e = add_pair(t, word);
	if (e || unbalanced) {
		buf_printf(why, "'%s' is not inline:{ key=value, { key = value with blanks } }",
			map->name);
		return E_PARSE;
	}
	(void)map_table_sort(t);
	return OK;
}

static enum err
inline_find(struct map *map, struct str key, struct buf *value)
{
	struct str found;
	enum err e = map_table_find(map->data, key, &found);

	return e ? e : buf_add_str(value, found);
}

static void
inline_close(struct map *map)
{
	map_table_fini(map->data);
	free(map->data);
}

const struct map_type map_type_inline = {
	.name = "inline",
	.fold = 1,
	.open = inline_open,
	.find = inline_find,
	.close = inline_close,
};

/* static: every key has the same value. */
static enum err
text_open(struct map *map, struct str argument, struct buf *why)
{
	(void)why;
	map->data = str_dup(words_unbrace(argument));
	return OK;
}

static enum err
static_find(struct map *map, struct str key, struct buf *value)
{
	(void)key;
	return buf_add_cstr(value, map->data);
}

static void
text_close(struct map *map)
{
	free(map->data);
}

const struct map_type map_type_static = {
	.name = "static",
	.open = text_open,
	.find = static_find,
	.close = text_close,
};

/* fail: nobody ever knows; to try out what happens then. */
static enum err
fail_find(struct map *map, struct str key, struct buf *value)
{
	(void)map;
	(void)key;
	(void)value;
	return E_TEMPFAIL;
}

const struct map_type map_type_fail = {
	.name = "fail",
	.open = text_open,
	.find = fail_find,
	.close = text_close,
};
