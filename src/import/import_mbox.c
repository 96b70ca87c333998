/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "import/imap_folder.h"
#include "import/import.h"
#include "import/import_verbs.h"
#include "import/mbox.h"
#include "lib/io.h"
#include "lib/mem.h"

/* roostctl import mbox: a file, or a directory of them with directories in it. */

enum { DEPTH_MAX = 32 };

struct run {
	struct import im;
	enum mbox_format format;
	int fd;
	struct import_box *box;
	uint64_t done_before; /* bytes of the files before this one */
};

/* ---- one file ---- */

static enum err
read_at(void *arg, uint64_t offset, char *p, size_t cap, size_t *got)
{
	struct run *r = arg;
	ssize_t n;

	if (offset > INT64_MAX) {
		*got = 0;
		return OK;
	}
	do
		n = pread(r->fd, p, cap, (off_t)offset);
	while (n < 0 && errno == EINTR);
	*got = n > 0 ? (size_t)n : 0;
	return n < 0 ? err_from_errno(errno) : OK;
}

static enum err
on_start(const struct mbox_message *m, void *arg)
{
	struct run *r = arg;

	r->im.read_bytes = r->done_before + m->offset;
	return import_message_start(r->box, 0);
}

static void
on_write(const char *p, size_t len, void *arg)
{
	import_message_write(((struct run *)arg)->box, p, len);
}

static enum err
on_end(const struct mbox_message *m, void *arg)
{
	return import_message_end(((struct run *)arg)->box, &m->flags, m->date, m->offset);
}

/* A regular file. E_UNSUPPORTED: something else. */
static enum err
open_file(int dir, const char *path, int follow, int *fd, uint64_t *size)
{
	struct stat st;

	*fd = openat(dir, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW));
	if (*fd < 0)
		return errno == ELOOP ? E_UNSUPPORTED : err_from_errno(errno);
	if (fstat(*fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		io_close(fd);
		return E_UNSUPPORTED;
	}
	*size = (uint64_t)st.st_size;
	return OK;
}

/* E_PARSE: no mbox file; no mailbox was made for it. */
static enum err
take_file(struct run *r, uint64_t size, const char *name)
{
	const struct mbox_reader reader = {
		.read = read_at, .start = on_start, .write = on_write, .end = on_end, .arg = r};
	char head[5];
	enum err e;

	if (size && (pread(r->fd, head, sizeof(head), 0) != sizeof(head) ||
			    (memcmp(head, "From ", 5) != 0 && head[0] != '\r' && head[0] != '\n')))
		return E_PARSE;
	e = import_box_open(&r->im, str_of(name), 0, &r->box);
	if (e == E_RANGE || e == E_TOOBIG) {
		import_failed(&r->im, name, NULL, "a mailbox cannot have this name");
		return OK;
	}
	r->im.where = name;
	if (e == OK)
		e = import_box_ready(r->box, NULL, NULL);
	if (e == OK)
		e = mbox_read(&reader, r->format);
	if (e == OK)
		e = import_box_flush(r->box);
	import_box_close(&r->box);
	r->done_before += size;
	r->im.mailboxes += e == OK;
	if (e && e != E_PARSE) {
		import_progress_break(&r->im);
		tool_error("%s: %s", name, err_text(e));
	}
	r->im.where = NULL;
	return e;
}

/* ---- a directory ---- */

/* Thunderbird keeps what is below "Name" in "Name.sbd". */
static char *
name_below(const char *above, const char *file, int is_dir)
{
	struct str level = str_of(file);
	struct buf out = {0};
	char *name;

	if (is_dir && str_ends_i(level, ".sbd"))
		level.len -= 4;
	if (!*above || !str_is_i(level, "INBOX"))
		imap_folder_name(level, '/', STR(""), &out);
	else
		buf_add_str(&out, level);
	name = *above ? mem_printf("%s/%s", above, buf_cstr(&out)) : mem_strdup(buf_cstr(&out));
	buf_free(&out);
	return name;
}

static enum err take_directory(struct run *r, int dir, const char *above, int depth);

