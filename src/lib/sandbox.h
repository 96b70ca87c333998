/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LIB_SANDBOX_H
#define ROOST_LIB_SANDBOX_H

#include <stddef.h>

#include "lib/err.h"

/*
 * What a process may still do once it has started, enforced by the kernel: Landlock for files and
 * TCP, seccomp for system calls; both work without root. Where the kernel lacks one of them a line
 * is logged once and the other still holds.
 */
enum sandbox_path_access {
	SANDBOX_READ = 1, /* read files, list directories */
	SANDBOX_WRITE = 2, /* write, truncate, create, remove, rename, link below it */
	SANDBOX_EXEC = 4, /* execute */
};
enum sandbox_can {
	SANDBOX_CAN_CONNECT_TCP =
		1, /* connect(2) to the network; UNIX sockets are always possible */
	SANDBOX_CAN_FORK = 2,
	SANDBOX_CAN_EXEC = 4,
	SANDBOX_CAN_THREAD = 8, /* create threads */
	SANDBOX_CAN_UDP = 16, /* open UDP sockets (DNS) */
	SANDBOX_CAN_BIND_SOURCE =
		32, /* bind(2) TCP to an address with port 0, before a connect(2) */
	/* Anything; no_new_privs alone. For who becomes another user and runs other people's
	   programs. */
	SANDBOX_CAN_ALL = 64,
};

struct sandbox;

struct sandbox *sandbox_create(void);
void sandbox_free(struct sandbox **sb);
/* access: a union of sandbox_path_access. A path that does not exist, or
 * that this user may not reach, is skipped. */
void sandbox_allow_path(struct sandbox *sb, const char *path, unsigned access);
/* can: a union of sandbox_can; calls add up. */
void sandbox_allow(struct sandbox *sb, unsigned can);
/* What *other allows too. */
void sandbox_add(struct sandbox *sb, const struct sandbox *other);
/* Whether *sb allows all that *other does; a directory allows what is below it. */
int sandbox_covers(const struct sandbox *sb, const struct sandbox *other);
/*
 * Sets no_new_privs and applies it to the calling process and its later children and threads.
 * Cannot be undone; a second sandbox can only narrow. E_UNSUPPORTED when the kernel has neither
 * (logged); other errors are logged and final.
 *
 * A child that narrows its parent's sandbox gets Landlock rules of its own and keeps the parent's
 * seccomp filter, since loading one costs most of a millisecond; what it may no longer do of that
 * is to fork, which a resource limit takes away.
 */
enum err sandbox_enter(const struct sandbox *sb);

#endif
