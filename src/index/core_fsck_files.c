/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "index/core_fsck.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/io.h"

/* What lies in a folder, whatever the index says. */

enum { TMP_LIFETIME_S = 36 * 3600 };

static void
check_parts(const struct fsck *f, const struct core_box *b)
{
	static const char *const parts[] = {"new", "cur", "tmp", "maildirfolder"};
	char path[MAILDIR_NAME_MAX + 32];
	struct stat st;

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (i == 3 && !b->dir[0])
			continue;
		snprintf(path, sizeof(path), "%s%s%s", b->dir, b->dir[0] ? "/" : "", parts[i]);
		if (fstatat(f->core->maildir_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0)
			continue;
		fsck_found(f, "folder", b->name, f->repair ? core_dir_make(f->core, b->dir) : OK,
			"%s is missing", parts[i]);
	}
}

/*
 * Nothing is thrown away: a directory goes where it harms nobody. What holds nothing itself (a
 * link, whose target is said, a FIFO, a socket) is removed.
 */
static enum err
put_aside(const struct fsck *f, int fd, const char *name, const struct stat *st)
{
	char to[MAILDIR_NAME_MAX + 32], random[9];
	int top;
	enum err e = OK;

	if (!S_ISDIR(st->st_mode))
		return unlinkat(fd, name, 0) == 0 ? OK : err_from_errno(errno);
	if (mkdirat(f->core->maildir_fd, CORE_LOST_DIR, 0700) != 0 && errno != EEXIST)
		return err_from_errno(errno);
	top = openat(f->core->maildir_fd, CORE_LOST_DIR,
		O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (top < 0)
		return err_from_errno(errno);
	io_random_hex(random, 4);
	snprintf(to, sizeof(to), "%s-%.200s", random, name);
	if (renameat(fd, name, top, to) != 0)
		e = err_from_errno(errno);
	io_close(&top);
	return e;
}

static void
check_owner(const struct fsck *f, const struct core_box *b, int fd, const char *name,
	const struct stat *st)
{
	enum err e = OK;

	if (st->st_uid != geteuid()) {
		if (f->repair && fchownat(fd, name, geteuid(), (gid_t)-1, AT_SYMLINK_NOFOLLOW) != 0)
			e = err_from_errno(errno);
		fsck_found(f, "owner", b->name, e, "%s belongs to another user", name);
		if (e)
			return;
	}
	if ((st->st_mode & 0600) == 0600 && (st->st_mode & 0022) == 0)
		return;
	if (f->repair && fchmodat(fd, name, ((st->st_mode | 0600) & 0755), 0) != 0)
		e = err_from_errno(errno);
	fsck_found(f, "owner", b->name, e, "%s has the mode %04o", name,
		(unsigned)st->st_mode & 07777);
}

static void
check_file(
	const struct fsck *f, const struct core_box *b, int fd, enum core_sub sub, const char *name)
{
	struct stat st;

	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return;
	if (!S_ISREG(st.st_mode)) {
		char target[256];
		ssize_t n = readlinkat(fd, name, target, sizeof(target) - 1);

		target[n > 0 ? n : 0] = '\0';
		fsck_found(f, "file", b->name, f->repair ? put_aside(f, fd, name, &st) : OK,
			"%s is no regular file%s%s", name, n > 0 ? " but a link to " : "", target);
		return;
	}
	/* ctime too: mtime is the internal date, which may be any. */
	if (sub == CORE_TMP) {
		int64_t before = core_now_s() - TMP_LIFETIME_S;
		enum err e = OK;

		if (st.st_mtime >= before || st.st_ctime >= before)
			return;
		if (f->repair && unlinkat(fd, name, 0) != 0)
			e = err_from_errno(errno);
		fsck_found(f, "tmp", b->name, e, "%s was never delivered", name);
		return;
	}
	check_owner(f, b, fd, name, &st);
}

static void
check_dir(const struct fsck *f, const struct core_box *b, enum core_sub sub)
{
	struct dirent *d;
	DIR *dirp;
	int fd;

	if (core_dir_open(f->core, b->dir, sub, &fd))
		return;
	dirp = fdopendir(fd);
	if (!dirp) {
		io_close(&fd);
		return;
	}
	while ((d = readdir(dirp)))
		if (d->d_name[0] != '.')
			check_file(f, b, dirfd(dirp), sub, d->d_name);
	closedir(dirp);
}

static void
check_entries(const struct fsck *f, const struct core_box *b, const char *file)
{
	struct entry_list l, again = {0};
	size_t bad = 0;
	enum err e = entry_file_read(f->core->maildir_fd, b->dir, file, &l, &bad);

	if (e == E_CORRUPT) {
		e = f->repair ? core_entries_read(f->core, b->dir, file, &again) : OK;
		fsck_found(f, "metadata", b->name, e, "%s is none; it goes aside", file);
	} else if (e == OK && bad) {
		fsck_found(f, "metadata", b->name,
			f->repair ? core_entries_write(f->core, b->dir, file, &l) : OK,
			"%s has %zu lines that are none", file, bad);
	}
	entry_list_free(&l);
	entry_list_free(&again);
}

void
fsck_folder(const struct fsck *f, const struct core_box *b)
{
	check_parts(f, b);
	check_dir(f, b, CORE_NEW);
	check_dir(f, b, CORE_CUR);
	check_dir(f, b, CORE_TMP);
	check_entries(f, b, ENTRY_FILE_METADATA);
	check_entries(f, b, ENTRY_FILE_ACL);
}
