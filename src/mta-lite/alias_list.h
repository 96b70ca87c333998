/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_ALIAS_LIST_H
#define ROOST_MTA_ALIAS_LIST_H

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"

/* The right side of aliases(5): what mail for a name is to become. Also a line of an :include:. */

enum alias_kind {
	ALIAS_ADDRESS, /* user, user@domain */
	ALIAS_FILE, /* "/path", or "/path/": a Maildir */
	ALIAS_COMMAND, /* behind the "|" */
	ALIAS_INCLUDE, /* the path behind ":include:" */
};

struct alias_item {
	enum alias_kind kind;
	int exact; /* an address with a backslash before: no alias of that name is looked for */
	struct buf text; /* freed by the caller */
};

/*
 * The next item, separated by commas; *rest goes on behind it. E_NOTFOUND: there are no more.
 * E_PARSE: *why says what is wrong with this one; the next call goes on with the one behind it.
 * item: zeroed at first, overwritten each time.
 */
enum err alias_list_next(struct str *rest, struct alias_item *item, const char **why);

/*
 * The lines of a file of aliases: "name: list", with comments and lines that go on. entry: for
 * each name, without its quotes; problem: for each line that makes no sense, and each item of a
 * list that does not. Both may be NULL.
 */
struct alias_reader {
	void (*entry)(void *arg, struct str name, struct str list, unsigned line);
	void (*problem)(void *arg, unsigned line, const char *why);
	void *arg;
};
void alias_text_read(struct str text, const struct alias_reader *r);

#endif
