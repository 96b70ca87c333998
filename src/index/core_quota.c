/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "index/core_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/log.h"

/*
 * The index knows what is used, exactly. maildirsize is kept for other programs (Maildir++: the
 * first line is the limit, every further one a change), only for users who have a limit.
 */

/* Maildir++: over this many bytes the file is written anew. */
enum { QUOTA_FILE_MAX = 5120 };

enum err
core_quota_check(const struct index_core *c, uint64_t bytes, uint64_t messages)
{
	const struct index_state *s = &c->state;

	if (s->bytes_limit && (bytes > s->bytes_limit || s->bytes > s->bytes_limit - bytes))
		return E_QUOTA;
	if (s->messages_limit &&
		(messages > s->messages_limit || s->messages > s->messages_limit - messages))
		return E_QUOTA;
	return OK;
}

void
index_core_quota(const struct index_core *c, struct index_quota *out)
{
	out->bytes = c->state.bytes;
	out->bytes_limit = c->state.bytes_limit;
	out->messages = c->state.messages;
	out->messages_limit = c->state.messages_limit;
}

static void
limit_line(const struct index_core *c, struct buf *out)
{
	if (c->state.bytes_limit)
		buf_printf(out, "%lluS", (unsigned long long)c->state.bytes_limit);
	if (c->state.messages_limit)
		buf_printf(out, "%s%lluC", out->len ? "," : "",
			(unsigned long long)c->state.messages_limit);
	buf_add_char(out, '\n');
}

/* Whether the file is short, whole, and has our limit in its first line. */
static int
is_usable(int fd, struct str first)
{
	char text[QUOTA_FILE_MAX];
	ssize_t n = pread(fd, text, sizeof(text), 0);

	if (n < (ssize_t)first.len || n >= QUOTA_FILE_MAX || text[n - 1] != '\n')
		return 0;
	return str_equal(str_make(text, first.len), first);
}

void
core_quota_flush(struct index_core *c)
{
	struct buf first = {0}, line = {0};
	int fd;

	if (c->quota_bytes_delta == 0 && c->quota_messages_delta == 0)
		return;
	if (!c->state.bytes_limit && !c->state.messages_limit)
		goto out;
	limit_line(c, &first);
	fd = openat(c->maildir_fd, CORE_FILE_QUOTA,
		O_RDWR | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0 && is_usable(fd, buf_str(&first))) {
		buf_printf(&line, "%lld %lld\n", (long long)c->quota_bytes_delta,
			(long long)c->quota_messages_delta);
		if (io_write_all(fd, line.p, line.len))
			log_event(
				LOGL_WARN, "index.maildirsize failed", "maildir", c->maildir, NULL);
	} else {
		int fsync_was = c->fsync;

		buf_add_buf(&line, &first);
		buf_printf(&line, "%llu %llu\n", (unsigned long long)c->state.bytes,
			(unsigned long long)c->state.messages);
		/* It can be counted anew at any time. */
		c->fsync = 0;
		(void)core_text_write(c, "", CORE_FILE_QUOTA, buf_str(&line));
		c->fsync = fsync_was;
	}
	io_close(&fd);
out:
	c->quota_bytes_delta = c->quota_messages_delta = 0;
	buf_free(&first);
	buf_free(&line);
}
