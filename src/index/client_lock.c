/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "index/client_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

/* Locks of a user that his sessions share, as files beside his index. */

static enum err
lock_file(struct index_user *u, const char *name, enum err (*lock)(int fd, unsigned n), unsigned n,
	int *fd)
{
	char *path = mem_printf("%s/%s.lock", u->index_dir, name);
	enum err e = OK;

	*fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	e = *fd < 0 ? err_from_errno(errno) : lock(*fd, n);
	if (e) {
		io_close(fd);
	}
	if (e && e != E_CONFLICT) {
		log_event(
			LOGL_ERROR, "index.lock failed", "path", path, "reason", err_word(e), NULL);
	}
	free(path);
	return e;
}

static enum err
lock_all(int fd, unsigned n)
{
	(void)n;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
		return OK;
	}
	return errno == EWOULDBLOCK ? E_CONFLICT : err_from_errno(errno);
}

/* A byte for each place. Who comes next begins elsewhere, so that most find one at once. */
static enum err
lock_place(int fd, unsigned n)
{
	enum err e = E_CONFLICT;

	for (unsigned i = 0; i < n && e == E_CONFLICT; i++) {
		struct flock place = {.l_type = F_WRLCK,
			.l_whence = SEEK_SET,
			.l_start = ((unsigned)getpid() + i) % n,
			.l_len = 1};

		e = fcntl(fd, F_OFD_SETLK, &place) == 0	 ? OK
		    : errno == EAGAIN || errno == EACCES ? E_CONFLICT
							 : err_from_errno(errno);
	}
	return e;
}

enum err
index_lock(struct index_user *u, const char *name, int *fd)
{
	return lock_file(u, name, lock_all, 0, fd);
}

enum err
index_lock_place(struct index_user *u, const char *name, unsigned count, int *fd)
{
	return lock_file(u, name, lock_place, count, fd);
}
