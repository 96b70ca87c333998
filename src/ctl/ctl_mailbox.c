/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "auth/auth_client.h"
#include "ctl/ctl_tool.h"
#include "index/index_client.h"
#include "lib/mem.h"

/* A user's mailboxes, through roost-index like any session. */

static const char *const mailbox_columns[] = {
	"name", "messages", "unseen", "size", "uidvalidity", "uidnext", NULL};

enum err
tool_open_user(struct tool *t, const char *address, struct index_user **out, char **name)
{
	struct auth_client *auth = auth_client_create(t->conf);
	struct auth_user user;
	enum err e = auth_lookup_user(auth, str_of(address), &user, NULL);

	*out = NULL;
	if (e) {
		tool_user_error(address, e);
	} else {
		e = index_open(t->conf, &user, out);
		if (e)
			tool_error("%s: the mail cannot be opened: %s", address, err_text(e));
	}
	if (e == OK && name)
		*name = mem_strdup(user.name);
	auth_user_free(&user);
	auth_client_free(&auth);
	return e;
}

static enum err
add_row(const struct index_mailbox *m, void *arg)
{
	json_array_append_new(
		arg, json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "name", m->name, "messages",
			     (json_int_t)m->messages, "unseen", (json_int_t)m->unseen, "size",
			     (json_int_t)m->size_bytes, "uidvalidity", (json_int_t)m->uidvalidity,
			     "uidnext", (json_int_t)m->uidnext, "highest_modseq",
			     (json_int_t)m->highest_modseq));
	return OK;
}

static enum err
mailbox_list(struct tool *t, int argc, char **argv)
{
	struct index_user *u = NULL;
	struct tool_args a;
	json_t *rows;
	enum err e = tool_args_parse(argc, argv, NULL, 1, 1, &a);

	if (!e)
		e = tool_open_user(t, a.positional[0], &u, NULL);
	if (e)
		return e;
	rows = json_array();
	e = index_mailbox_each(u, add_row, rows);
	if (e)
		tool_error("%s: %s", a.positional[0], err_text(e));
	else
		tool_print(t, &rows, mailbox_columns);
	json_decref(rows);
	index_close(&u);
	return e;
}

enum change { CHANGE_CREATE, CHANGE_DELETE, CHANGE_RENAME };

static enum err
change(struct tool *t, int argc, char **argv, enum change what)
{
	struct index_user *u = NULL;
	struct tool_args a;
	size_t words = what == CHANGE_RENAME ? 3 : 2;
	enum err e = tool_args_parse(argc, argv, NULL, words, words, &a);
	json_t *done = NULL;

	if (!e)
		e = tool_open_user(t, a.positional[0], &u, NULL);
	if (e)
		return e;
	switch (what) {
	case CHANGE_CREATE:
		e = index_mailbox_create(u, str_of(a.positional[1]), 0, NULL);
		break;
	case CHANGE_DELETE:
		e = index_mailbox_delete(u, str_of(a.positional[1]));
		break;
	case CHANGE_RENAME:
		e = index_mailbox_rename(u, str_of(a.positional[1]), str_of(a.positional[2]));
		break;
	}
	if (e) {
		/* It is the new name that exists already or is none. */
		const char *name = a.positional[what == CHANGE_RENAME && e != E_NOTFOUND ? 2 : 1];

		tool_error("mailbox \"%s\" of %s: %s", name, a.positional[0],
			e == E_RANGE || e == E_PARSE ? "this is not a name for a mailbox"
			: e == E_ACCESS && what == CHANGE_DELETE ? "this one always exists"
								 : err_text(e));
	} else {
		done = json_object();
		tool_print(t, &done, NULL);
	}
	index_close(&u);
	return e;
}

static enum err
mailbox_create(struct tool *t, int argc, char **argv)
{
	return change(t, argc, argv, CHANGE_CREATE);
}

