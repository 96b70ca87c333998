/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "import/import_verbs.h"
#include "import/postfix_translate.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

/* `roostctl import postfix`: roost.conf out of a Postfix's configuration. */

static enum err
read_file(const char *dir, const char *name, int may_lack, struct buf *out)
{
	char *path = mem_printf("%s/%s", dir, name);
	enum err e = io_read_file(path, out);

	if (e == E_NOTFOUND && may_lack)
		e = OK;
	else if (e)
		tool_error("%s: %s", path, e == E_TOOBIG ? err_text(e) : log_errno(errno));
	free(path);
	return e;
}

static void
print_text(const char *dir, const struct buf *conf, struct buf *left)
{
	struct str rest = buf_str(left);

	printf("# Made by roostctl import postfix from %s.\n", dir);
	fwrite(conf->p, 1, conf->len, stdout);
	if (left->len > 0)
		puts("\n# Not carried over, or to be found elsewhere:");
	while (rest.p != NULL) {
		struct str line = str_split(&rest, '\n');

		if (line.len > 0)
			printf("#   %.*s\n", STR_ARG(line));
	}
}

static void
print_json(const struct buf *conf, const struct buf *left)
{
	json_t *lines = json_array(), *result;
	struct str rest = buf_str(left);

	while (rest.p != NULL) {
		struct str line = str_split(&rest, '\n');

		if (line.len > 0)
			json_array_append_new(lines, json_stringn(line.p, line.len));
	}
	result = json_pack("{s:s#, s:o}", "conf", conf->p ? conf->p : "", (int)conf->len,
		"not_carried_over", lines);
	if (result)
		json_dumpf(result, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(result);
}

enum err
import_postfix(struct tool *t, int argc, char **argv)
{
	struct buf text = BUF_INIT(POSTFIX_FILE_MAX), master = BUF_INIT(POSTFIX_FILE_MAX);
	struct buf conf = {0}, left = {0};
	struct postfix_main m = {0};
	struct postfix_master services = {0};
	struct tool_args args;
	enum err e = tool_args_parse(argc, argv, NULL, 1, 1, &args);

	if (e)
		return e;
	e = read_file(args.positional[0], "main.cf", 0, &text);
	if (e == OK)
		e = read_file(args.positional[0], "master.cf", 1, &master);
	if (e == OK) {
		postfix_main_parse(buf_str(&text), &m, &left);
		postfix_master_parse(buf_str(&master), &services, &left);
		postfix_translate(&m, &services, &conf, &left);
		if (t->json)
			print_json(&conf, &left);
		else
			print_text(args.positional[0], &conf, &left);
	}
	postfix_main_free(&m);
	postfix_master_free(&services);
	buf_free(&text);
	buf_free(&master);
	buf_free(&conf);
	buf_free(&left);
	return e;
}
