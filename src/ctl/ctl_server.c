/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ctl/ctl_tool.h"
#include "lib/ctl.h"
#include "lib/mem.h"

/* The server as a whole. */

static const char *const status_columns[] = {
	"service", "pid", "uptime_s", "sessions", "state", NULL};
static const char *const who_columns[] = {"session", "user", "protocol", "address", "tls_text",
	"since_text", "bytes_in", "bytes_out", "detail", NULL};

/* Who knows who is logged in: parents of sessions, and the keeper of those that sleep. */
static const char *const session_services[] = {"imap", "idle", "pop3", "lmtp", "smtpd", NULL};

/* Calls each for every service that has a control socket, in order of their names. */
static enum err
each_service(struct tool *t, void (*each)(struct tool *, const char *, void *), void *arg)
{
	char *path = conf_run_path(t->conf, "");
	struct dirent **entries;
	int n = scandir(path, &entries, NULL, alphasort);

	if (n < 0) {
		enum err e = err_from_errno(errno);

		tool_error("%s: %s; is Roost running? Start it with \"roost -c FILE\"", path,
			strerror(errno));
		free(path);
		return e == E_NOTFOUND ? E_TEMPFAIL : e;
	}
	for (int i = 0; i < n; i++) {
		if (strncmp(entries[i]->d_name, "ctl-", 4) == 0)
			each(t, entries[i]->d_name + 4, arg);
		free(entries[i]);
	}
	free(entries);
	free(path);
	return OK;
}

struct status_list {
	json_t *rows;
	unsigned failed;
};

static void
status_add(struct tool *t, const char *service, void *arg)
{
	struct status_list *list = arg;
	json_t *result;
	char *message;

	if (ctl_call(t->conf, service, "status", NULL, &result, &message) == OK) {
		json_object_set_new(result, "state", json_string("running"));
	} else {
		result = json_pack(
			"{s:s, s:s, s:s}", "service", service, "state", "down", "message", message);
		free(message);
		list->failed++;
	}
	json_array_append_new(list->rows, result);
}

static enum err
server_status(struct tool *t, int argc, char **argv)
{
	struct status_list list = {.rows = json_array()};
	struct tool_args a;
	enum err e = tool_args_parse(argc, argv, NULL, 0, 0, &a);

	if (!e)
		e = each_service(t, status_add, &list);
	if (!e)
		tool_print(t, &list.rows, status_columns);
	json_decref(list.rows);
	if (!e && list.failed) {
		tool_error("%u services do not answer", list.failed);
		e = E_TEMPFAIL;
	}
	return e;
}

static enum err
server_who(struct tool *t, int argc, char **argv)
{
	json_t *all = json_array(), *rows, *row;
	struct tool_args a;
	enum err e = tool_args_parse(argc, argv, NULL, 0, 0, &a);

	for (size_t i = 0; !e && session_services[i]; i++) {
		size_t k;

		e = tool_call(t, session_services[i], "who", NULL, &rows);
		if (e)
			break;
		json_array_foreach(rows, k, row)
		{
			tool_add_time_text(row, "since");
			json_array_append(all, row);
		}
		json_decref(rows);
	}
	if (!e)
		tool_print(t, &all, who_columns);
	json_decref(all);
	return e;
}

static enum err
server_kick(struct tool *t, int argc, char **argv)
{
	struct tool_args a;
	json_int_t kicked = 0;
	json_t *result;
	enum err e = tool_args_parse(argc, argv, NULL, 1, 1, &a);

	for (size_t i = 0; !e && session_services[i]; i++) {
		const char *key = strchr(a.positional[0], '@') ? "user" : "session";

		e = tool_call(t, session_services[i], "kick",
			json_pack("{s:s}", key, a.positional[0]), &result);
		if (e)
			break;
		kicked += json_integer_value(json_object_get(result, "kicked"));
		json_decref(result);
	}
	if (e)
		return e;
	result = json_pack("{s:I}", "kicked", kicked);
	tool_print(t, &result, NULL);
	if (!kicked)
		tool_error("no session of %s", a.positional[0]);
	return kicked ? OK : E_NOTFOUND;
}

static enum err
ask_master(struct tool *t, int argc, char **argv, const char *verb)
{
	struct tool_args a;
	json_t *result;
	enum err e = tool_args_parse(argc, argv, NULL, 0, 0, &a);

	if (!e)
		e = tool_call(t, "master", verb, NULL, &result);
	if (!e)
		tool_print(t, &result, NULL);
	return e;
}

static enum err
server_reload(struct tool *t, int argc, char **argv)
{
	return ask_master(t, argc, argv, "reload");
}

static enum err
server_stop(struct tool *t, int argc, char **argv)
{
	return ask_master(t, argc, argv, "stop");
}

const struct tool_verb tool_verbs_server[] = {
	{"who", NULL, "",
		"Shows the sessions: user, protocol, address, TLS, since when, bytes in and out",
		server_who},
	{"kick", NULL, "ADDRESS|SESSION", "Ends the sessions of a user, or one session",
		server_kick},
	{"status", NULL, "", "Shows the services", server_status},
	{"reload", NULL, "", "Reads the configuration file again; no session is dropped",
		server_reload},
	{"stop", NULL, "", "Stops Roost in good order", server_stop},
	{0},
};
