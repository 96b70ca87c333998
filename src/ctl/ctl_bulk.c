/* SPDX-License-Identifier: MIT */
#include "ctl/ctl_bulk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/io.h"
#include "lib/mem.h"

enum { FILE_MAX = 12 << 20 }; /* as JSON it has to fit into one request */

enum column_type { COLUMN_TEXT, COLUMN_SIZE, COLUMN_FLAG, COLUMN_LIST };

struct column {
	const char *name;
	enum column_type type;
};

struct kind {
	const char *name;
	struct column columns[16];
};

static const struct kind kinds[] = {
	{"user", {{"address", COLUMN_TEXT}, {"password", COLUMN_TEXT},
			 {"password_hash", COLUMN_TEXT}, {"name", COLUMN_TEXT},
			 {"quota_bytes", COLUMN_SIZE}, {"quota_messages", COLUMN_SIZE},
			 {"quota_rules", COLUMN_TEXT}, {"active", COLUMN_FLAG},
			 {"protocols", COLUMN_TEXT}, {"networks", COLUMN_TEXT},
			 {"max_connections", COLUMN_SIZE}, {"max_connections_per_ip", COLUMN_SIZE},
			 {"host", COLUMN_TEXT}, {"acl_groups", COLUMN_TEXT}}},
	{"domain", {{"domain", COLUMN_TEXT}, {"active", COLUMN_FLAG}}},
	{"alias", {{"address", COLUMN_TEXT}, {"targets", COLUMN_LIST}, {"active", COLUMN_FLAG}}},
	{"domain-alias",
		{{"alias", COLUMN_TEXT}, {"target", COLUMN_TEXT}, {"active", COLUMN_FLAG}}},
};

static const struct kind *
kind_of(const char *name)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(kinds[i].name, name) == 0)
			return &kinds[i];
	return NULL;
}