static enum err
mailbox_delete(struct tool *t, int argc, char **argv)
{
	return change(t, argc, argv, CHANGE_DELETE);
}

static enum err
mailbox_rename(struct tool *t, int argc, char **argv)
{
	return change(t, argc, argv, CHANGE_RENAME);
}

/* An open user is what roost-index can export, so it is opened here first. */
static enum err
export_one(struct tool *t, const char *address, json_t *rows)
{
	struct index_user *u = NULL;
	char *name = NULL;
	json_t *result = NULL;
	enum err e = tool_open_user(t, address, &u, &name);

	if (e)
		return e;
	e = tool_call(t, "index", "export-user", json_pack("{s:s}", "user", name), &result);
	if (e == OK) {
		if (json_integer_value(json_object_get(result, "keywords_lost")) > 0)
			tool_error("%s: keywords from the 27th of a mailbox on are not in "
				   "Dovecot's files",
				name);
		json_object_set_new(result, "user", json_string(name));
		json_array_append_new(rows, result);
	}
	index_close(&u);
	free(name);
	return e;
}

static enum err
export_users(struct tool *t, int argc, char **argv)
{
	static const struct tool_option options[] = {{"format", 0}, {NULL, 0}};
	static const char *const columns[] = {"user", "folders", "messages", "keywords_lost", NULL};
	struct tool_args a;
	json_t *rows;
	enum err e = tool_args_parse(argc, argv, options, 1, TOOL_POSITIONALS_MAX, &a);

	if (e)
		return e;
	if (!a.values[0] || strcmp(a.values[0], "dovecot") != 0) {
		tool_error("--format is missing or unknown; there is: dovecot");
		return E_PARSE;
	}
	rows = json_array();
	for (size_t i = 0; i < a.count && e == OK; i++)
		e = export_one(t, a.positional[i], rows);
	if (json_array_size(rows))
		tool_print(t, &rows, columns);
	json_decref(rows);
	return e;
}

/* ---- expunged messages ---- */

static enum err
duration_arg(const char *text, int64_t *seconds)
{
	int64_t ms = 0;

	if (conf_parse_duration(str_of(text), &ms)) {
		tool_error("\"%s\" is no duration; one is 30m, 12h or 7d", text);
		return E_PARSE;
	}
	*seconds = ms / 1000;
	return OK;
}

static enum err
undelete_args(const struct tool_args *a, const char *user, json_t **out)
{
	json_t *args = json_pack("{s:s, s:b}", "user", user, "list", a->values[3] != NULL);
	int64_t seconds;
	uint32_t uid;
	enum err e = OK;

	if (a->values[0])
		json_object_set_new(args, "mailbox", json_string(a->values[0]));
	if (a->values[1] && (e = duration_arg(a->values[1], &seconds)) == OK)
		json_object_set_new(args, "since", json_integer(time(NULL) - seconds));
	if (!e && a->values[2] && (str_to_u32(str_of(a->values[2]), &uid) || uid == 0)) {
		tool_error("\"%s\" is no UID", a->values[2]);
		e = E_PARSE;
	} else if (!e && a->values[2]) {
		json_object_set_new(args, "uid", json_integer(uid));
	}
	if (!e && a->values[2] && !a->values[0]) {
		tool_error("--uid needs --mailbox");
		e = E_PARSE;
	}
	if (e)
		json_decref(args);
	*out = e ? NULL : args;
	return e;
}

/* roost-index does a few hundred in one go, so that the user's sessions need not wait long. */
static enum err
undelete_all(struct tool *t, const char *user, json_t *args, json_t *rows)
{
	const char *word = NULL;
	enum err e = OK;
	int more = 1;

	while (more && !word && e == OK) {
		json_t *result = NULL, *row;
		size_t i;

		e = tool_call(t, "index", "undelete", json_incref(args), &result);
		if (e)
			break;
		json_array_foreach(json_object_get(result, "messages"), i, row)
		{
			tool_add_time_text(row, "expunged");
			tool_add_time_text(row, "internal_date");
			json_array_append(rows, row);
		}
		more = json_is_true(json_object_get(result, "more")) &&
		       !json_is_true(json_object_get(args, "list"));
		word = json_string_value(json_object_get(result, "error"));
		if (word) {
			tool_error("%s: stopped: %s", user, word);
			e = E_STATE;
		}
		json_decref(result);
	}
	return e;
}

