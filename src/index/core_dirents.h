/* SPDX-License-Identifier: MIT */
#ifndef ROOST_INDEX_CORE_DIRENTS_H
#define ROOST_INDEX_CORE_DIRENTS_H

#include <dirent.h>

#include "lib/err.h"

/*
 * The entries of a directory. Of a large one the system takes as long to read them as we take to
 * understand them, so that a thread reads ahead there.
 */
struct core_dirents;

/* fd: open for reading, at its beginning; borrowed until the end. in_thread: it is large. */
struct core_dirents *core_dirents_begin(int fd, int in_thread);
/*
 * NULL: there are no more, or *e is not OK. The entry holds until the next call. "." and ".." are
 * among them.
 */
const struct dirent64 *core_dirents_next(struct core_dirents *d, enum err *e);
/* Accepts NULL; also in the middle. */
void core_dirents_end(struct core_dirents **d);

#endif
