/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "index/core_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

static const char *const sub_names[] = {"new", "cur", "tmp", "."};

enum err
core_dir_open(struct index_core *c, const char *dir, enum core_sub sub, int *fd)
{
	char path[MAILDIR_NAME_MAX + 8];

	/* dir is one component or empty; a symbolic link there would lead out of the Maildir. */
	*fd = -1;
	if (dir[0]) {
		int top = openat(c->maildir_fd, dir, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		if (top < 0)
			return errno == ELOOP || errno == ENOTDIR ? E_NOTFOUND
								  : err_from_errno(errno);
		*fd = openat(top, sub_names[sub], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		close(top);
	} else {
		snprintf(path, sizeof(path), "%s", sub_names[sub]);
		*fd = openat(c->maildir_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	}
	if (*fd < 0)
		return errno == ELOOP || errno == ENOTDIR ? E_NOTFOUND : err_from_errno(errno);
	return OK;
}

void
core_sync_note(struct index_core *c, int fd)
{
	struct stat st;
	int dup;

	if (!c->fsync || fstat(fd, &st) != 0)
		return;
	for (size_t i = 0; i < c->sync_count; i++)
		if (c->sync[i].ino == st.st_ino && c->sync[i].dev == st.st_dev)
			return;
	dup = c->sync_count < CORE_SYNC_DIRS_MAX ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1;
	if (dup < 0) {
		/* Out of descriptors: what a later answer waits for is done at once. */
		if (fsync(fd) != 0)
			c->sync_errno = errno;
		return;
	}
	if (c->sync_count == c->sync_cap) {
		c->sync_cap = c->sync_cap ? c->sync_cap * 2 : 8;
		c->sync = mem_realloc(c->sync, c->sync_cap, sizeof(*c->sync));
	}
	c->sync[c->sync_count++] =
		(struct core_sync_dir){.dev = st.st_dev, .ino = st.st_ino, .fd = dup};
}

size_t
index_core_sync_take(struct index_core *c, int *fds, size_t max)
{
	size_t n = c->sync_count < max ? c->sync_count : max;

	for (size_t i = 0; i < n; i++)
		fds[i] = c->sync[c->sync_count - 1 - i].fd;
	c->sync_count -= n;
	return n;
}

int
index_core_sync_waits(const struct index_core *c)
{
	return c->sync_count != 0 || c->sync_errno != 0;
}

int
index_core_sync_errno(struct index_core *c)
{
	int failed = c->sync_errno;

	c->sync_errno = 0;
	return failed;
}

enum err
index_core_sync(struct index_core *c)
{
	enum err e = err_from_errno(index_core_sync_errno(c));

	for (size_t i = 0; i < c->sync_count; i++) {
		if (e == OK && fsync(c->sync[i].fd) != 0)
			e = err_from_errno(errno);
		close(c->sync[i].fd);
	}
	c->sync_count = 0;
	return e;
}

int64_t
core_dir_mtime_ns(int fd)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return 0;
	return (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
}

static int
stat_at(struct index_core *c, const char *dir, enum core_sub sub, struct stat *st)
{
	char path[MAILDIR_NAME_MAX + 8];

	snprintf(path, sizeof(path), "%s%s%s", dir, dir[0] ? "/" : "", sub_names[sub]);
	return fstatat(c->maildir_fd, path, st, AT_SYMLINK_NOFOLLOW);
}

int64_t
core_dir_size_at(struct index_core *c, const char *dir, enum core_sub sub)
{
	struct stat st;

	return stat_at(c, dir, sub, &st) == 0 ? (int64_t)st.st_size : 0;
}

int64_t
core_dir_mtime_at(struct index_core *c, const char *dir, enum core_sub sub)
{
	struct stat st;

	if (stat_at(c, dir, sub, &st) != 0)
		return 0;
	return (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
}

char *
core_dir_path(struct index_core *c, const char *dir, const char *file)
{
	return mem_printf("%s%s%s%s%s", c->maildir, dir[0] ? "/" : "", dir, file ? "/" : "",
		file ? file : "");
}

static enum err
make_one(const char *path)
{
	if (mkdir(path, 0700) == 0 || errno == EEXIST)
		return OK;
	return err_from_errno(errno);
}

enum err
core_dir_make(struct index_core *c, const char *dir)
{
	char *path = core_dir_path(c, dir, NULL);
	enum err e = make_one(path);
	int fd = -1;

	for (int i = 0; i < 3 && e == OK; i++) {
		char *sub = core_dir_path(c, dir, sub_names[i]);

		e = make_one(sub);
		free(sub);
	}
	if (e == OK && dir[0]) {
		char *mark = core_dir_path(c, dir, "maildirfolder");

		fd = open(mark, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd < 0)
			e = err_from_errno(errno);
		io_close(&fd);
		free(mark);
	}
	if (e == OK)
		e = core_dir_open(c, dir, CORE_TOP, &fd);
	if (e == OK)
		core_sync_note(c, fd);
	io_close(&fd);
	core_sync_note(c, c->maildir_fd);
	free(path);
	return e;
}

/* Where the mailbox's slot is, or is to be. */
static uint32_t *
memory_slot(struct index_core *c, uint32_t mailbox)
{
	size_t mask = c->memory_slot_count - 1;
	/* Multiplicative, for mailbox numbers are close together and slots few. */
	size_t i = (mailbox * UINT32_C(2654435761) >> 7) & mask;

	while (c->memory_slots[i] && c->memory[c->memory_slots[i] - 1].id != mailbox)
		i = (i + 1) & mask;
	return &c->memory_slots[i];
}

static void
memory_grow(struct index_core *c)
{
	enum { SLOTS_MIN = 16 };

	if (c->memory_count == c->memory_cap) {
		c->memory_cap = c->memory_cap ? c->memory_cap * 2 : SLOTS_MIN / 2;
		c->memory = mem_realloc(c->memory, c->memory_cap, sizeof(*c->memory));
	}
	if ((c->memory_count + 1) * 2 <= c->memory_slot_count)
		return;
	free(c->memory_slots);
	c->memory_slot_count = c->memory_slot_count ? c->memory_slot_count * 2 : SLOTS_MIN;
	c->memory_slots = mem_zalloc(c->memory_slot_count * sizeof(*c->memory_slots));
	for (size_t i = 0; i < c->memory_count; i++)
		*memory_slot(c, c->memory[i].id) = (uint32_t)i + 1;
}

struct core_box_memory *
core_memory(struct index_core *c, uint32_t mailbox)
{
	uint32_t *slot;

	if (c->memory_slot_count) {
		slot = memory_slot(c, mailbox);
		if (*slot)
			return &c->memory[*slot - 1];
	}
	memory_grow(c);
	slot = memory_slot(c, mailbox);
	c->memory[c->memory_count] = (struct core_box_memory){.id = mailbox};
	*slot = (uint32_t)++c->memory_count;
	return &c->memory[*slot - 1];
}

int64_t
core_now_s(void)
{
	return (int64_t)time(NULL);
}

int
core_time_is_fresh(int64_t mtime_ns)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec - mtime_ns < 20 * 1000 * 1000;
}

enum err
core_touch_begin(struct index_core *c, const struct core_box *b, int with_new, int with_cur,
	struct core_touch *t)
{
	enum err e = OK;

	t->fd[0] = t->fd[1] = -1;
	t->clean[0] = t->clean[1] = 0;
	if (with_new)
		e = core_dir_open(c, b->dir, CORE_NEW, &t->fd[0]);
	if (e == OK && with_cur)
		e = core_dir_open(c, b->dir, CORE_CUR, &t->fd[1]);
	if (e) {
		core_touch_close(t);
		return e;
	}
	if (with_new)
		t->clean[0] = b->r.new_mtime_ns && core_dir_mtime_ns(t->fd[0]) == b->r.new_mtime_ns;
	if (with_cur)
		t->clean[1] = b->r.cur_mtime_ns && core_dir_mtime_ns(t->fd[1]) == b->r.cur_mtime_ns;
	return OK;
}

void
core_touch_end(struct index_core *c, struct core_touch *t, struct core_box *b)
{
	if (t->clean[0]) {
		b->r.new_mtime_ns = core_dir_mtime_ns(t->fd[0]);
		/*
		 * Another program's delivery between the two looks, or within the same tick of the
		 * clock, would stay unseen: the next refresh reads new/, which is small.
		 */
		core_memory(c, b->r.id)->new_uncertain = 1;
	}
	if (t->clean[1])
		b->r.cur_mtime_ns = core_dir_mtime_ns(t->fd[1]);
}

void
core_touch_close(struct core_touch *t)
{
	io_close(&t->fd[0]);
	io_close(&t->fd[1]);
}
