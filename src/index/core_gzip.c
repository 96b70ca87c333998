/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "index/core_private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "lib/io.h"

/* A file that unfolds to more is no message; what it has on disk counts then. */
#define UNFOLDED_MAX (UINT64_C(4) << 30)

static int
is_gzip(int fd, uint64_t size)
{
	char magic[3];

	return size >= 18 && pread(fd, magic, 3, 0) == 3 && memcmp(magic, "\x1f\x8b\x08", 3) == 0;
}

/* Several members may follow each other (RFC 1952 section 2.2). 0: it is none after all. */
static int
unfolded_size(int fd, uint64_t *bytes)
{
	unsigned char in[16384], out[65536];
	z_stream z = {0};
	off_t at = 0;
	ssize_t n = 0;
	int rc = inflateInit2(&z, 16 + MAX_WBITS);

	*bytes = 0;
	while (rc == Z_OK && *bytes < UNFOLDED_MAX) {
		if (z.avail_in == 0) {
			n = pread(fd, in, sizeof(in), at);
			if (n <= 0)
				break;
			at += n;
			z.next_in = in;
			z.avail_in = (uInt)n;
		}
		z.next_out = out;
		z.avail_out = sizeof(out);
		rc = inflate(&z, Z_NO_FLUSH);
		*bytes += sizeof(out) - z.avail_out;
		if (rc == Z_STREAM_END && (z.avail_in > 0 || pread(fd, in, 1, at) == 1))
			rc = inflateReset(&z);
	}
	inflateEnd(&z);
	return rc == Z_STREAM_END;
}

enum err
core_file_size(int dirfd, const char *name, uint64_t *bytes, int64_t *mtime_s)
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
		if (fd >= 0 && is_gzip(fd, *bytes) && unfolded_size(fd, &unfolded))
			*bytes = unfolded;
	}
	io_close(&fd);
	return e;
}
