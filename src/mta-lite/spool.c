/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

void
spool_init(struct spool *s, const char *dir)
{
	*s = (struct spool){.fd = -1, .dir = dir};
}

enum err
spool_of_file(struct spool *s, int fd, uint64_t start, uint64_t size)
{
	spool_init(s, NULL);
	s->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	s->start = start;
	s->size = size;
	return s->fd >= 0 ? OK : err_from_errno(errno);
}

void
spool_reset(struct spool *s)
{
	buf_reset(&s->mem);
	io_close(&s->fd);
	s->size = s->start = 0;
}

void
spool_free(struct spool *s)
{
	buf_free(&s->mem);
	io_close(&s->fd);
	s->size = 0;
}

static enum err
open_unnamed(const char *dir, int *fd)
{
	char *name;

	*fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (*fd >= 0)
		return OK;
	/* NFS and some others have no O_TMPFILE. */
	name = mem_printf("%s/.spool.XXXXXX", dir);
	*fd = mkostemp(name, O_CLOEXEC);
	if (*fd >= 0)
		(void)unlink(name);
	free(name);
	return *fd >= 0 ? OK : err_from_errno(errno);
}

static enum err
failed(enum err e, const char *what)
{
	log_event(LOGL_ERROR, "smtpd.spool failed", "what", what, "error", log_errno(errno), NULL);
	return e;
}

enum err
spool_add(struct spool *s, struct str bytes)
{
	enum err e;

	if (s->fd < 0 && s->mem.len + bytes.len <= SPOOL_MEMORY_MAX) {
		s->size += bytes.len;
		return buf_add_str(&s->mem, bytes);
	}
	if (s->fd < 0) {
		e = open_unnamed(s->dir, &s->fd);
		if (e)
			return failed(e, "open");
		e = io_write_all(s->fd, s->mem.p, s->mem.len);
		if (e)
			return failed(e, "write");
		buf_reset(&s->mem);
	}
	e = io_write_all(s->fd, bytes.p, bytes.len);
	if (e)
		return failed(e, "write");
	s->size += bytes.len;
	return OK;
}

enum err
spool_read(struct spool *s, uint64_t offset, void *p, size_t size, struct str *out)
{
	ssize_t n;

	*out = str_make("", 0);
	if (offset >= s->size)
		return OK;
	if (s->fd < 0) {
		if (size > s->mem.len - offset)
			size = s->mem.len - (size_t)offset;
		*out = str_make(s->mem.p + offset, size);
		return OK;
	}
	if (size > s->size - offset)
		size = (size_t)(s->size - offset);
	do
		n = pread(s->fd, p, size, (off_t)(s->start + offset));
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return failed(E_IO, "read");
	*out = str_make(p, (size_t)n);
	return OK;
}
