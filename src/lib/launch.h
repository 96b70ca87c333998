/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LIB_LAUNCH_H
#define ROOST_LIB_LAUNCH_H

#include <stddef.h>
#include <sys/types.h>

#include "lib/buf.h"
#include "lib/err.h"

/*
 * How the master hands descriptors to a daemon: ROOST_FDS="config:3 control:4 imap:5 imap:6". See
 * lib/service.h. The user to become is in ROOST_USER, "UID GID GROUP GROUP ...", empty or unset to
 * stay: in numbers, so that no daemon loads what a look into the user database loads, which each
 * fork of a session would copy.
 */
#define LAUNCH_ENV_FDS "ROOST_FDS"
#define LAUNCH_ENV_USER "ROOST_USER"
enum { LAUNCH_FDS_MAX = 256, LAUNCH_FIRST_FD = 3, LAUNCH_GROUPS_MAX = 64 };

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
 * when it is empty. E_PARSE, E_ACCESS.
 */
enum err launch_drop_privileges(void);
/* The user to become; 0 when there is none. */
int launch_user(uid_t *uid, gid_t *gid);
/* What ROOST_USER says for the user name, appended. E_NOTFOUND: no such user. E_TOOBIG: groups. */
enum err launch_user_format(const char *name, struct buf *out);

#endif
