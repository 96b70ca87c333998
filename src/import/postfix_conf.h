/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMPORT_POSTFIX_CONF_H
#define ROOST_IMPORT_POSTFIX_CONF_H

#include <stddef.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"

/* Postfix's configuration as text: main.cf (postconf(5)) and master.cf (master(5)). */

enum { POSTFIX_FILE_MAX = 4 << 20, POSTFIX_VALUE_MAX = 256 * 1024, POSTFIX_DEPTH_MAX = 20 };

struct postfix_setting {
	char *name, *value; /* as written, "$name" not replaced; continuation lines joined */
	unsigned line; /* where it begins */
};
struct postfix_main {
	struct postfix_setting
		*v; /* the last of several of one name counts and stands here alone */
	size_t count;
};
/* text: a whole file. What is no setting is left out: *problems gets a line for each. */
void postfix_main_parse(struct str text, struct postfix_main *out, struct buf *problems);
void postfix_main_free(struct postfix_main *m);
/* The next word, parted by blanks and commas; what stands in braces is one. 0: there is none. */
int postfix_next_word(struct str *rest, struct str *word);
/* Cuts the next word of a line of master.cf off; what stands in braces is one. "": the end. */
struct str postfix_cut_word(struct str *line);
/* Appends text as a string of roost.conf. */
void postfix_quote(struct str text, struct buf *out);
/* As written; NULL when it is not there. */
const char *postfix_main_get(const struct postfix_main *m, const char *name);
/*
 * Appends value with $name, ${name}, ${name?text} and ${name:text} replaced, from m and Postfix's
 * defaults of what is often referred to. E_TOOBIG: too deep (a circle) or too long.
 */
enum err postfix_main_expand(const struct postfix_main *m, struct str value, struct buf *out);

struct postfix_option {
	char *name, *value;
};
/* A line of master.cf. */
struct postfix_service {
	char *name, *type, *command;
	char *arguments; /* all that stands behind the command, as written */
	struct postfix_option *options; /* -o name=value */
	size_t option_count;
};
struct postfix_master {
	struct postfix_service *v;
	size_t count;
};
void postfix_master_parse(struct str text, struct postfix_master *out, struct buf *problems);
void postfix_master_free(struct postfix_master *m);
/* A service's own value of a setting; NULL. */
const char *postfix_service_option(const struct postfix_service *s, const char *name);

#endif
