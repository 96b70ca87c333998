/* SPDX-License-Identifier: MIT */
#include "ctl/ctl_tool.h"

/* The directory's database as a whole: through roost-auth, the only one who touches it. */

static enum err
ask(struct tool *t, const char *verb, json_t *args)
{
	json_t *result = NULL;
	enum err e = tool_call(t, "auth", verb, args, &result);

	if (!e)
		tool_print(t, &result, NULL);
	return e;
}

static enum err
db_schema(struct tool *t, int argc, char **argv)
{
	struct tool_args a;
	enum err e = tool_args_parse(argc, argv, NULL, 0, 0, &a);

	return e ? e : ask(t, "db-schema", json_object());
}

static enum err
cache_flush(struct tool *t, int argc, char **argv)
{
	struct tool_args a;
	enum err e = tool_args_parse(argc, argv, NULL, 0, 1, &a);

	if (e)
		return e;
	return ask(t, "cache-flush",
		a.count ? json_pack("{s:s}", "user", a.positional[0]) : json_object());
}

const struct tool_verb tool_verbs_database[] = {
	{"db", "init", "",
		"Makes the tables where there are none, and says what there is; roost-auth does so by itself, too",
		db_schema},
	{"db", "upgrade", "",
		"Brings older tables to the form of this version, and says what there is; roost-auth does so by itself, too",
		db_schema},
	{"cache-flush", NULL, "[ADDRESS]",
		"After a change in the database that nobody told of: forgets passwords that were good, answers and delays",
		cache_flush},
	{0},
};
