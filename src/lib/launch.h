/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LIB_LAUNCH_H
#define ROOST_LIB_LAUNCH_H

#include <stddef.h>

#include "lib/err.h"

/*
 * How the master hands descriptors to a daemon: ROOST_FDS="config:3 control:4 imap:5 imap:6". See
 * lib/service.h. The user to become is in ROOST_USER, empty or unset to stay.
 */
#define LAUNCH_ENV_FDS "ROOST_FDS"
#define LAUNCH_ENV_USER "ROOST_USER"
enum { LAUNCH_FDS_MAX = 256, LAUNCH_FIRST_FD = 3 };

struct launch_fd {
	char *name;
	int fd;
};
struct launch {
	struct launch_fd fds[LAUNCH_FDS_MAX];
	size_t count;
};

/* Reads and unsets ROOST_FDS; marks the descriptors close-on-exec. E_PARSE: not started by roost.
 */
enum err launch_read(struct launch *out);
void launch_free(struct launch *l);
/* The first descriptor with that name, or -1. */
int launch_find(const struct launch *l, const char *name);
/*
 * Becomes the user in ROOST_USER for good: groups, gid, uid; keeps no capability. Nothing to do
 * when it is empty. E_NOTFOUND: no such user; E_ACCESS.
 */
enum err launch_drop_privileges(void);

#endif