static enum err
mailbox_undelete(struct tool *t, int argc, char **argv)
{
	static const struct tool_option options[] = {
		{"mailbox", 0}, {"since", 0}, {"uid", 0}, {"list", 1}, {NULL, 0}};
	static const char *const columns[] = {"mailbox", "uid", "new_uid", "expunged_text",
		"internal_date_text", "size", "flags", NULL};
	struct index_user *u = NULL;
	json_t *args = NULL, *rows;
	struct tool_args a;
	char *name = NULL;
	enum err e = tool_args_parse(argc, argv, options, 1, 1, &a);

	if (!e)
		e = tool_open_user(t, a.positional[0], &u, &name);
	if (!e)
		e = undelete_args(&a, name, &args);
	if (!e) {
		rows = json_array();
		e = undelete_all(t, name, args, rows);
		if (e == OK && !t->json && json_array_size(rows) == 0)
			tool_error("%s: nothing that was expunged is kept%s", name,
				t->conf->expunge_keep > 0 ? "" : "; expunge_keep is 0");
		else if (e == OK || json_array_size(rows))
			tool_print(t, &rows, columns);
		json_decref(rows);
	}
	json_decref(args);
	free(name);
	index_close(&u);
	return e;
}

static enum err
mailbox_purge(struct tool *t, int argc, char **argv)
{
	static const struct tool_option options[] = {{"older", 0}, {NULL, 0}};
	int64_t seconds = t->conf->expunge_keep / 1000;
	struct index_user *u = NULL;
	json_t *result = NULL;
	struct tool_args a;
	char *name = NULL;
	enum err e = tool_args_parse(argc, argv, options, 1, 1, &a);

	if (!e && a.values[0])
		e = duration_arg(a.values[0], &seconds);
	if (!e)
		e = tool_open_user(t, a.positional[0], &u, &name);
	if (!e)
		e = tool_call(t, "index", "purge-expunged",
			json_pack("{s:s, s:I}", "user", name, "older", (json_int_t)seconds),
			&result);
	if (!e)
		tool_print(t, &result, NULL);
	free(name);
	index_close(&u);
	return e;
}

const struct tool_verb tool_verbs_mailbox[] = {
	{"mailbox", "list", "USER", "Lists a user's mailboxes with their counts", mailbox_list},
	{"mailbox", "create", "USER NAME", "Makes a mailbox; levels are separated by /",
		mailbox_create},
	{"mailbox", "delete", "USER NAME", "Deletes a mailbox and its messages", mailbox_delete},
	{"mailbox", "rename", "USER FROM TO", "Renames a mailbox and those below it",
		mailbox_rename},
	{"mailbox", "undelete", "USER [--mailbox NAME] [--since DURATION] [--uid N] [--list]",
		"Puts expunged messages back, or lists them", mailbox_undelete},
	{"mailbox", "purge", "USER [--older DURATION]",
		"Removes expunged messages that are kept longer than expunge_keep", mailbox_purge},
	{"mailbox", "acl", "list|set|delete USER NAME [IDENTIFIER [RIGHTS]]",
		"Lists, gives or takes back rights on a mailbox: to a user, anyone, owner, or, with "
		"- in front, against them",
		tool_mailbox_acl},
	{"export", NULL, "--format dovecot USER...",
		"Writes Dovecot's lists of UIDs and keywords into users' mail, to move to it",
		export_users},
	{0},
};
