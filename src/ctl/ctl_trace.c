/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ctl/ctl_tool.h"
#include "lib/io.h"
#include "lib/net.h"

/* roostctl trace: fetches, a few times a second, what the sessions in question have said and heard.
 */

enum { LOOK_MS = 200 };

static const char *const services[] = {"imap", "pop3", "lmtp", "smtpd", NULL};
enum { SERVICES = sizeof(services) / sizeof(services[0]) - 1 };

static volatile sig_atomic_t end_asked;

static void
on_signal(int signum)
{
	(void)signum;
	end_asked = 1;
}

struct watch {
	FILE *out;
	json_int_t ids[SERVICES];
	size_t started;
};

/* A user's address, an IP address or a network of such, or a session's id. */
static const char *
kind_of(const char *what)
{
	struct net_cidr network;

	if (strchr(what, '@'))
		return "user";
	return net_cidr_parse(str_of(what), &network) == OK ? "network" : "session";
}

static enum err
start(struct tool *t, const char *what, int content, struct watch *w)
{
	for (; w->started < SERVICES; w->started++) {
		json_t *result;
		enum err e = tool_call(t, services[w->started], "trace-start",
			json_pack("{s:s, s:b}", kind_of(what), what, "content", content), &result);

		if (e)
			return e;
		w->ids[w->started] = json_integer_value(json_object_get(result, "trace"));
		json_decref(result);
	}
	return OK;
}

static enum err
fetch(struct tool *t, struct watch *w)
{
	for (size_t i = 0; i < SERVICES; i++) {
		json_t *result, *line;
		size_t k;
		json_int_t lost;
		enum err e = tool_call(t, services[i], "trace-read",
			json_pack("{s:I}", "trace", w->ids[i]), &result);

		if (e)
			return e;
		json_array_foreach(json_object_get(result, "lines"), k, line)
		{
			if (t->json) {
				json_dumpf(line, w->out, JSON_ENCODE_ANY);
				fputc('\n', w->out);
			} else {
				fprintf(w->out, "%s\n", json_string_value(line));
			}
		}
		lost = json_integer_value(json_object_get(result, "lost"));
		if (lost)
			tool_error("%lld lines came too fast and were lost", (long long)lost);
		json_decref(result);
	}
	return fflush(w->out) == 0 ? OK : err_from_errno(errno);
}

/* The daemons would forget it by themselves, a while later. */
static void
stop(struct tool *t, const struct watch *w)
{
	for (size_t i = 0; i < w->started; i++) {
		json_t *result;

		if (tool_call(t, services[i], "trace-stop", json_pack("{s:I}", "trace", w->ids[i]),
			    &result) == OK)
			json_decref(result);
	}
}

static enum err
watch(struct tool *t, const char *what, int content, int64_t until_ms, FILE *out)
{
	const struct timespec pause = {0, LOOK_MS * 1000000L};
	const struct sigaction action = {.sa_handler = on_signal};
	struct watch w = {.out = out};
	enum err e;

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	e = start(t, what, content, &w);
	while (!e && !end_asked && io_now_ms() < until_ms) {
		nanosleep(&pause, NULL);
		e = fetch(t, &w);
	}
	stop(t, &w);
	return e;
}

static enum err
server_trace(struct tool *t, int argc, char **argv)
{
	static const struct tool_option options[] = {
		{"content", 1}, {"output", 0}, {"for", 0}, {0}};
	enum { CONTENT, OUTPUT, FOR };
	struct tool_args a;
	int64_t for_ms = INT64_MAX / 2;
	FILE *out = stdout;
	enum err e = tool_args_parse(argc, argv, options, 1, 1, &a);

	if (!e && a.values[FOR] && conf_parse_duration(str_of(a.values[FOR]), &for_ms)) {
		tool_error("\"%s\" is no time; write it as 90s or 5m", a.values[FOR]);
		e = E_PARSE;
	}
	if (e)
		return e;
	if (a.values[OUTPUT]) {
		out = fopen(a.values[OUTPUT], "ae");
		if (!out) {
			tool_error("%s: %s", a.values[OUTPUT], strerror(errno));
			return E_ACCESS;
		}
	}
	e = watch(t, a.positional[0], a.values[CONTENT] != NULL, io_now_ms() + for_ms, out);
	if (out != stdout && fclose(out) != 0 && !e) {
		tool_error("%s: %s", a.values[OUTPUT], strerror(errno));
		e = E_IO;
	}
	return e;
}

const struct tool_verb tool_verbs_trace[] = {
	{"trace", NULL, "ADDRESS|IP|SESSION [--content] [--output FILE] [--for TIME]",
		"Shows what a user's clients, those of an IP address, or one session say and hear, without "
		"credentials",
		server_trace},
	{0},
};
