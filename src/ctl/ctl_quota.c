/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl_tool.h"
#include "index/index_client.h"
#include "lib/mem.h"
#include "lib/quota_rules.h"

/* What users have and may have: limits are kept by roost-auth, use is counted by roost-index. */

static const char *const columns[] = {
	"user", "root", "resource", "usage", "limit", "percent", NULL};

/* One resource of one root. limit 0 is null: none. */
static void
add_row(json_t *rows, const char *user, const char *root, const char *resource, uint64_t usage,
	uint64_t limit)
{
	json_t *row = json_pack("{s:s, s:s, s:s, s:I}", "user", user, "root", root, "resource",
		resource, "usage", (json_int_t)usage);

	json_object_set_new(row, "limit", limit ? json_integer((json_int_t)limit) : json_null());
	json_object_set_new(row, "percent",
		limit ? json_integer((json_int_t)((double)usage * 100 / (double)limit))
		      : json_null());
	json_array_append_new(rows, row);
}

struct shown {
	struct index_user *u;
	const char *user;
	json_t *rows;
};

static void
add_root(const struct shown *s, const char *root, const struct index_quota *q)
{
	add_row(s->rows, s->user, root, "STORAGE", q->bytes, q->bytes_limit);
	add_row(s->rows, s->user, root, "MESSAGE", q->messages, q->messages_limit);
}

/* The roots of a mailbox's own; the user's was shown before. */
static enum err
add_mailbox(const struct index_mailbox *m, void *arg)
{
	const struct shown *s = arg;
	struct index_quota_roots roots;
	enum err e = index_quota_roots(s->u, m->id, &roots);

	for (size_t i = 0; i < roots.count; i++)
		if (strcmp(roots.items[i].name, INDEX_QUOTA_ROOT_USER) != 0)
			add_root(s, roots.items[i].name, &roots.items[i].use);
	index_quota_roots_free(&roots);
	return e;
}

static enum err
show(struct tool *t, struct index_user *u, const char *user)
{
	struct shown s = {.u = u, .user = user, .rows = json_array()};
	struct index_quota q;
	char *rules = NULL;
	json_t *out;
	enum err e = index_quota_get(u, &q);

	if (e == OK) {
		add_root(&s, INDEX_QUOTA_ROOT_USER, &q);
		e = index_mailbox_each(u, add_mailbox, &s);
	}
	if (e == OK)
		e = index_quota_rules(u, &rules);
	if (e) {
		tool_error("%s: %s", user, err_text(e));
		json_decref(s.rows);
	} else if (t->json) {
		out = json_pack("{s:s, s:s, s:o}", "user", user, "rules", rules, "roots", s.rows);
		tool_print(t, &out, NULL);
	} else {
		tool_print(t, &s.rows, columns);
		if (rules[0])
			printf("rules: %s\n", rules);
	}
	free(rules);
	return e;
}

static enum err
quota_get(struct tool *t, int argc, char **argv)
{
	struct index_user *u = NULL;
	char *name = NULL;
	struct tool_args a;
	enum err e = tool_args_parse(argc, argv, NULL, 1, 1, &a);

	if (!e)
		e = tool_open_user(t, a.positional[0], &u, &name);
	if (e)
		return e;
	e = show(t, u, name);
	index_close(&u);
	free(name);
	return e;
}

/* "default": what the settings say holds again. */
static enum err
add_number(json_t *args, const char *option, const char *key, const char *text, int is_size)
{
	uint64_t n;
	enum err e;

	if (!text)
		return OK;
	if (strcmp(text, "default") == 0) {
		json_object_set_new(args, key, json_null());
		return OK;
	}
	e = is_size ? conf_parse_size(str_of(text), &n) : str_to_u64(str_of(text), &n);
	if (e || n > INT64_MAX) {
		tool_error("--%s %s: write %s, 0 for no limit, or default", option, text,
			is_size ? "a size such as 500M or 2G" : "a number");
		return E_PARSE;
	}
	json_object_set_new(args, key, json_integer((json_int_t)n));
	return OK;
}

static enum err
quota_set(struct tool *t, int argc, char **argv)
{
	static const struct tool_option options[] = {
		{"storage", 0}, {"messages", 0}, {"rules", 0}, {0}};
	struct index_user *u = NULL;
	char *name = NULL;
	struct tool_args a;
	json_t *args, *result;
	enum err e = tool_args_parse(argc, argv, options, 1, 1, &a);

	if (!e && !a.values[0] && !a.values[1] && !a.values[2]) {
		tool_error("nothing to change; give --storage, --messages or --rules");
		e = E_PARSE;
	}
	if (e)
		return e;
	args = json_pack("{s:s}", "address", a.positional[0]);
	e = add_number(args, "storage", "quota_bytes", a.values[0], 1);
	if (!e)
		e = add_number(args, "messages", "quota_messages", a.values[1], 0);
	if (!e && a.values[2])
		json_object_set_new(args, "quota_rules", json_string(a.values[2]));
	if (e) {
		json_decref(args);
		return e;
	}
	e = tool_call(t, "auth", "user-set", args, &result);
	if (e)
		return e;
	json_decref(result);
	/* Opened with the new limits, so that they hold for sessions that are there already. */
	e = tool_open_user(t, a.positional[0], &u, &name);
	if (e)
		return e;
	e = show(t, u, name);
	index_close(&u);
	free(name);
	return e;
}

/* An open user is what roost-index can count, so it is opened here first. */
static enum err
quota_recalc(struct tool *t, int argc, char **argv)
{
	struct index_user *u = NULL;
	char *name = NULL;
	struct tool_args a;
	json_t *result;
	enum err e = tool_args_parse(argc, argv, NULL, 1, 1, &a);

	if (!e)
		e = tool_open_user(t, a.positional[0], &u, &name);
	if (e)
		return e;
	e = tool_call(t, "index", "quota-recount", json_pack("{s:s}", "user", name), &result);
	if (!e) {
		json_decref(result);
		e = show(t, u, name);
	}
	index_close(&u);
	free(name);
	return e;
}

const struct tool_verb tool_verbs_quota[] = {
	{"quota", "get", "USER", "Shows what a user has and may have", quota_get},
	{"quota", "set", "USER [--storage SIZE] [--messages N] [--rules RULES]",
		"Changes a user's limits; 0: no limit, default: as the settings say", quota_set},
	{"quota", "recalc", "USER", "Looks at all folders and counts anew", quota_recalc},
	{0},
};
