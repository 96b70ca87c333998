/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_ALIAS_FILES_H
#define ROOST_MTA_ALIAS_FILES_H

#include "lib/buf.h"
#include "lib/conf.h"
#include "lib/err.h"

/* The names in alias_maps, and what the files that they name look like. */

/* How a name of alias_maps is opened: what others compile is read as text. */
void aliases_table_name(struct str name, struct buf *out);
/* A pattern would put the sender's words into what is done with the mail. */
int aliases_table_is_refused(struct str name);

/* For newaliases(1), which has nothing to compile: what is wrong in the files of alias_maps. */
struct alias_check {
	/* A line that makes no sense, or an item of its list; path: borrowed. */
	void (*problem)(void *arg, const char *path, unsigned line, const char *why);
	/* The end of a file with so many names. error: it could not be read. */
	void (*file)(void *arg, const char *path, size_t names, enum err error);
	void *arg;
};
/* Tables that are no files are left out. */
void aliases_check(const struct config *conf, const struct alias_check *c);

#endif
