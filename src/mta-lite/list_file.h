/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_LIST_FILE_H
#define ROOST_MTA_LIST_FILE_H

#include <sys/types.h>

#include "lib/buf.h"
#include "lib/str.h"

/*
 * Files that say where mail goes: :include: and .forward. Whoever can write one decides who gets
 * the mail.
 */
enum { LIST_FILE_MAX = 4 << 20 }; /* bytes */

struct list_file_rules {
	int (*is_trusted)(const void *arg, uid_t owner);
	const void *arg;
	const char *untrusted; /* the problem of a file of somebody else's */
};

/*
 * Appends the file, which must be a regular one, of an owner who is trusted, and be writable by him
 * alone. E_NOTFOUND: there is none; E_ACCESS: it cannot be used. *problem says why, as a text of
 * the program or of strerror(3).
 */
enum err list_file_read(const char *path, const struct list_file_rules *rules, struct buf *text,
	const char **problem);

/* Lines that are lists (alias_list.h): without empty ones and those that begin with "#". */
struct list_file_lines {
	struct str rest; /* set by the caller */
	unsigned line; /* of what came last, from 1 */
};
/* 1: *list is the next. 0: there are no more. */
int list_file_next(struct list_file_lines *l, struct str *list);

#endif
