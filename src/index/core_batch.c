/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "index/core_batch.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/log.h"

/*
 *   NONE  -- begin -->  OPEN  -- done -->  DONE  -- settle, or the next begin -->  NONE, OPEN
 *                       OPEN  -- cancel -->  NONE
 */

/* The directories of the batch are on disk, and not its business any more. */
static enum err
sync_dirs(struct index_core *c)
{
	enum err e = OK;

	for (size_t i = 0; i < c->batch_fd_count && e == OK && c->fsync; i++)
		if (fsync(c->batch_fds[i]) != 0)
			e = err_from_errno(errno);
	/* After an error they are tried again. */
	for (size_t i = 0; i < c->batch_fd_count && e == OK; i++)
		io_close(&c->batch_fds[i]);
	if (e == OK)
		c->batch_fd_count = 0;
	return e;
}

static enum err
remove_file(struct index_core *c)
{
	if (unlinkat(c->maildir_fd, CORE_FILE_BATCH, 0) != 0 && errno != ENOENT)
		return err_from_errno(errno);
	core_sync_note(c, c->maildir_fd);
	c->batch = CORE_BATCH_NONE;
	return OK;
}

enum err
core_batch_settle(struct index_core *c)
{
	enum err e;

	if (c->batch != CORE_BATCH_DONE)
		return OK;
	e = sync_dirs(c);
	if (e == OK)
		e = remove_file(c);
	if (e)
		log_event(LOGL_ERROR, "index.batch failed", "maildir", c->maildir, "step", "remove",
			"error", err_word(e), NULL);
	return e;
}

enum err
core_batch_begin(struct index_core *c, struct core_batch_text *t, const int *fds, size_t fd_count)
{
	enum err e = c->batch == CORE_BATCH_DONE ? sync_dirs(c) : OK;

	ROOST_ASSERT(c->batch != CORE_BATCH_OPEN && fd_count <= CORE_BATCH_FDS);
	if (e) {
		buf_free(&t->text);
		return e;
	}
	core_batch_text_end(t);
	for (size_t i = 0; i < fd_count && e == OK; i++) {
		int fd = fds[i] < 0 ? -1 : fcntl(fds[i], F_DUPFD_CLOEXEC, 3);

		if (fds[i] < 0)
			continue;
		if (fd < 0)
			e = err_from_errno(errno);
		else
			c->batch_fds[c->batch_fd_count++] = fd;
	}
	if (e == OK)
		e = t->text.err ? t->text.err
				: core_text_write(c, "", CORE_FILE_BATCH, buf_str(&t->text));
	buf_free(&t->text);
	if (e == OK) {
		c->batch = CORE_BATCH_OPEN;
		return OK;
	}
	/* The file of one before may be there, or this one: neither may be found later. */
	for (size_t i = 0; i < c->batch_fd_count; i++)
		io_close(&c->batch_fds[i]);
	c->batch_fd_count = 0;
	c->batch = CORE_BATCH_DONE;
	(void)core_batch_settle(c);
	return e;
}

void
core_batch_done(struct index_core *c)
{
	if (c->batch == CORE_BATCH_OPEN)
		c->batch = CORE_BATCH_DONE;
}

void
core_batch_cancel(struct index_core *c)
{
	if (c->batch != CORE_BATCH_OPEN)
		return;
	c->batch = CORE_BATCH_DONE;
	/* At once: the same UIDs are given to others next. */
	if (core_batch_settle(c) == OK && c->fsync && fsync(c->maildir_fd) != 0)
		c->sync_errno = errno;
}

void
core_batch_close(struct index_core *c)
{
	(void)core_batch_settle(c);
	for (size_t i = 0; i < c->batch_fd_count; i++)
		io_close(&c->batch_fds[i]);
}
