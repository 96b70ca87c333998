/* SPDX-License-Identifier: MIT */
#include "mta-lite/map_sql.h"

#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/map_text.h"
#include "mta-lite/words.h"

enum { MAP_SQL_QUERY_MAX = 64 * 1024 };

/* ---- the file ---- */

const char *
map_sql_setting(const struct map_sql *sql, const char *name)
{
	size_t i;

	for (i = 0; i < sql->setting_count; i++) {
		if (strcmp(sql->settings[i].name, name) == 0)
			return sql->settings[i].value;
	}
	return NULL;
}

static void
parse(struct map_sql *sql, const struct map *map, struct str text)
{
	struct map_lines lines = {.rest = text};
	unsigned number;
	struct str line;

	while (map_lines_next(&lines, &line, &number)) {
		struct str name = str_split(&line, '=');
		struct map_sql_setting *s;

		if (line.p == NULL) {
			map_warn(map, number, "no \"name = value\"");
			continue;
		}
		sql->settings =
			mem_realloc(sql->settings, sql->setting_count + 1, sizeof(*sql->settings));
		s = &sql->settings[sql->setting_count++];
		s->name = str_dup(str_trim(name));
		s->value = str_dup(str_trim(line));
	}
	map_lines_fini(&lines);
}

/* The older way to say it: columns and a table, or a function. */
static char *
older_query(const struct map_sql *sql)
{
	const char *function = map_sql_setting(sql, "select_function");
	const char *table = map_sql_setting(sql, "table");
	const char *select = map_sql_setting(sql, "select_field");
	const char *where = map_sql_setting(sql, "where_field");
	const char *more = map_sql_setting(sql, "additional_conditions");

	if (function)
		return mem_printf("SELECT %s('%%s')", function);
	if (table && select && where)
		return mem_printf("SELECT %s FROM %s WHERE %s = '%%s' %s", select, table, where,
			more ? more : "");
	return NULL;
}

static void
take_domains(struct map_sql *sql, const char *text)
{
	struct str rest = str_of(text), word;

	while (words_next(&rest, &word, NULL)) {
		sql->domains.items = mem_realloc(
			sql->domains.items, sql->domains.count + 1, sizeof(*sql->domains.items));
		sql->domains.items[sql->domains.count++] = str_dup(word);
	}
}

static const char *
take_settings(struct map_sql *sql)
{
	const char *text = map_sql_setting(sql, "query");
	uint32_t limit = 0;

	sql->query = text ? mem_strdup(text) : older_query(sql);
	text = map_sql_setting(sql, "result_format");
	sql->result_format = mem_strdup(text ? text : "%s");
	text = map_sql_setting(sql, "expansion_limit");
	if (text && str_to_u32(str_of(text), &limit))
		return "expansion_limit is no number";
	sql->expansion_limit = limit;
	text = map_sql_setting(sql, "domain");
	if (text)
		take_domains(sql, text);
	return sql->query ? NULL : "it has no query";
}

enum err
map_sql_open(struct map_sql *sql, struct map *map, struct str argument, struct buf *why)
{
	struct map_text file = {0};
	struct buf text = {0};
	const char *problem;

	if (argument.len == 0) {
		buf_printf(why, "'%s' names no file", map->name);
		return E_PARSE;
	}
	sql->path = map_path(map->conf, argument);
	file.path = sql->path;
	/* Read once, as root: it may hold a password. */
	if (map_text_changed(&file, map, &text)) {
		parse(sql, map, buf_str(&text));
		problem = take_settings(sql);
		if (problem)
			log_event(LOGL_ERROR, "map.file malformed", "table", map->name, "reason",
				problem, NULL);
		sql->readable = problem == NULL;
	}
	buf_wipe(&text);
	buf_free(&text);
	return OK;
}

void
map_sql_fini(struct map_sql *sql)
{
	size_t i;

	for (i = 0; i < sql->setting_count; i++) {
		free(sql->settings[i].name);
		free(sql->settings[i].value);
	}
	free(sql->settings);
	for (i = 0; i < sql->domains.count; i++)
		free(sql->domains.items[i]);
	free((void *)sql->domains.items);
	free(sql->query);
	free(sql->result_format);
	free(sql->path);
}

