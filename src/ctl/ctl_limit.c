/* SPDX-License-Identifier: MIT */
#include "ctl/ctl_tool.h"

/* What users have sent, and the limits of that; kept beside the queue, so roost-qmgr answers. */

static const char *const columns[] = {
	"user", "hour", "hour_limit", "day", "day_limit", "over", NULL};

static enum err
limit_list(struct tool *t, int argc, char **argv)
{
	struct tool_args a;
	json_t *result, *args;
	enum err e = tool_args_parse(argc, argv, NULL, 0, 1, &a);

	if (e)
		return e;
	args = a.count ? json_pack("{s:s}", "user", a.positional[0]) : json_object();
	e = tool_call(t, "qmgr", "limit-list", args, &result);
	if (!e)
		tool_print(t, &result, columns);
	return e;
}

static enum err
limit_reset(struct tool *t, int argc, char **argv)
{
	static const struct tool_option options[] = {{"all", 1}, {0}};
	struct tool_args a;
	json_t *result, *args;
	enum err e = tool_args_parse(argc, argv, options, 0, 1, &a);

	if (e)
		return e;
	args = json_object();
	if (a.count)
		json_object_set_new(args, "user", json_string(a.positional[0]));
	if (a.values[0])
		json_object_set_new(args, "all", json_true());
	e = tool_call(t, "qmgr", "limit-reset", args, &result);
	if (!e)
		tool_print(t, &result, NULL);
	return e;
}

const struct tool_verb tool_verbs_limit[] = {
	{"limit", "list", "[USER]", "Shows how many recipients users have sent to", limit_list},
	{"limit", "reset", "USER | --all", "Lets a user who is over a limit send again",
		limit_reset},
	{0},
};