static const struct column *
column_of(const struct kind *kind, const char *name)
{
	for (const struct column *c = kind->columns; c->name; c++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

/* ---- reading CSV ---- */

struct csv {
	const char *p, *end;
	size_t line; /* of the next record */
};

/* One field into out. 1: another one follows in the record. -1: a quote is wrong. */
static int
csv_field(struct csv *c, struct buf *out)
{
	buf_reset(out);
	if (c->p < c->end && *c->p == '"') {
		for (c->p++;; c->p++) {
			if (c->p == c->end)
				return -1;
			if (*c->p == '"' && (c->p + 1 == c->end || c->p[1] != '"'))
				break;
			c->p += *c->p == '"';
			c->line += *c->p == '\n';
			buf_add_char(out, *c->p);
		}
		c->p++;
	} else {
		while (c->p < c->end && !strchr(",\r\n", *c->p))
			buf_add_char(out, *c->p++);
	}
	if (c->p < c->end && *c->p == ',') {
		c->p++;
		return 1;
	}
	if (c->p < c->end && *c->p == '\r')
		c->p++;
	if (c->p < c->end && *c->p != '\n')
		return -1;
	c->p += c->p < c->end;
	c->line++;
	return 0;
}

static json_t *
list_of(const char *text)
{
	struct str rest = str_of(text), word;
	json_t *list = json_array();

	while (rest.len > 0) {
		word = str_split(&rest, ' ');
		if (word.len > 0)
			json_array_append_new(list, json_stringn(word.p, word.len));
	}
	return list;
}

/* A cell; NULL: it is not what the column wants. */
static json_t *
value_of(enum column_type type, const char *text)
{
	uint64_t n;

	switch (type) {
	case COLUMN_TEXT:
		return json_string(text);
	case COLUMN_LIST:
		return list_of(text);
	case COLUMN_SIZE:
		return conf_parse_size(str_of(text), &n) || n > INT64_MAX
			       ? NULL
			       : json_integer((json_int_t)n);
	case COLUMN_FLAG:
		if (strcmp(text, "yes") == 0 || strcmp(text, "no") == 0)
			return json_boolean(*text == 'y');
		return strcmp(text, "true") == 0 || strcmp(text, "false") == 0
			       ? json_boolean(*text == 't')
			       : NULL;
	}
	return NULL;
}

static enum err
csv_header(struct csv *c, const struct kind *kind, const struct column *columns[], size_t *count)
{
	struct buf cell = {0};
	enum err e = OK;
	int more = 1;

	for (*count = 0; more == 1 && !e; (*count)++) {
		more = csv_field(c, &cell);
		columns[*count] = column_of(kind, buf_cstr(&cell));
		if (more < 0 || !columns[*count]) {
			tool_error(
				"line 1: \"%s\" is no column of a %s", buf_cstr(&cell), kind->name);
			e = E_PARSE;
		} else if (more == 1 && *count + 1 == TOOL_OPTIONS_MAX) {
			tool_error("line 1: too many columns");
			e = E_PARSE;
		}
	}
	buf_free(&cell);
	return e;
}

/* One record into row. */
static enum err
csv_record(struct csv *c, const struct column *columns[], size_t count, json_t *row)
{
	size_t line = c->line, n = 0;
	struct buf cell = {0};
	enum err e = OK;
	int more = 1;

	for (; more == 1 && !e; n++) {
		json_t *value = NULL;

		more = csv_field(c, &cell);
		if (more < 0 || n >= count || (more == 0 && n + 1 < count)) {
			/* An empty line is none. */
			if (more == 0 && n == 0 && cell.len == 0)
				break;
			tool_error("line %zu: %s", line,
				more < 0 ? "a quote is out of place"
					 : "it has not as many cells as the first line");
			e = E_PARSE;
		} else if (cell.len > 0) {
			value = value_of(columns[n]->type, buf_cstr(&cell));
			if (!value) {
				tool_error("line %zu: \"%s\" cannot be %s", line, buf_cstr(&cell),
					columns[n]->name);
				e = E_PARSE;
			}
		}
		if (value)
			json_object_set_new(row, columns[n]->name, value);
	}
	buf_wipe(&cell);
	buf_free(&cell);
	return e;
}

static enum err
csv_read(struct str text, const struct kind *kind, json_t *rows)
{
	struct csv c = {text.p, text.p + text.len, 1};
	const struct column *columns[TOOL_OPTIONS_MAX];
	size_t count = 0;
	enum err e;

	if (str_starts_i(text, "\xef\xbb\xbf"))
		c.p += 3;
	e = csv_header(&c, kind, columns, &count);
	while (!e && c.p < c.end) {
		char where[32];
		json_t *row = json_object();

		snprintf(where, sizeof(where), "line %zu", c.line);
		e = csv_record(&c, columns, count, row);
		if (!e && json_object_size(row) > 0) {
			json_object_set_new(row, "where", json_string(where));
			json_array_append(rows, row);
		}
		json_decref(row);
	}
	return e;
}

static enum err
json_read(struct str text, json_t *rows)
{
	json_error_t problem;
	json_t *list = json_loadb(text.p, text.len, 0, &problem), *row;
	enum err e = OK;
	size_t i;

	if (!json_is_array(list)) {
		tool_error("line %d: %s", list ? 1 : problem.line,
			list ? "the file must be a list" : problem.text);
		json_decref(list);
		return E_PARSE;
	}
	json_array_foreach(list, i, row)
	{
		char where[32];

		snprintf(where, sizeof(where), "entry %zu", i + 1);
		if (!json_is_object(row)) {
			tool_error("%s is not an object", where);
			e = E_PARSE;
			break;
		}
		json_object_set_new(row, "where", json_string(where));
		json_array_append(rows, row);
	}
	json_decref(list);
	return e;
}

enum err
bulk_import(struct tool *t, int argc, char **argv, const char *kind)
{
	struct buf text = BUF_INIT(FILE_MAX);
	struct tool_args a;
	json_t *rows = json_array(), *result = NULL;
	size_t len;
	enum err e = tool_args_parse(argc, argv, NULL, 1, 1, &a);

	if (e)
		goto out;
	e = io_read_file(a.positional[0], &text);
	if (e) {
		tool_error("%s: %s", a.positional[0],
			e == E_TOOBIG ? "larger than 12 MB; split it" : err_text(e));
		goto out;
	}
	len = strlen(a.positional[0]);
	if (len > 5 && strcmp(a.positional[0] + len - 5, ".json") == 0)
		e = json_read(buf_str(&text), rows);
	else
		e = csv_read(buf_str(&text), kind_of(kind), rows);
	/* Not the usage: the file is wrong, not the call. */
	if (e) {
		e = E_PROTO;
		goto out;
	}
	e = tool_call(
		t, "auth", "import", json_pack("{s:s, s:O}", "kind", kind, "rows", rows), &result);
	if (!e)
		tool_print(t, &result, NULL);
out:
	json_decref(rows);
	buf_wipe(&text);
	buf_free(&text);
	return e;
}

/* ---- writing ---- */

static void
cell_add(const json_t *value, struct buf *out)
{
	size_t i;
	const json_t *item;

	if (json_is_string(value))
		buf_add_cstr(out, json_string_value(value));
	else if (json_is_integer(value))
		buf_printf(out, "%lld", (long long)json_integer_value(value));
	else if (json_is_boolean(value))
		buf_add_cstr(out, json_is_true(value) ? "yes" : "no");
	json_array_foreach(value, i, item)
	{
		buf_add_cstr(out, i ? " " : "");
		cell_add(item, out);
	}
}

static void
print_cell(const char *text)
{
	if (!strpbrk(text, ",\"\r\n")) {
		fputs(text, stdout);
		return;
	}
	putchar('"');
	for (; *text; text++) {
		if (*text == '"')
			putchar('"');
		putchar(*text);
	}
	putchar('"');
}

static void
print_csv(const json_t *rows, const struct kind *kind, int with_hashes)
{
	struct buf cell = {0};
	size_t i;
	const json_t *row;
	int first = 1;

	for (size_t r = 0; r <= json_array_size(rows); r++) {
		first = 1;
		row = r > 0 ? json_array_get(rows, r - 1) : NULL;
		for (i = 0; kind->columns[i].name; i++) {
			const char *name = kind->columns[i].name;

			if (strcmp(name, "password") == 0 ||
				(!with_hashes && strcmp(name, "password_hash") == 0))
				continue;
			if (!first)
				putchar(',');
			first = 0;
			buf_reset(&cell);
			if (row)
				cell_add(json_object_get(row, name), &cell);
			print_cell(row ? buf_cstr(&cell) : name);
		}
		putchar('\n');
	}
	buf_free(&cell);
}

enum err
bulk_export(struct tool *t, int argc, char **argv, const char *kind)
{
	static const struct tool_option options[] = {{"format", 0}, {"with-hashes", 1}, {0}};
	struct tool_args a;
	json_t *result, *args;
	char *verb;
	enum err e = tool_args_parse(argc, argv, options, 0, 0, &a);

	if (!e && a.values[0] && strcmp(a.values[0], "csv") != 0 &&
		strcmp(a.values[0], "json") != 0) {
		tool_error("--format %s: write csv or json", a.values[0]);
		e = E_PARSE;
	}
	if (e)
		return e;
	args = json_object();
	if (a.values[1])
		json_object_set_new(args, "with_hashes", json_true());
	verb = mem_printf("%s-list", kind);
	e = tool_call(t, "auth", verb, args, &result);
	free(verb);
	if (e)
		return e;
	if (t->json || (a.values[0] && strcmp(a.values[0], "json") == 0)) {
		json_dumpf(result, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		print_csv(result, kind_of(kind), a.values[1] != NULL);
	}
	json_decref(result);
	return OK;
}
