/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "index/core_guest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "index/core_private.h"
#include "index/entry_file.h"
#include "lib/io.h"
#include "lib/mem.h"

/* Files of an owner's mailbox for a guest, who cannot open them himself, and his files for it. */

struct take {
	uint32_t mailbox;
	struct core_box box;
};

static enum err
take_step(struct core_tx *tx, void *arg)
{
	struct take *t = arg;

	return core_box_get(tx, t->mailbox, &t->box);
}

static char *
tmp_name(struct index_core *c)
{
	struct maildir_unique u = {.pid = (uint32_t)getpid(), .host = c->host};
	struct buf name = {0};
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	u.time_s = now.tv_sec;
	u.usec = (uint32_t)(now.tv_nsec / 1000);
	u.counter = ++c->counter;
	maildir_unique_build(&u, &name);
	return buf_steal(&name);
}

enum err
core_guest_take_file(struct index_core *c, uint32_t mailbox, const char *from_dir, struct str name,
	char **tmp, uint64_t *stored_size)
{
	struct take t = {.mailbox = mailbox};
	char *from = str_dup(name);
	int src, dst = -1;
	int64_t mtime;
	enum err e = core_read(c, take_step, &t);

	*tmp = tmp_name(c);
	src = open(from_dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (e == OK && src < 0)
		e = E_NOTFOUND;
	if (e == OK && (name.len == 0 || strchr(from, '/') || str_has_control(name)))
		e = E_RANGE;
	/* A regular file, and none that it would take for ever to open. */
	if (e == OK)
		e = core_file_size(c, src, from, stored_size, &mtime);
	if (e == OK)
		e = core_dir_open(c, t.box.dir, CORE_TMP, &dst);
	if (e == OK)
		e = core_copy_bytes(c, src, from, dst, dst, *tmp);
	if (e)
		MEM_FREE(*tmp);
	io_close(&src);
	io_close(&dst);
	free(from);
	return e;
}

void
core_guest_drop_file(struct index_core *c, uint32_t mailbox, const char *tmp)
{
	struct take t = {.mailbox = mailbox};
	int fd;

	if (core_read(c, take_step, &t) || core_dir_open(c, t.box.dir, CORE_TMP, &fd))
		return;
	(void)unlinkat(fd, tmp, 0);
	io_close(&fd);
}

struct content {
	uint32_t mailbox, uid;
	struct core_box box;
	struct core_message m;
};

static enum err
content_step(struct core_tx *tx, void *arg)
{
	struct content *x = arg;
	enum err e = core_box_get(tx, x->mailbox, &x->box);

	return e ? e : core_message_get(tx, x->mailbox, x->uid, &x->m);
}

/* Regular files only: no symbolic links, no FIFOs. */
static enum err
file_open(int dir, const char *name, int *fd)
{
	struct stat st;

	*fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (*fd < 0)
		return errno == ELOOP || errno == ENXIO || errno == ENOTDIR ? E_NOTFOUND
									    : err_from_errno(errno);
	if (fstat(*fd, &st) == 0 && S_ISREG(st.st_mode))
		return OK;
	io_close(fd);
	return E_NOTFOUND;
}

enum err
core_guest_file(struct index_core *c, uint32_t mailbox, uint32_t uid, int *fd)
{
	struct content x = {.mailbox = mailbox, .uid = uid};
	struct buf path = {0};
	int dir = -1;
	enum err e = core_read(c, content_step, &x);

	*fd = -1;
	if (e == OK)
		e = core_dir_open(c, x.box.dir, x.m.r.in_new ? CORE_NEW : CORE_CUR, &dir);
	if (e == OK)
		e = file_open(dir, x.m.name, fd);
	io_close(&dir);
	if (e != E_NOTFOUND)
		return e;
	/* Another program has renamed it. */
	e = index_core_locate(c, mailbox, uid, &path);
	if (e == OK)
		e = file_open(c->maildir_fd, buf_cstr(&path), fd);
	buf_free(&path);
	return e;
}

struct entries {
	uint32_t mailbox;
	const char *file;
	struct entry_list list;
};

static enum err
entries_step(struct core_tx *tx, void *arg)
{
	struct entries *x = arg;
	struct core_box box;
	enum err e = core_box_get(tx, x->mailbox, &box);

	return e ? e : core_entries_read(tx->core, box.dir, x->file, &x->list);
}

enum err
core_guest_entries(struct index_core *c, uint32_t mailbox, int acl,
	void (*fn)(struct str name, struct str value, void *arg), void *arg)
{
	struct entries x = {.mailbox = mailbox, .file = acl ? ENTRY_FILE_ACL : ENTRY_FILE_METADATA};
	enum err e = core_read(c, entries_step, &x);

	for (size_t i = 0; i < x.list.count && e == OK; i++)
		fn(str_of(x.list.items[i].name), buf_str(&x.list.items[i].value), arg);
	entry_list_free(&x.list);
	return e;
}