static enum err
take_entry(struct run *r, int dir, const char *file, const char *above, int depth)
{
	struct stat st;
	uint64_t size = 0;
	char *name;
	int fd;
	enum err e = OK;

	if (fstatat(dir, file, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return OK;
	name = name_below(above, file, S_ISDIR(st.st_mode));
	if (S_ISDIR(st.st_mode)) {
		fd = openat(dir, file, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			import_failed(&r->im, name, NULL, strerror(errno));
		else
			e = take_directory(r, fd, name, depth + 1);
	} else if (S_ISREG(st.st_mode)) {
		e = open_file(dir, file, 0, &r->fd, &size);
		if (e) {
			import_failed(&r->im, name, NULL, err_text(e));
			e = OK;
		} else {
			e = take_file(r, size, name);
			io_close(&r->fd);
			/* Indexes and the like lie between the mailboxes. */
			if (e == E_PARSE)
				e = OK;
		}
	}
	free(name);
	return e;
}

static int
not_hidden(const struct dirent *d)
{
	return d->d_name[0] != '.';
}

/* Closes dir. */
static enum err
take_directory(struct run *r, int dir, const char *above, int depth)
{
	struct dirent **list = NULL;
	int n = depth < DEPTH_MAX ? scandirat(dir, ".", &list, not_hidden, alphasort) : 0;
	enum err e = n < 0 ? err_from_errno(errno) : OK;

	if (e)
		import_failed(&r->im, *above ? above : "the directory", NULL, err_text(e));
	for (int i = 0; i < n; i++) {
		if (e == OK)
			e = take_entry(r, dir, list[i]->d_name, above, depth);
		free(list[i]);
	}
	free(list);
	io_close(&dir);
	return e;
}

/* ---- the command line ---- */

static enum err
format_parse(const char *text, enum mbox_format *out)
{
	static const char *const names[] = {[MBOX_AUTO] = "auto",
		[MBOX_O] = "mboxo",
		[MBOX_RD] = "mboxrd",
		[MBOX_CL2] = "mboxcl2"};

	for (int i = 0; i < 4; i++) {
		if (!text || strcmp(text, names[i]) == 0) {
			*out = (enum mbox_format)i;
			return OK;
		}
	}
	tool_error("--format is auto, mboxo, mboxrd or mboxcl2");
	return E_PARSE;
}

static enum err
run(struct run *r, const char *path, const char *mailbox)
{
	struct stat st;
	uint64_t size = 0;
	enum err e = import_sandbox(&r->im, path, 0);

	if (e)
		return e;
	if (stat(path, &st) != 0) {
		tool_error("%s: %s", path, strerror(errno));
		return err_from_errno(errno);
	}
	if (S_ISDIR(st.st_mode)) {
		int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (dir < 0) {
			tool_error("%s: %s", path, strerror(errno));
			return err_from_errno(errno);
		}
		return take_directory(r, dir, mailbox ? mailbox : "", 0);
	}
	e = open_file(AT_FDCWD, path, 1, &r->fd, &size);
	if (e) {
		tool_error("%s: %s", path, err_text(e));
		return e;
	}
	r->im.expected_bytes = size;
	e = take_file(r, size, mailbox ? mailbox : "INBOX");
	if (e == E_PARSE)
		tool_error("%s: this is no mbox file: it does not begin with \"From \"", path);
	io_close(&r->fd);
	return e == E_PARSE ? E_UNSUPPORTED : e;
}

enum err
import_mbox(struct tool *t, int argc, char **argv)
{
	static const struct tool_option options[] = {{"mailbox", 0}, {"format", 0}, {NULL, 0}};
	struct run r = {.fd = -1};
	struct tool_args a;
	enum err e = tool_args_parse(argc, argv, options, 2, 2, &a);

	e = e ? e : format_parse(a.values[1], &r.format);
	if (e)
		return e;
	e = import_begin(t, a.positional[0], IMPORT_MAY_READ_ALL, &r.im);
	if (e == OK)
		e = run(&r, a.positional[1], a.values[0]);
	return import_end(&r.im, e);
}
