/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl/ctl_tool.h"
#include "index/index_client.h"
#include "lib/mem.h"

/* The full-text index of users, through roost-fts. */

enum { POLL_US = 50 * 1000 };

static const char *const columns[] = {
	"user", "state", "messages", "missing", "documents", "bytes", NULL};

struct run {
	struct tool *t;
	struct auth_client *auth;
	const char *verb; /* of roost-fts; NULL: only what it knows */
	int wait; /* until it is done */
	json_t *rows;
};

static int
is_state(const json_t *row, const char *state)
{
	const char *is = json_string_value(json_object_get(row, "state"));

	return is && strcmp(is, state) == 0;
}

static void
progress(const struct run *r, const json_t *row)
{
	json_int_t done = json_integer_value(json_object_get(row, "done"));
	json_int_t total = json_integer_value(json_object_get(row, "total"));

	if (!r->t->json && isatty(STDERR_FILENO) && is_state(row, "indexing"))
		fprintf(stderr, "\r%s: %lld of %lld messages",
			json_string_value(json_object_get(row, "user")), (long long)done,
			(long long)total);
}

static enum err
ask(struct run *r, const struct auth_user *user, const char *verb, json_t **row)
{
	json_decref(*row);
	*row = NULL;
	return tool_call(r->t, "fts", verb,
		json_pack("{s:s, s:s}", "user", user->name, "home", user->home), row);
}

/* What roost-fts did not look at since its start it looks at now. */
static enum err
follow(struct run *r, const struct auth_user *user, json_t **row)
{
	enum err e = ask(r, user, r->verb ? r->verb : "user", row);
	int begun = r->verb != NULL, told = 0;

	while (!e && r->wait && !json_is_true(json_object_get(*row, "known")) &&
		!is_state(*row, "failed") && !is_state(*row, "full")) {
		if (!begun && is_state(*row, "idle")) {
			begun = 1;
			e = ask(r, user, "rescan", row);
		} else {
			usleep(POLL_US);
			e = ask(r, user, "user", row);
		}
		if (!e) {
			progress(r, *row);
			told |= is_state(*row, "indexing");
		}
	}
	if (told && !r->t->json && isatty(STDERR_FILENO))
		fputc('\n', stderr);
	return e;
}

static enum err
one_user(struct run *r, const char *address)
{
	struct auth_user user;
	struct index_user *u = NULL;
	json_t *row = NULL;
	enum err e = auth_lookup_user(r->auth, str_of(address), &user, NULL);

	/* Opened once, so that there is an index of the mailboxes, and it is up to date. */
	e = e ? e : index_open(r->t->conf, &user, &u);
	index_close(&u);
	if (e)
		tool_user_error(address, e);
	else
		e = follow(r, &user, &row);
	if (!e)
		json_array_append(r->rows, row);
	json_decref(row);
	auth_user_free(&user);
	return e;
}

static enum err
all_users(struct run *r)
{
	json_t *users = NULL, *row;
	size_t i;
	enum err e = tool_call(r->t, "auth", "user-list", NULL, &users), failed = OK;

	if (e)
		return e;
	json_array_foreach(users, i, row)
	{
		const char *address = json_string_value(json_object_get(row, "address"));

		e = address ? one_user(r, address) : E_PROTO;
		if (e)
			failed = e;
	}
	json_decref(users);
	return failed;
}

static enum err
run_verb(struct tool *t, int argc, char **argv, const char *verb, int wait)
{
	static const struct tool_option options[] = {{"all", 1}, {NULL, 0}};
	struct run r = {.t = t, .verb = verb, .wait = wait};
	struct tool_args a;
	enum err e = tool_args_parse(argc, argv, options, 0, TOOL_POSITIONALS_MAX, &a), failed = OK;

	if (e)
		return e;
	if (!a.values[0] == !a.count) {
		tool_error("name users, or say --all");
		return E_PARSE;
	}
	if (!t->conf->fts) {
		tool_error("the setting 'fts' is off: there is no full-text index");
		t->exit_status = 1;
		return OK;
	}
	r.rows = json_array();
	r.auth = auth_client_create(t->conf);
	if (a.values[0])
		failed = all_users(&r);
	for (size_t i = 0; i < a.count; i++) {
		e = one_user(&r, a.positional[i]);
		if (e)
			failed = e;
	}
	auth_client_free(&r.auth);
	tool_print(t, &r.rows, columns);
	return failed;
}

static enum err
fts_status(struct tool *t, int argc, char **argv)
{
	return run_verb(t, argc, argv, NULL, 1);
}

static enum err
fts_rescan(struct tool *t, int argc, char **argv)
{
	return run_verb(t, argc, argv, "rescan", 1);
}

static enum err
fts_optimize(struct tool *t, int argc, char **argv)
{
	return run_verb(t, argc, argv, "optimize", 1);
}

static enum err
fts_drop(struct tool *t, int argc, char **argv)
{
	return run_verb(t, argc, argv, "drop", 0);
}

const struct tool_verb tool_verbs_fts[] = {
	{"fts", "status", "USER...|--all",
		"Shows how complete and how large users' full-text indexes are", fts_status},
	{"fts", "rescan", "USER...|--all", "Indexes what is missing, now, and waits for it",
		fts_rescan},
	{"fts", "optimize", "USER...|--all", "Writes users' full-text indexes anew, without gaps",
		fts_optimize},
	{"fts", "drop", "USER...|--all",
		"Throws users' full-text indexes away; they are made anew in the background",
		fts_drop},
	{0},
};
