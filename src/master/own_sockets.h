/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MASTER_OWN_SOCKETS_H
#define ROOST_MASTER_OWN_SOCKETS_H

#include <stddef.h>
#include <sys/types.h>

#include "lib/buf.h"
#include "lib/conf.h"
#include "lib/err.h"

/*
 * Sockets that other programs come to, whose places the administrator chooses: a row per socket,
 * with the settings NAME, NAME_owner and NAME_mode.
 */
struct own_socket {
	const char *daemon; /* whose listener it is */
	const char *name; /* in ROOST_FDS */
	const char *setting;
	size_t place, owner, mode; /* offsets of the settings in struct config */
	size_t default_owner; /* offset of the setting with the user's name */
};
extern const struct own_socket own_sockets[];
extern const size_t own_socket_count;

struct own_socket_place {
	const char *text; /* a path or address for net_listen, borrowed from conf; NULL: off */
	unsigned mode;
	uid_t uid; /* -1: stays ours */
	gid_t gid;
};
/* What the settings say. An error adds a line to *problems. */
enum err own_socket_place(const struct own_socket *s, const struct config *conf,
	struct own_socket_place *out, struct buf *problems);
/* All of them, and that no two share a path. */
enum err own_sockets_check(const struct config *conf, struct buf *problems);
/* Owner and mode of the socket's name; whoever may write in its directory gains nothing by it. */
enum err own_socket_apply(const struct own_socket_place *place, struct buf *problems);

#endif
