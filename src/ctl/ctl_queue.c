/* SPDX-License-Identifier: MIT */
#include "ctl/ctl_tool.h"

/* The mail queue, through roost-qmgr. */

static const char *const queue_columns[] = {
	"id", "queue", "size", "arrived", "sender", "recipients", "reason", NULL};

static enum err
ask(struct tool *t, const char *verb, json_t *args, const char *const *columns)
{
	json_t *result;
	enum err e = tool_call(t, "qmgr", verb, args, &result);

	if (!e)
		tool_print(t, &result, columns);
	return e;
}

static enum err
ask_with_id(struct tool *t, int argc, char **argv, const char *verb)
{
	struct tool_args a;
	enum err e = tool_args_parse(argc, argv, NULL, 1, 1, &a);

	return e ? e : ask(t, verb, json_pack("{s:s}", "id", a.positional[0]), NULL);
}

static enum err
queue_list(struct tool *t, int argc, char **argv)
{
	struct tool_args a;
	enum err e = tool_args_parse(argc, argv, NULL, 0, 0, &a);

	return e ? e : ask(t, "queue-list", NULL, queue_columns);
}

static enum err
queue_show(struct tool *t, int argc, char **argv)
{
	return ask_with_id(t, argc, argv, "queue-show");
}

static enum err
queue_flush(struct tool *t, int argc, char **argv)
{
	static const struct tool_option options[] = {{"destination", 0}, {0}};
	struct tool_args a;
	json_t *args = json_object();
	enum err e = tool_args_parse(argc, argv, options, 0, 1, &a);

	if (!e && a.count)
		json_object_set_new(args, "id", json_string(a.positional[0]));
	if (!e && a.values[0])
		json_object_set_new(args, "destination", json_string(a.values[0]));
	if (!e)
		return ask(t, "queue-flush", args, NULL);
	json_decref(args);
	return e;
}

static enum err
queue_hold(struct tool *t, int argc, char **argv)
{
	return ask_with_id(t, argc, argv, "queue-hold");
}

static enum err
queue_release(struct tool *t, int argc, char **argv)
{
	return ask_with_id(t, argc, argv, "queue-release");
}

static enum err
queue_delete(struct tool *t, int argc, char **argv)
{
	return ask_with_id(t, argc, argv, "queue-delete");
}

const struct tool_verb tool_verbs_queue[] = {
	{"queue", "list", "", "Lists the messages waiting", queue_list},
	{"queue", "show", "ID", "Shows one message's envelope and what became of it", queue_show},
	{"queue", "flush", "[ID] [--destination DOMAIN]",
		"Tries now: all, one, or one destination's", queue_flush},
	{"queue", "hold", "ID", "Keeps a message back until it is released", queue_hold},
	{"queue", "release", "ID", "Lets a held message go on", queue_release},
	{"queue", "delete", "ID", "Removes a message without a bounce", queue_delete},
	{0},
};
