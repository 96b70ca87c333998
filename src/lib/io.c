/* SPDX-License-Identifier: MIT */
#include "lib/io.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/mem.h"

enum err
io_write_all(int fd, const void *p, size_t len)
{
	const char *at = p;

	while (len) {
		ssize_t n = write(fd, at, len);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return err_from_errno(errno);
		}
		at += n;
		len -= (size_t)n;
	}
	return OK;
}

enum err
io_read_exact(int fd, void *p, size_t len)
{
	char *at = p;

	while (len) {
		ssize_t n = read(fd, at, len);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return err_from_errno(errno);
		}
		if (n == 0)
			return E_CLOSED;
		at += n;
		len -= (size_t)n;
	}
	return OK;
}

enum err
io_read_file(const char *path, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;
	enum err e = OK;

	if (fd < 0)
		return errno == ELOOP ? E_ACCESS : err_from_errno(errno);
	if (fstat(fd, &st) < 0) {
		e = err_from_errno(errno);
		goto out;
	}
	if (!S_ISREG(st.st_mode)) {
		e = E_ACCESS;
		goto out;
	}
	for (;;) {
		ssize_t n;

		/* At a size limit one more byte tells "exactly full" from "too big". */
		if (out->max && out->len >= out->max) {
			char extra;

			n = read(fd, &extra, 1);
			if (n > 0)
				e = E_TOOBIG;
			else if (n < 0)
				e = err_from_errno(errno);
			goto out;
		}
		size_t want = 64 * 1024;
		if (out->max && want > out->max - out->len)
			want = out->max - out->len;
		e = buf_reserve(out, want);
		if (e)
			goto out;
		n = read(fd, out->p + out->len, want);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			e = err_from_errno(errno);
		if (n <= 0)
			goto out;
		out->len += (size_t)n;
	}
out:
	io_close(&fd);
	return e;
}

/* The directory part of path, on the heap. */
static char *
parent_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return mem_strdup(".");
	if (slash == path)
		return mem_strdup("/");
	return mem_strndup(path, (size_t)(slash - path));
}

enum err
io_write_file_atomic(const char *path, const void *p, size_t len, mode_t mode)
{
	char *tmp = mem_printf("%s.tmp", path);
	char *dir = parent_of(path);
	int saved_errno, fd;
	enum err e;

	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0) {
		e = err_from_errno(errno);
		goto out;
	}
	e = io_write_all(fd, p, len);
	if (!e && fsync(fd) < 0)
		e = err_from_errno(errno);
	saved_errno = errno;
	io_close(&fd);
	errno = saved_errno;
	if (!e && rename(tmp, path) < 0)
		e = err_from_errno(errno);
	if (e) {
		saved_errno = errno;
		unlink(tmp);
		errno = saved_errno;
		goto out;
	}
	e = io_fsync_dir(dir);
out:
	saved_errno = errno;
	free(tmp);
	free(dir);
	errno = saved_errno;
	return e;
}

enum err
io_fsync_dir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	enum err e = OK;

	if (fd < 0)
		return err_from_errno(errno);
	if (fsync(fd) < 0)
		e = err_from_errno(errno);
	io_close(&fd);
	return e;
}

enum err
io_mkdir_parents(const char *path, mode_t mode)
{
	char *copy;
	enum err e = OK;

	if (mkdir(path, mode) == 0 || errno == EEXIST)
		return OK;
	if (errno != ENOENT)
		return err_from_errno(errno);
	copy = mem_strdup(path);
	for (char *p = copy + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(copy, mode) < 0 && errno != EEXIST) {
			e = err_from_errno(errno);
			goto out;
		}
		*p = '/';
	}
	if (mkdir(copy, mode) < 0 && errno != EEXIST)
		e = err_from_errno(errno);
out:
	free(copy);
	return e;
}

void
io_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static enum err
change_flag(int fd, int get, int set, int flag, int on)
{
	int flags = fcntl(fd, get);

	if (flags < 0 || fcntl(fd, set, on ? flags | flag : flags & ~flag) < 0)
		return err_from_errno(errno);
	return OK;
}

enum err
io_set_nonblocking(int fd, int on)
{
	return change_flag(fd, F_GETFL, F_SETFL, O_NONBLOCK, on);
}

enum err
io_set_cloexec(int fd, int on)
{
	return change_flag(fd, F_GETFD, F_SETFD, FD_CLOEXEC, on);
}

enum err
io_wait_or_signal(int fd, short events, int *timeout_ms)
{
	struct pollfd pfd = {.fd = fd, .events = events};
	int64_t deadline = *timeout_ms < 0 ? 0 : io_now_ms() + *timeout_ms;
	int n = poll(&pfd, 1, *timeout_ms);

	if (n > 0)
		return OK;
	if (n == 0)
		return E_TIMEOUT;
	if (errno != EINTR)
		return err_from_errno(errno);
	if (*timeout_ms >= 0) {
		int64_t left = deadline - io_now_ms();

		*timeout_ms = left > 0 ? (int)left : 0;
	}
	return E_CANCELLED;
}

static enum err
wait_for(int fd, short events, int timeout_ms)
{
	enum err e;

	do
		e = io_wait_or_signal(fd, events, &timeout_ms);
	while (e == E_CANCELLED);
	return e;
}

enum err
io_wait_readable(int fd, int timeout_ms)
{
	return wait_for(fd, POLLIN, timeout_ms);
}

enum err
io_wait_writable(int fd, int timeout_ms)
{
	return wait_for(fd, POLLOUT, timeout_ms);
}

int64_t
io_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

uint64_t
io_unix_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void
io_random(void *p, size_t len)
{
	char *at = p;

	while (len) {
		ssize_t n = getrandom(at, len, 0);

		if (n < 0) {
			ROOST_ASSERT(errno == EINTR);
			continue;
		}
		at += n;
		len -= (size_t)n;
	}
}

void
io_random_hex(char *out, size_t bytes)
{
	static const char digits[] = "0123456789abcdef";
	/* The random bytes lie in the second half of out, and are read before they are overwritten.
	 */
	unsigned char *random = (unsigned char *)out + bytes;

	io_random(random, bytes);
	for (size_t i = 0; i < bytes; i++) {
		unsigned char c = random[i];

		out[2 * i] = digits[c >> 4];
		out[2 * i + 1] = digits[c & 15];
	}
	out[2 * bytes] = '\0';
}
