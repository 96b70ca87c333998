/* SPDX-License-Identifier: MIT */
#include "ctl/ctl_tool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "mta-lite/queue_store.h"

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

/* How messages are chosen; the same for every verb. */
enum { OPT_SENDER, OPT_RECIPIENT, OPT_SITE, OPT_OLDER, OPT_NEWER, OPT_QUEUE, OPT_ALL, OPT_ID };
static const struct tool_option selection[] = {{"sender", 0}, {"recipient", 0}, {"site", 0},
	{"older", 0}, {"newer", 0}, {"queue", 0}, {"all", 1}, {"id", 0}, {0}};

static enum err
add_age(json_t *args, const char *key, const char *text)
{
	int64_t ms;

	if (text == NULL)
		return OK;
	if (conf_parse_duration(str_of(text), &ms)) {
		tool_error("%s: not a duration such as 90s, 2h or 3d", text);
		return E_PARSE;
	}
	json_object_set_new(args, key, json_integer((json_int_t)(ms / 1000)));
	return OK;
}

static enum err
read_selection(int argc, char **argv, json_t **out)
{
	static const char *const keys[] = {"sender", "recipient", "destination"};
	json_t *args = json_object(), *ids = json_array();
	struct tool_args a;
	size_t i;
	enum err e = tool_args_parse(argc, argv, selection, 0, TOOL_POSITIONALS_MAX, &a);

	for (i = 0; e == OK && i < a.count; i++)
		json_array_append_new(ids, json_string(a.positional[i]));
	if (e == OK && a.values[OPT_ID])
		json_array_append_new(ids, json_string(a.values[OPT_ID]));
	for (i = 0; e == OK && i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (a.values[i])
			json_object_set_new(args, keys[i], json_string(a.values[i]));
	}
	if (e == OK)
		e = add_age(args, "older", a.values[OPT_OLDER]);
	if (e == OK)
		e = add_age(args, "newer", a.values[OPT_NEWER]);
	if (e == OK && a.values[OPT_QUEUE])
		json_object_set_new(args, "queue", json_string(a.values[OPT_QUEUE]));
	if (e == OK && a.values[OPT_ALL])
		json_object_set_new(args, "all", json_true());
	if (e == OK && json_array_size(ids) > 0)
		json_object_set_new(args, "ids", json_incref(ids));
	json_decref(ids);
	if (e)
		json_decref(args);
	*out = e ? NULL : args;
	return e;
}

static enum err
ask_selected(struct tool *t, int argc, char **argv, const char *verb, const char *const *columns)
{
	json_t *args;
	enum err e = read_selection(argc, argv, &args);

	return e ? e : ask(t, verb, args, columns);
}

static enum err
queue_list(struct tool *t, int argc, char **argv)
{
	return ask_selected(t, argc, argv, "queue-list", queue_columns);
}

static enum err
queue_show(struct tool *t, int argc, char **argv)
{
	struct tool_args a;
	enum err e = tool_args_parse(argc, argv, NULL, 1, 1, &a);

	return e ? e : ask(t, "queue-show", json_pack("{s:s}", "id", a.positional[0]), NULL);
}

static enum err
copy_out(int fd, uint64_t offset, uint64_t left)
{
	char chunk[64 * 1024];

	while (left > 0) {
		size_t want = left < sizeof(chunk) ? (size_t)left : sizeof(chunk);
		ssize_t n = pread(fd, chunk, want, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || fwrite(chunk, 1, (size_t)n, stdout) != (size_t)n)
			return E_IO;
		offset += (uint64_t)n;
		left -= (uint64_t)n;
	}
	return fflush(stdout) == 0 ? OK : E_IO;
}

/* The file itself is read: a message may be larger than an answer of qmgr. */
static enum err
queue_cat(struct tool *t, int argc, char **argv)
{
	struct queue_entry entry;
	struct tool_args a;
	enum err e = tool_args_parse(argc, argv, NULL, 1, 1, &a);
	int dir, fd = -1;

	if (e)
		return e;
	if (!queue_id_valid(str_of(a.positional[0]))) {
		tool_error("%s is no queue id", a.positional[0]);
		return E_PARSE;
	}
	e = E_NOTFOUND;
	/* It may move while it is looked for. */
	for (dir = 0; dir < 2 * QUEUE_DIR_COUNT && e == E_NOTFOUND; dir++)
		e = queue_store_open(t->conf, (enum queue_dir)(dir % QUEUE_DIR_COUNT),
			a.positional[0], O_RDONLY, &fd);
	if (e == OK) {
		e = queue_file_load(fd, a.positional[0], &entry);
		if (e == OK) {
			e = copy_out(fd, entry.content_offset, entry.content_len);
			queue_entry_free(&entry);
		}
		close(fd);
	}
	if (e)
		tool_error("message %s: %s", a.positional[0], err_text(e));
	return e;
}

static enum err
queue_flush(struct tool *t, int argc, char **argv)
{
	return ask_selected(t, argc, argv, "queue-flush", NULL);
}

static enum err
queue_hold(struct tool *t, int argc, char **argv)
{
	return ask_selected(t, argc, argv, "queue-hold", NULL);
}

static enum err
queue_release(struct tool *t, int argc, char **argv)
{
	return ask_selected(t, argc, argv, "queue-release", NULL);
}

static enum err
queue_requeue(struct tool *t, int argc, char **argv)
{
	return ask_selected(t, argc, argv, "queue-requeue", NULL);
}

static enum err
queue_delete(struct tool *t, int argc, char **argv)
{
	return ask_selected(t, argc, argv, "queue-delete", NULL);
}

#define WHICH                                                                                      \
	"[--sender A] [--recipient A] [--site DOMAIN] [--older AGE] [--newer AGE] [--queue NAME]"

const struct tool_verb tool_verbs_queue[] = {
	{"queue", "list", WHICH, "Lists the messages waiting, or those chosen", queue_list},
	{"queue", "show", "ID", "Shows one message's envelope and what became of it", queue_show},
	{"queue", "cat", "ID", "Prints one message's header and text", queue_cat},
	{"queue", "flush", "[ID...] " WHICH, "Tries now: all, or those chosen", queue_flush},
	{"queue", "hold", "ID... | --all | " WHICH, "Keeps messages back until they are released",
		queue_hold},
	{"queue", "release", "ID... | --all | " WHICH, "Lets held messages go on", queue_release},
	{"queue", "requeue", "ID... | --all | " WHICH,
		"Begins anew with them: routes, back-off; held ones too", queue_requeue},
	{"queue", "delete", "ID... | --all | " WHICH, "Removes messages without a bounce",
		queue_delete},
	{0},
};
