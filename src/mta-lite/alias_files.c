/* SPDX-License-Identifier: MIT */
#include "mta-lite/alias_files.h"

#include <stdlib.h>

#include "lib/io.h"
#include "lib/mem.h"
#include "mta-lite/alias_list.h"
#include "mta-lite/map_text.h"

/* Types whose file is one of aliases(5); a path alone is one, too. */
static const char *const file_types[] = {
	"aliases", "file", "texthash", "hash", "btree", "dbm", "cdb"};
static const char *const refused_types[] = {"regexp", "pcre", "cidr", "tcp"};

static int
is_one_of(struct str type, const char *const *list, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if (str_is_i(type, list[i]))
			return 1;
	}
	return 0;
}

void
aliases_table_name(struct str name, struct buf *out)
{
	struct str rest = name, type;

	if (str_starts_i(rest, "proxy:"))
		rest = str_make(rest.p + 6, rest.len - 6);
	name = rest;
	type = str_split(&rest, ':');
	buf_reset(out);
	if (name.len > 0 && name.p[0] == '/') {
		buf_add_cstr(out, "aliases:");
		buf_add_str(out, name);
	} else if (rest.p &&
		   is_one_of(type, file_types, sizeof(file_types) / sizeof(*file_types))) {
		buf_add_cstr(out, "aliases:");
		buf_add_str(out, rest);
	} else {
		buf_add_str(out, name);
	}
}

int
aliases_table_is_refused(struct str name)
{
	return is_one_of(str_split(&name, ':'), refused_types,
		sizeof(refused_types) / sizeof(*refused_types));
}

/* ---- what is wrong in them ---- */

struct reading {
	const struct alias_check *check;
	const char *path;
	size_t names;
};

static void
count_name(void *arg, struct str name, struct str list, unsigned line)
{
	struct reading *r = arg;

	(void)name;
	(void)list;
	(void)line;
	r->names++;
}

static void
pass_problem(void *arg, unsigned line, const char *why)
{
	const struct reading *r = arg;

	r->check->problem(r->check->arg, r->path, line, why);
}

static void
check_file(const struct config *conf, struct str name, const struct alias_check *c)
{
	char *path = map_path(conf, name);
	struct reading r = {c, path, 0};
	const struct alias_reader reader = {count_name, pass_problem, &r};
	struct buf text = BUF_INIT(MAP_FILE_MAX);
	enum err e = io_read_file(path, &text);

	if (!e)
		alias_text_read(buf_str(&text), &reader);
	c->file(c->arg, path, r.names, e);
	buf_free(&text);
	free(path);
}

void
aliases_check(const struct config *conf, const struct alias_check *c)
{
	for (size_t i = 0; i < conf->alias_maps.count; i++) {
		struct buf name = {0};
		struct str rest, type;

		aliases_table_name(str_of(conf->alias_maps.items[i]), &name);
		rest = buf_str(&name);
		type = str_split(&rest, ':');
		if (str_is_i(type, "aliases"))
			check_file(conf, rest, c);
		buf_free(&name);
	}
}
