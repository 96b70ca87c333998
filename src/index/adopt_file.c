/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "index/adopt.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/log.h"

enum { SMALL_FILE_MAX = 16 << 20, HEADER_MAX = 256 };

static enum err
read_all(int fd, size_t max, struct buf *out)
{
	enum err e = OK;

	out->max = max;
	while (e == OK) {
		size_t want = max - out->len < 65536 ? max - out->len : 65536;
		ssize_t n;

		if (want == 0)
			return E_TOOBIG;
		e = buf_reserve(out, want);
		if (e)
			break;
		n = read(fd, out->p + out->len, want);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_from_errno(errno);
		if (n == 0)
			break;
		out->len += (size_t)n;
	}
	return e;
}

static enum err
open_file(struct index_core *c, const char *dir, const char *file, int *fd)
{
	struct stat st;
	int top;
	enum err e = core_dir_open(c, dir, CORE_TOP, &top);

	*fd = -1;
	if (e)
		return e;
	*fd = openat(top, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (*fd < 0)
		e = errno == ELOOP || errno == ENOTDIR || errno == ENXIO ? E_NOTFOUND
									 : err_from_errno(errno);
	else if (fstat(*fd, &st) != 0 || !S_ISREG(st.st_mode))
		e = E_NOTFOUND;
	if (e) {
		if (e != E_NOTFOUND || *fd >= 0)
			log_event(LOGL_WARN, "index.adopt skipped", "maildir", c->maildir, "dir",
				dir, "file", file, "error", err_word(e), NULL);
		io_close(fd);
	}
	io_close(&top);
	return e;
}

enum err
adopt_file_read(
	struct index_core *c, const char *dir, const char *file, size_t max, struct buf *out)
{
	int fd;
	enum err e = open_file(c, dir, file, &fd);

	buf_reset(out);
	if (e)
		return e;
	e = read_all(fd, max, out);
	if (e)
		log_event(LOGL_ERROR, "index.adopt failed", "maildir", c->maildir, "dir", dir,
			"file", file, "error", err_word(e), NULL);
	io_close(&fd);
	return e;
}

/* The number in the first line; a list of a million messages is not read for it. */
static uint32_t
peek(struct index_core *c, const char *dir, const char *file)
{
	struct adopt_list list = {0};
	struct buf text = {0};
	char head[HEADER_MAX];
	uint32_t found = 0;
	ssize_t n;
	int fd;

	if (open_file(c, dir, file, &fd))
		return 0;
	n = read(fd, head, sizeof(head));
	io_close(&fd);
	if (n > 0) {
		struct str line = str_make(head, (size_t)n);

		line.len = str_find(line, 0, '\n');
		buf_add_str(&text, line);
		buf_add_char(&text, '\n');
		(void)adopt_dovecot_uidlist(buf_str(&text), &list);
		found = list.uidvalidity;
		adopt_list_free(&list);
	}
	buf_free(&text);
	return found;
}

uint32_t
adopt_peek_uidvalidity(struct index_core *c, const char *dir)
{
	uint32_t list = peek(c, dir, "dovecot-uidlist"), last = 0;
	struct buf text = {0};

	if (list == 0)
		list = peek(c, dir, "courierimapuiddb");
	if (dir[0] == '\0' &&
		adopt_file_read(c, "", "dovecot-uidvalidity", HEADER_MAX, &text) == OK)
		last = adopt_dovecot_uidvalidity(str_trim(buf_str(&text)));
	buf_free(&text);
	return list > last ? list : last;
}

enum err
adopt_subscriptions_read(struct index_core *c, struct buf *out)
{
	struct buf text = {0};
	enum err e = adopt_file_read(c, "", CORE_FILE_SUBSCRIPTIONS, SMALL_FILE_MAX, &text);

	buf_reset(out);
	if (e == OK) {
		adopt_dovecot_subscriptions(buf_str(&text), out);
	} else if (e == E_NOTFOUND) {
		e = adopt_file_read(c, "", "courierimapsubscribed", SMALL_FILE_MAX, &text);
		if (e == OK)
			adopt_courier_subscriptions(buf_str(&text), out);
	}
	buf_free(&text);
	return e;
}