/* ---- formats ---- */

/* user@domain in two; without "@" all of it is the user and there is no domain. */
static void
split_address(struct str s, struct str *user, struct str *domain)
{
	size_t at = s.len;

	while (at > 0 && s.p[at - 1] != '@')
		at--;
	*user = at > 0 ? str_make(s.p, at - 1) : s;
	*domain = at > 0 ? str_make(s.p + at, s.len - at) : str_make(NULL, 0);
}

/* Component n of a domain, 1 being the last. Empty: it has fewer. */
static struct str
domain_component(struct str domain, unsigned n)
{
	size_t end = domain.len, start;

	for (;; n--) {
		start = end;
		while (start > 0 && domain.p[start - 1] != '.')
			start--;
		if (n == 1)
			return str_make(domain.p + start, end - start);
		if (start == 0)
			return str_make(NULL, 0);
		end = start - 1;
	}
}

/* What "%c" stands for. 0: nothing, and then the whole does not count. */
static int
part_for(char c, struct str key, struct str cell, struct str *out)
{
	struct str user, domain;
	int upper = c >= 'A' && c <= 'Z';

	split_address(upper || str_is_digit(c) ? key : cell, &user, &domain);
	switch (str_lower(c)) {
	case 's':
		*out = upper ? key : cell;
		break;
	case 'u':
		*out = user;
		break;
	case 'd':
		*out = domain;
		break;
	default:
		*out = domain_component(domain, (unsigned)(c - '0'));
		break;
	}
	return out->len > 0;
}

static int
is_part(char c)
{
	return c != '\0' && strchr("sudSUD123456789", c) != NULL;
}

/* Puts the parts of key and cell into format. 0: one of them is missing. */
static int
expand(const char *format, struct str key, struct str cell, map_sql_escape escape, void *arg,
	struct buf *out)
{
	const char *p;

	for (p = format; *p; p++) {
		struct str part;

		if (*p != '%' || p[1] == '\0') {
			buf_add_char(out, *p);
			continue;
		}
		p++;
		if (!is_part(*p)) {
			/* "%%", and what pgsql_table(5) gives no meaning stays. */
			if (*p != '%')
				buf_add_char(out, '%');
			buf_add_char(out, *p);
			continue;
		}
		if (!part_for(*p, key, cell, &part))
			return 0;
		if (escape == NULL)
			buf_add_str(out, part);
		else if (escape(arg, part, out) != OK)
			out->err = E_TEMPFAIL;
	}
	return 1;
}

static int
domain_matches(const struct map_sql *sql, struct str key)
{
	struct str user, domain;

	if (sql->domains.count == 0)
		return 1;
	split_address(key, &user, &domain);
	return user.len > 0 && domain.len > 0 && conf_list_has(&sql->domains, domain);
}

enum err
map_sql_query(const struct map_sql *sql, struct str key, map_sql_escape escape, void *arg,
	struct buf *out)
{
	buf_reset(out);
	out->max = MAP_SQL_QUERY_MAX;
	if (!domain_matches(sql, key))
		return E_NOTFOUND;
	/* Of a query the value is the key. */
	if (!expand(sql->query, key, key, escape, arg, out))
		return E_NOTFOUND;
	return out->err ? E_TEMPFAIL : OK;
}

void
map_sql_add(const struct map_sql *sql, struct map_sql_result *r, struct str key, struct str cell,
	struct buf *value)
{
	size_t before = value->len;

	if (cell.len == 0)
		return;
	if (sql->expansion_limit && r->count >= sql->expansion_limit) {
		r->err = E_TEMPFAIL;
		return;
	}
	if (r->count > 0)
		buf_add_char(value, ',');
	if (expand(sql->result_format, key, cell, NULL, NULL, value))
		r->count++;
	else
		buf_truncate(value, before);
}
