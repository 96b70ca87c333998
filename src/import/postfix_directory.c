/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "import/postfix_directory.h"

#include <stdlib.h>
#include <string.h>

#include "lib/io.h"
#include "lib/mem.h"

/* ---- the table's file ---- */

/* "proxy:pgsql:/etc/postfix/x.cf": the file; empty: another kind of table. */
static struct str
pgsql_file(struct str table)
{
	while (str_starts_i(table, "proxy:"))
		table = str_make(table.p + 6, table.len - 6);
	if (!str_starts_i(table, "pgsql:"))
		return str_make(NULL, 0);
	return str_make(table.p + 6, table.len - 6);
}

static enum err
read_table(struct str file, struct postfix_main *out, struct buf *problems)
{
	struct buf text = BUF_INIT(POSTFIX_FILE_MAX);
	char *path = str_dup(file);
	enum err e = io_read_file(path, &text);

	free(path);
	if (e == OK)
		postfix_main_parse(buf_str(&text), out, problems);
	buf_wipe(&text);
	buf_free(&text);
	return e;
}

/* Whether one of the settings that make the query has this name in it. */
static int
asks_for(const struct postfix_main *t, const char *name)
{
	static const char *const settings[] = {"query", "table", "select_field", "where_field"};
	size_t i;

	for (i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		const char *p = postfix_main_get(t, settings[i]);

		for (; p != NULL && *p != '\0'; p++) {
			size_t n = 0;

			while (str_is_alnum(p[n]) || p[n] == '_')
				n++;
			if (str_is_i(str_make(p, n), name))
				return 1;
			if (n > 0)
				p += n - 1;
		}
	}
	return 0;
}

/* ---- the connection ---- */

/* One value of a libpq connection string. */
static void
put_value(struct buf *dsn, const char *name, const char *value)
{
	const char *p;

	if (value == NULL || value[0] == '\0')
		return;
	buf_printf(dsn, "%s%s='", dsn->len > 0 ? " " : "", name);
	for (p = value; *p != '\0'; p++) {
		if (*p == '\'' || *p == '\\')
			buf_add_char(dsn, '\\');
		buf_add_char(dsn, *p);
	}
	buf_add_char(dsn, '\'');
}

/* "host", "host:port", "inet:host:port", "unix:/directory"; one after the other in both lists. */
static void
put_host(struct str word, struct buf *hosts, struct buf *ports)
{
	size_t colon;

	if (str_starts_i(word, "inet:"))
		word = str_make(word.p + 5, word.len - 5);
	if (str_starts_i(word, "unix:"))
		word = str_make(word.p + 5, word.len - 5);
	colon = word.p[0] == '/' ? word.len : str_find(word, 0, ':');
	buf_printf(hosts, "%s%.*s", hosts->len > 0 ? "," : "", (int)colon, word.p);
	buf_printf(ports, "%s", ports->len > 0 ? "," : "");
	if (colon < word.len)
		buf_printf(ports, "%.*s", (int)(word.len - colon - 1), word.p + colon + 1);
	else
		buf_add_cstr(ports, "5432");
}

static char *
connection_of(const struct postfix_main *t)
{
	const char *hosts = postfix_main_get(t, "hosts"), *dbname = postfix_main_get(t, "dbname");
	struct buf host = {0}, port = {0}, dsn = {0};
	struct str rest = str_of(hosts ? hosts : "localhost"), word;

	if (dbname == NULL)
		return NULL;
	/* They may be URIs, which say everything. */
	if (strstr(dbname, "://") != NULL)
		return mem_strdup(dbname);
	if (hosts && strstr(hosts, "://") != NULL)
		return mem_strdup(hosts);
	while (postfix_next_word(&rest, &word))
		put_host(word, &host, &port);
	put_value(&dsn, "host", buf_cstr(&host));
	put_value(&dsn, "port", buf_cstr(&port));
	put_value(&dsn, "dbname", dbname);
	put_value(&dsn, "user", postfix_main_get(t, "user"));
	put_value(&dsn, "password", postfix_main_get(t, "password"));
	buf_free(&host);
	buf_free(&port);
	return buf_steal(&dsn);
}

/* ---- all of it ---- */

static void
take_table(struct str file, struct postfix_directory *out, struct buf *left)
{
	struct postfix_main t = {0};
	enum err e = read_table(file, &t, left);

	out->file = str_dup(file);
	if (e) {
		buf_printf(left,
			"%s: it cannot be read, so the database of the users is unknown: %s\n",
			out->file, err_text(e));
		return;
	}
	out->dsn = connection_of(&t);
	out->postfixadmin = asks_for(&t, "mailbox") && asks_for(&t, "username");
	postfix_main_free(&t);
}

void
postfix_directory_find(
	const struct postfix_main *m, struct postfix_directory *out, struct buf *left)
{
	const char *tables = postfix_main_get(m, "virtual_mailbox_maps");
	struct buf value = BUF_INIT(POSTFIX_VALUE_MAX);
	struct str rest, word;

	*out = (struct postfix_directory){0};
	if (tables == NULL || postfix_main_expand(m, str_of(tables), &value)) {
		buf_free(&value);
		return;
	}
	rest = buf_str(&value);
	while (out->file == NULL && postfix_next_word(&rest, &word)) {
		word = pgsql_file(word);
		if (word.len > 0)
			take_table(word, out, left);
	}
	buf_free(&value);
}

void
postfix_directory_free(struct postfix_directory *d)
{
	free(d->file);
	free(d->dsn);
	*d = (struct postfix_directory){0};
}

int
postfix_directory_covers(const struct postfix_directory *d, struct str table)
{
	struct str file = pgsql_file(table);
	struct postfix_main t = {0};
	struct buf problems = {0};
	int covers;

	if (!d->postfixadmin || file.len == 0 || read_table(file, &t, &problems))
		return 0;
	covers = asks_for(&t, "alias") && asks_for(&t, "goto");
	postfix_main_free(&t);
	buf_free(&problems);
	return covers;
}
