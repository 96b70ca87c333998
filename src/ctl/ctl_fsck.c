/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl/ctl_tool.h"
#include "index/index_client.h"
#include "lib/mem.h"

/*
 * Checks users' mail, through roost-index, which alone changes it: in steps, so that the user's
 * sessions go on in between.
 */

enum { FSCK_CLEAN = 0, FSCK_MENDED = 1, FSCK_LEFT = 2 }; /* exit status */

struct run {
	struct tool *t;
	const char *user; /* canonical */
	int repair;
	json_t *rows;
	unsigned found, left;
};

static void
take(struct run *r, json_t *found)
{
	json_t *row;
	size_t i;

	json_array_foreach(found, i, row)
	{
		json_object_set_new(row, "user", json_string(r->user));
		r->found++;
		r->left += !json_is_true(json_object_get(row, "mended"));
	}
	json_array_extend(r->rows, found);
}

static enum err
step(struct run *r, const char *name, uint32_t id)
{
	json_t *result = NULL, *args = json_pack("{s:s, s:s, s:I, s:b}", "user", r->user, "step",
				       name, "id", (json_int_t)id, "repair", r->repair);
	enum err e = tool_call(r->t, "index", "fsck", args, &result);

	if (e == OK)
		take(r, json_object_get(result, "found"));
	json_decref(result);
	return e;
}

struct ids {
	uint32_t *items;
	size_t count;
};

static enum err
collect(const struct index_mailbox *m, void *arg)
{
	struct ids *ids = arg;

	ids->items = mem_realloc(ids->items, ids->count + 1, sizeof(*ids->items));
	ids->items[ids->count++] = m->id;
	return OK;
}

static void
progress(const struct run *r, size_t done, size_t of)
{
	if (!r->t->json && isatty(STDERR_FILENO))
		fprintf(stderr, "\r%s: mailbox %zu of %zu%s", r->user, done, of,
			done == of ? "\n" : "");
}

static enum err
all_steps(struct run *r, struct index_user *u)
{
	struct ids ids = {0};
	enum err e = step(r, "tree", 0);

	if (e == OK)
		e = index_mailbox_each(u, collect, &ids);
	for (size_t i = 0; i < ids.count && e == OK; i++) {
		e = step(r, "mailbox", ids.items[i]);
		progress(r, i + 1, ids.count);
	}
	free(ids.items);
	return e ? e : step(r, "totals", 0);
}

static enum err
check_user(struct run *r, const char *address)
{
	struct index_user *u = NULL;
	char *name = NULL;
	enum err e = tool_open_user(r->t, address, &u, &name);

	r->user = name;
	if (e == OK)
		e = all_steps(r, u);
	index_close(&u);
	if (e == E_CORRUPT) {
		/* roost-index makes such an index anew by itself; then it is looked at again. */
		json_t *row = json_pack("[{s:s, s:s, s:b}]", "check", "index", "what",
			"the index does not hold together; it is made anew", "mended", 1);

		take(r, row);
		json_decref(row);
		e = tool_open_user(r->t, address, &u, NULL);
		if (e == OK)
			e = all_steps(r, u);
		index_close(&u);
	}
	r->user = NULL;
	free(name);
	return e;
}

/* A user who cannot be opened must not keep the others away. */
static enum err
check_all(struct run *r)
{
	json_t *users = NULL, *row;
	size_t i;
	enum err e = tool_call(r->t, "auth", "user-list", NULL, &users), failed = OK;

	if (e)
		return e;
	json_array_foreach(users, i, row)
	{
		const char *address = json_string_value(json_object_get(row, "address"));

		e = address ? check_user(r, address) : E_PROTO;
		if (e)
			failed = e;
	}
	json_decref(users);
	return failed;
}

static enum err
fsck(struct tool *t, int argc, char **argv)
{
	static const struct tool_option options[] = {{"repair", 1}, {"all", 1}, {NULL, 0}};
	static const char *const columns[] = {"user", "mailbox", "check", "what", "mended", NULL};
	struct run r = {.t = t};
	struct tool_args a;
	enum err e = tool_args_parse(argc, argv, options, 0, TOOL_POSITIONALS_MAX, &a), failed = OK;

	if (e)
		return e;
	if (!a.values[1] == !a.count) {
		tool_error("name users, or say --all");
		return E_PARSE;
	}
	r.repair = a.values[0] != NULL;
	r.rows = json_array();
	if (a.values[1])
		failed = check_all(&r);
	for (size_t i = 0; i < a.count; i++) {
		e = check_user(&r, a.positional[i]);
		if (e)
			failed = e;
	}
	if (t->json || json_array_size(r.rows))
		tool_print(t, &r.rows, columns);
	else if (!failed)
		puts("nothing wrong");
	json_decref(r.rows);
	t->exit_status = r.left ? FSCK_LEFT : r.found ? FSCK_MENDED : FSCK_CLEAN;
	if (failed && !err_is_temporary(failed)) {
		/* It was said. */
		t->exit_status = FSCK_LEFT;
		failed = OK;
	}
	return failed;
}

const struct tool_verb tool_verbs_fsck[] = {
	{"fsck", NULL, "[--repair] USER...|--all",
		"Checks users' mail and index; exit status 0: clean, 1: mended, 2: something is left",
		fsck},
	{0},
};
