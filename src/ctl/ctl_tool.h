/* SPDX-License-Identifier: MIT */
#ifndef ROOST_CTL_TOOL_H
#define ROOST_CTL_TOOL_H

#include <jansson.h>

#include "lib/conf.h"
#include "lib/err.h"

/* roostctl: a table of verbs; each noun's file brings its rows (see tool_nouns in roostctl.c). */

struct tool {
	const struct config *conf; /* NULL: see tool_verb */
	int exit_status; /* of a verb that says more than done or failed */
	int json; /* --json: the result as JSON on standard output */
};

struct tool_verb {
	const char *noun, *verb; /* verb NULL: the noun is the verb ("status") */
	const char *args; /* for the usage: "ADDRESS [--quota SIZE]" */
	const char *help;
	/*
	 * argv: what stands behind the verb. OK, or an error that was printed already (E_PARSE: the
	 * usage of the verb is printed behind it).
	 */
	enum err (*run)(struct tool *t, int argc, char **argv);
	int without_conf; /* it is there before roost.conf is: t->conf is NULL */
};

/* Rows of each file, ended by a NULL noun. */
extern const struct tool_verb tool_verbs_database[];
extern const struct tool_verb tool_verbs_directory[];
extern const struct tool_verb tool_verbs_doctor[];
extern const struct tool_verb tool_verbs_import[];
extern const struct tool_verb tool_verbs_fsck[];
extern const struct tool_verb tool_verbs_fts[];
extern const struct tool_verb tool_verbs_limit[];
extern const struct tool_verb tool_verbs_mailbox[];
extern const struct tool_verb tool_verbs_queue[];
extern const struct tool_verb tool_verbs_quota[];
extern const struct tool_verb tool_verbs_server[];
extern const struct tool_verb tool_verbs_trace[];

/* ctl_acl.c: a verb of tool_verbs_mailbox. */
enum err tool_mailbox_acl(struct tool *t, int argc, char **argv);

/* ---- arguments ---- */

enum { TOOL_POSITIONALS_MAX = 256, TOOL_OPTIONS_MAX = 16 };

/* One "--name VALUE" that a verb knows; a flag has no value. */
struct tool_option {
	const char *name; /* without the dashes */
	int is_flag;
};
struct tool_args {
	const char *positional[TOOL_POSITIONALS_MAX];
	size_t count;
	const char *values[TOOL_OPTIONS_MAX]; /* parallel to the options; NULL when not given */
};
/* Between min and max positionals. E_PARSE: said on standard error. */
enum err tool_args_parse(int argc, char **argv, const struct tool_option *options, size_t min,
	size_t max, struct tool_args *out);

/*
 * Takes all "--name VALUE" out of argv, for an option that may be given several times. E_PARSE:
 * said. Before tool_args_parse.
 */
enum err tool_list_take(
	int *argc, char **argv, const char *name, const char **out, size_t max, size_t *count);
/* A line from standard input, without echo and with the prompt on a terminal. NULL: none. Heap. */
char *tool_read_secret(const char *prompt);

/* ---- asking and printing ---- */

/*
 * ctl_call with the error printed on standard error. args is taken over. OK: the caller drops
 * *result.
 */
enum err tool_call(
	struct tool *t, const char *service, const char *verb, json_t *args, json_t **result);
/*
 * Prints *result and drops it: as JSON, or as a table of the named columns (an array of objects),
 * or as "key: value" lines (an object; columns NULL), or nothing for an empty object.
 */
void tool_print(struct tool *t, json_t **result, const char *const *columns);
/* "since_text" beside the seconds of "since": "2026-11-20 22:10" in local time, for a table. */
void tool_add_time_text(json_t *row, const char *key);
/* name: the canonical address, which the caller frees; may be NULL. Errors are printed. */
struct index_user;
enum err tool_open_user(struct tool *t, const char *address, struct index_user **out, char **name);
/* Prints why a user could not be looked up or opened, and what to do about it. */
void tool_user_error(const char *address, enum err e);
void tool_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
