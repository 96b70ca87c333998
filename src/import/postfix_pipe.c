/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "import/postfix_pipe.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/mem.h"
#include "mta-lite/pipe_transport.h"

/* What Postfix has in main.cf for one transport, and what it is in an item. */
static const char *const limits[][2] = {
	{"_destination_recipient_limit", "recipient_limit"}, {"_time_limit", "time_limit"}};
enum { LIMITS = sizeof(limits) / sizeof(limits[0]) };

static int
is_pipe(const struct postfix_service *s)
{
	return strcmp(s->command, "pipe") == 0;
}

static void
make_item(const struct postfix_main *m, const struct postfix_service *s, struct buf *item)
{
	struct str rest = str_of(s->arguments);
	size_t i;

	buf_add_cstr(item, s->name);
	for (i = 0; i < LIMITS; i++) {
		char *name = mem_printf("%s%s", s->name, limits[i][0]);
		const char *value = postfix_main_get(m, name);

		if (value)
			buf_printf(item, " %s=%s", limits[i][1], value);
		free(name);
	}
	/* Options of all programs of Postfix's come first. */
	while (str_starts_i(rest, "-")) {
		struct str option = postfix_cut_word(&rest);

		if (str_is(option, "-o"))
			(void)postfix_cut_word(&rest);
	}
	buf_printf(item, " %.*s", STR_ARG(rest));
}

static int
is_named(const struct postfix_service *s, const char *wanted)
{
	struct str rest = str_of(wanted);

	return str_is(str_split(&rest, ':'), s->name);
}

/* OK; or *why says why not. */
static enum err
check(const struct postfix_service *s, const char *wanted, struct str item, struct buf *why)
{
	struct pipe_transport t;
	enum err e = pipe_transport_parse(item, &t, why);
	struct str rest;
	char *program;

	if (e)
		return e;
	rest = t.argv;
	program = str_dup(postfix_cut_word(&rest));
	if (!is_named(s, wanted) && access(program, X_OK) != 0) {
		buf_printf(why, "%s is not on this machine", program);
		e = E_NOTFOUND;
	}
	free(program);
	return e;
}

int
postfix_pipe_is_written(
	const struct postfix_main *main_cf, const struct postfix_service *s, const char *wanted)
{
	struct buf item = {0}, why = {0};
	int good;

	if (!is_pipe(s))
		return 0;
	make_item(main_cf, s, &item);
	good = check(s, wanted, buf_str(&item), &why) == OK;
	buf_free(&item);
	buf_free(&why);
	return good;
}

void
postfix_pipe_write(const struct postfix_main *main_cf, const struct postfix_master *master_cf,
	const char *wanted, struct buf *conf, struct buf *left)
{
	size_t i, n = 0;

	for (i = 0; i < master_cf->count; i++) {
		const struct postfix_service *s = &master_cf->v[i];
		struct buf item = {0}, why = {0};

		if (is_pipe(s)) {
			make_item(main_cf, s, &item);
			if (check(s, wanted, buf_str(&item), &why)) {
				buf_printf(left, "master.cf %s: %s\n", s->name, buf_cstr(&why));
			} else {
				buf_add_cstr(conf, n++ ? ", " : "pipe_transports = {");
				postfix_quote(buf_str(&item), conf);
			}
		}
		buf_free(&item);
		buf_free(&why);
	}
	if (n > 0)
		buf_add_cstr(conf, "}\n");
}

int
postfix_pipe_has_setting(const struct postfix_master *master_cf, const char *setting)
{
	size_t i, k;

	for (i = 0; i < master_cf->count; i++) {
		const struct postfix_service *s = &master_cf->v[i];
		size_t len = strlen(s->name);

		if (!is_pipe(s) || strncmp(setting, s->name, len) != 0)
			continue;
		for (k = 0; k < LIMITS; k++) {
			if (strcmp(setting + len, limits[k][0]) == 0)
				return 1;
		}
	}
	return 0;
}
