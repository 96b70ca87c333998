/* SPDX-License-Identifier: MIT */
#include "import/backup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/mem.h"

/* roostctl backup --verify: every file against the manifest, and the manifest against the files. */

struct verify {
	uint64_t users, messages, bytes, bad;
};

static void
complain(struct verify *v, const char *path, const char *what)
{
	v->bad++;
	tool_error("%s: %s", path, what);
}

static void
check_message(struct verify *v, const char *cur, const struct manifest_message *m)
{
	char hash[BACKUP_HASH_TEXT] = "";
	char *path = mem_printf("%s/%.*s", cur, STR_ARG(m->name));
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	uint64_t size = 0;
	struct stat st;

	if (fd < 0)
		complain(v, path, errno == ENOENT ? "is missing" : strerror(errno));
	else if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		complain(v, path, "is no regular file");
	else if ((uint64_t)st.st_size != m->size)
		complain(v, path, "has another size");
	else if (backup_hash_copy(fd, -1, hash, &size))
		complain(v, path, "cannot be read");
	else if (!str_is(m->hash, hash))
		complain(v, path, "has other contents");
	v->messages++;
	v->bytes += size;
	io_close(&fd);
	free(path);
}

static void
check_folder(struct verify *v, const char *user, const struct manifest_folder *f)
{
	char *cur = mem_printf("%s/Maildir/%.*s/cur", user, STR_ARG(f->dir));
	struct dirent *d;
	size_t files = 0;
	DIR *dirp = opendir(cur);

	if (!dirp)
		complain(v, cur, strerror(errno));
	while (dirp && (d = readdir(dirp)))
		files += d->d_name[0] != '.';
	if (dirp)
		closedir(dirp);
	for (size_t i = 0; i < f->count; i++)
		check_message(v, cur, &f->messages[i]);
	if (dirp && files > f->count)
		complain(v, cur, "has files that are not in the manifest");
	free(cur);
}

static void
check_user(struct verify *v, const char *user)
{
	char *path = mem_printf("%s/" BACKUP_MANIFEST, user);
	struct manifest m;
	enum err e = manifest_load(path, &m);

	if (e)
		complain(v, path, err_text(e));
	for (size_t i = 0; e == OK && i < m.folder_count; i++)
		check_folder(v, user, &m.folders[i]);
	v->users += e == OK;
	if (e == OK)
		manifest_free(&m);
	free(path);
}

/* Directories at this depth below mail/ are users. */
static void
walk(struct verify *v, const char *dir, int depth)
{
	DIR *dirp = opendir(dir);
	struct dirent *d;

	if (!dirp)
		complain(v, dir, strerror(errno));
	while (dirp && (d = readdir(dirp))) {
		char *path;

		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		path = mem_printf("%s/%s", dir, d->d_name);
		if (depth == 1)
			check_user(v, path);
		else
			walk(v, path, depth + 1);
		free(path);
	}
	if (dirp)
		closedir(dirp);
}

enum err
backup_verify(struct tool *t, const char *path)
{
	struct verify v = {0};
	char *mail = mem_printf("%s/mail", path);
	json_t *done;

	walk(&v, mail, 0);
	done = json_pack("{s:s, s:I, s:I, s:I, s:I}", "backup", path, "users", (json_int_t)v.users,
		"messages", (json_int_t)v.messages, "bytes", (json_int_t)v.bytes, "bad",
		(json_int_t)v.bad);
	tool_print(t, &done, NULL);
	free(mail);
	return v.bad ? E_NOTFOUND : OK;
}
