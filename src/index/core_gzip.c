/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "index/core_private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "index/gzip.h"
#include "lib/io.h"

enum err
core_file_size(struct index_core *c, int dirfd, const char *name, uint64_t *bytes, int64_t *mtime_s)
{
	int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	uint64_t unfolded;
	enum err e = OK;

	/* One that may not be read has a size all the same. */
	if (fd < 0 && errno != EACCES)
		return errno == ELOOP || errno == ENXIO ? E_NOTFOUND : err_from_errno(errno);
	if ((fd < 0 ? fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) : fstat(fd, &st)) != 0) {
		e = err_from_errno(errno);
	} else if (!S_ISREG(st.st_mode)) {
		e = E_NOTFOUND;
	} else {
		*bytes = (uint64_t)st.st_size;
		*mtime_s = st.st_mtim.tv_sec;
		/* One that unfolds to more is no message; what it has on disk counts then. */
		if (fd >= 0 && gzip_unfolded_size(fd, *bytes, c->unfold_max, &unfolded) == OK)
			*bytes = unfolded;
	}
	io_close(&fd);
	return e;
}
