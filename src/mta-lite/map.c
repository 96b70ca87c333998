/* SPDX-License-Identifier: MIT */
#include "mta-lite/map.h"

#include <libgen.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/map_private.h"
#include "mta-lite/words.h"

struct maps {
	const struct config *conf;
	struct map *first;
};

static const struct map_type *const types[] = {&map_type_file, &map_type_inline, &map_type_static,
	&map_type_fail, &map_type_cidr, &map_type_regexp, &map_type_pcre, &map_type_pgsql,
	&map_type_sqlite, &map_type_tcp, &map_type_unix, &map_type_lmdb, &map_type_aliases};

/*
 * Postfix compiles these from a text file of the same name; the text is what we read, so that its
 * tables can be named as they are.
 */
static const char *const file_names[] = {"texthash", "hash", "btree", "dbm", "cdb"};

static const struct map_type *
find_type(struct str name)
{
	size_t i;

	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (str_is_i(name, types[i]->name))
			return types[i];
	}
	for (i = 0; i < sizeof(file_names) / sizeof(file_names[0]); i++) {
		if (str_is_i(name, file_names[i]))
			return &map_type_file;
	}
	return NULL;
}

struct maps *
maps_create(const struct config *conf)
{
	struct maps *m = MEM_NEW(struct maps);

	m->conf = conf;
	return m;
}

static void
map_free(struct map *map)
{
	if (map->type && map->data)
		map->type->close(map);
	free(map->name);
	free(map);
}

void
maps_free(struct maps **m)
{
	if (*m == NULL)
		return;
	while ((*m)->first) {
		struct map *map = (*m)->first;

		(*m)->first = map->next;
		map_free(map);
	}
	MEM_FREE(*m);
}

enum err
maps_get(struct maps *m, struct str name, struct map **out, struct buf *why)
{
	struct str argument = name, type;
	struct buf ignored = {0};
	struct map *map;
	enum err e;

	*out = NULL;
	/* Postfix's way to share a connection. */
	if (str_starts_i(argument, "proxy:"))
		argument = str_make(argument.p + 6, argument.len - 6);
	for (map = m->first; map; map = map->next) {
		if (str_is(argument, map->name)) {
			*out = map;
			return OK;
		}
	}
	map = MEM_NEW(struct map);
	map->name = str_dup(argument);
	map->conf = m->conf;
	map->maps = m;
	type = str_split(&argument, ':');
	map->type = argument.p ? find_type(type) : NULL;
	if (map->type == NULL) {
		if (why)
			buf_printf(
				why, "'%s' is no table; a table is written type:name", map->name);
		map_free(map);
		return E_PARSE;
	}
	e = map->type->open(map, argument, why ? why : &ignored);
	buf_free(&ignored);
	if (e) {
		map_free(map);
		return E_PARSE;
	}
	map->next = m->first;
	m->first = map;
	*out = map;
	return OK;
}

void
maps_sandbox(const struct maps *m, struct sandbox *sb)
{
	const struct map *map;

	for (map = m->first; map; map = map->next) {
		if (map->type->sandbox)
			map->type->sandbox(map, sb);
	}
}

void
maps_refresh(struct maps *m)
{
	struct map *map;

	for (map = m->first; map; map = map->next) {
		if (map->type->refresh)
			map->type->refresh(map);
	}
}

const char *
map_name(const struct map *m)
{
	return m->name;
}

static enum err
find_folded(struct map *m, struct str key, struct buf *value)
{
	char folded[MAP_KEY_MAX];
	size_t i;

	/* No table has a key like this. */
	if (key.len >= sizeof(folded) || memchr(key.p, '\0', key.len))
		return E_NOTFOUND;
	for (i = 0; i < key.len; i++)
		folded[i] = m->type->fold ? str_lower(key.p[i]) : key.p[i];
	folded[key.len] = '\0';
	return m->type->find(m, str_make(folded, key.len), value);
}

/* Patterns look at text of any kind and length. */
static enum err
find_pattern(struct map *m, struct str key, struct buf *value)
{
	char *text = str_dup(key); /* regexec(3) may read on to a NUL */
	enum err e = m->type->find(m, str_make(text, key.len), value);

	free(text);
	return e;
}

enum err
map_find(struct map *m, struct str key, struct buf *value)
{
	buf_reset(value);
	if (value->max == 0)
		value->max = MAP_VALUE_MAX;
	if (key.len == 0)
		return E_NOTFOUND;
	if (m->type->refresh)
		m->type->refresh(m);
	switch (m->type->pattern ? find_pattern(m, key, value) : find_folded(m, key, value)) {
	case OK:
		return value->err ? E_TEMPFAIL : OK;
	case E_NOTFOUND:
		return E_NOTFOUND;
	default:
		buf_reset(value);
		return E_TEMPFAIL;
	}
}

enum err
map_list_parse(struct maps *m, const struct conf_list *names, struct map_list *out, struct buf *why)
{
	char *text = words_join(names);
	struct str rest = str_of(text), word;
	int unbalanced;
	enum err e = OK;

	*out = (struct map_list){0};
	while (e == OK && words_next(&rest, &word, &unbalanced)) {
		out->items = mem_realloc(out->items, out->count + 1, sizeof(struct map *));
		e = maps_get(m, word, &out->items[out->count], why);
		if (e == OK)
			out->count++;
	}
	if (e == OK && unbalanced) {
		if (why)
			buf_add_cstr(why, "a brace is not closed");
		e = E_PARSE;
	}
	if (e)
		map_list_free(out);
	free(text);
	return e;
}

enum err
map_list_open(
	struct maps *m, const char *setting, const struct conf_list *names, struct map_list *out)
{
	struct buf why = {0};
	enum err e = map_list_parse(m, names, out, &why);

	if (e)
		log_event(LOGL_ERROR, "tables.setup failed", "setting", setting, "reason",
			buf_cstr(&why), NULL);
	buf_free(&why);
	return e;
}

void
map_list_free(struct map_list *l)
{
	free((void *)l->items);
	*l = (struct map_list){0};
}

enum err
map_list_find(const struct map_list *l, struct str key, struct buf *value)
{
	size_t i;

	for (i = 0; i < l->count; i++) {
		enum err e = map_find(l->items[i], key, value);

		if (e != E_NOTFOUND)
			return e;
	}
	return E_NOTFOUND;
}

/* ---- for the types ---- */

/* An editor puts a new file in the place of the old one: its directory has to be readable. */
void
map_sandbox_file(struct sandbox *sb, const char *path)
{
	char *copy = mem_strdup(path);

	sandbox_allow_path(sb, dirname(copy), SANDBOX_READ);
	free(copy);
}

void
map_warn(const struct map *map, unsigned line, const char *reason)
{
	log_event(LOGL_WARN, "map.line skipped", "table", map->name, "line", log_u64(line),
		"reason", reason, NULL);
}
