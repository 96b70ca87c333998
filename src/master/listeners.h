/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MASTER_LISTENERS_H
#define ROOST_MASTER_LISTENERS_H

#include <stddef.h>

#include "lib/buf.h"
#include "lib/conf.h"
#include "lib/err.h"
#include "master/daemons.h"

/* The bound sockets of all daemons. */
struct listener {
	const struct daemon_def *def;
	char *name; /* in ROOST_FDS */
	char *text; /* address or path */
	int fd;
};

struct listeners {
	struct listener *items;
	size_t count;
};

/*
 * Binds everything that conf asks for; sockets that old has already are shared with it (the
 * descriptor is duplicated), so a reload disturbs nobody. old may be NULL. On an error, with a line
 * in *problems for each address, *out is empty and old untouched.
 */
enum err listeners_open(const struct config *conf, const struct listeners *old,
	struct listeners *out, struct buf *problems);
/* Closes the descriptors; paths stay. */
void listeners_close(struct listeners *l);
/* Removes the UNIX sockets' names. */
void listeners_unlink(const struct listeners *l);
/* Whether a daemon has the same sockets in both. */
int listeners_same(
	const struct listeners *a, const struct listeners *b, const struct daemon_def *def);

#endif
