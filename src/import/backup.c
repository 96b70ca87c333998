/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "import/backup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/mem.h"

/* ---- directories ---- */

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path) == 0 || errno == ENOENT ? 0 : -1;
}

enum err
backup_remove_tree(const char *path)
{
	if (nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS) == 0 || errno == ENOENT)
		return OK;
	return err_from_errno(errno);
}

/* "20261121T014821Z" */
static int
is_stamp(const char *name)
{
	for (int i = 0; i < 16; i++)
		if (i == 8 ? name[i] != 'T' : i == 15 ? name[i] != 'Z' : !str_is_digit(name[i]))
			return 0;
	return name[16] == '\0';
}

static int
is_finished(const char *dir, const char *name)
{
	char *mark = mem_printf("%s/%s/" BACKUP_MARK, dir, name);
	struct stat st;
	int yes = stat(mark, &st) == 0 && S_ISREG(st.st_mode);

	free(mark);
	return yes;
}

char *
backup_find(const char *dir, const char *name)
{
	char best[17] = "";
	struct dirent *d;
	DIR *dirp;

	if (name)
		return is_finished(dir, name) ? mem_printf("%s/%s", dir, name) : NULL;
	dirp = opendir(dir);
	while (dirp && (d = readdir(dirp)))
		if (is_stamp(d->d_name) && strcmp(d->d_name, best) > 0 &&
			is_finished(dir, d->d_name))
			memcpy(best, d->d_name, sizeof(best));
	if (dirp)
		closedir(dirp);
	return best[0] ? mem_printf("%s/%s", dir, best) : NULL;
}

/* What runs before left when they were killed. */
static enum err
remove_unfinished(const char *dir)
{
	struct dirent *d;
	DIR *dirp = opendir(dir);
	enum err e = dirp ? OK : err_from_errno(errno);

	while (dirp && e == OK && (d = readdir(dirp))) {
		char *path;

		if (!str_ends_i(str_of(d->d_name), BACKUP_UNFINISHED) || strlen(d->d_name) < 17)
			continue;
		path = mem_printf("%s/%s", dir, d->d_name);
		tool_error("%s: an unfinished backup, removed", path);
		e = backup_remove_tree(path);
		free(path);
	}
	if (dirp)
		closedir(dirp);
	return e;
}

/* One at a time. */
static enum err
lock_dir(const char *dir, int *fd)
{
	*fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*fd < 0)
		return err_from_errno(errno);
	if (flock(*fd, LOCK_EX | LOCK_NB) == 0)
		return OK;
	io_close(fd);
	return E_CONFLICT;
}

/* A name that is above all that are there, also when the clock went back. */
static char *
new_stamp(const char *dir)
{
	char *last = backup_find(dir, NULL);
	char stamp[32];
	time_t now = time(NULL);
	struct tm tm;

	do
		strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", gmtime_r(&now, &tm));
	while (last && strcmp(stamp, strrchr(last, '/') + 1) <= 0 && now++);
	free(last);
	return mem_printf("%s/%s", dir, stamp);
}

/* ---- what is in it besides mail ---- */

/* Domains, users and aliases as roost-auth tells them: no passwords. */
static enum err
write_directory(struct backup *b)
{
	static const char *const verbs[] = {
		"domain-list", "user-list", "alias-list", "domain-alias-list"};
	json_t *all = json_object(), *part;
	char *path = mem_printf("%s/directory.json", b->stage), *text;
	enum err e = OK;

	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]) && e == OK; i++) {
		e = tool_call(b->tool, "auth", verbs[i], NULL, &part);
		if (e == OK)
			json_object_set_new(all, verbs[i], part);
	}
	text = json_dumps(all, JSON_INDENT(2));
	if (e == OK && text)
		e = io_write_file_atomic(path, text, strlen(text), 0600);
	json_decref(all);
	free(text);
	free(path);
	return e;
}

static enum err
take_users(struct backup *b, const struct tool_args *a, int all)
{
	json_t *users = NULL, *row;
	size_t i;
	enum err e = OK;

	for (i = 1; i < a->count && e == OK; i++)
		e = backup_user(b, a->positional[i]);
	if (e || !all)
		return e;
	e = tool_call(b->tool, "auth", "user-list", json_object(), &users);
	if (e)
		return e;
	json_array_foreach(users, i, row)
	{
		const char *address = json_string_value(json_object_get(row, "address"));

		if (address && e == OK)
			e = backup_user(b, address);
	}
	json_decref(users);
	return e;
}

/* All is on disk before it gets its name. */
static enum err
finish(struct backup *b, const char *final)
{
	char *mark = mem_printf("%s/" BACKUP_MARK, b->stage);
	char *text = mem_printf("roost-backup 1\nusers %llu\nmessages %llu\nfailed %llu\n",
		(unsigned long long)b->users, (unsigned long long)b->messages,
		(unsigned long long)b->failed);
	char *parent = mem_printf("%.*s", (int)(strrchr(final, '/') - final), final);
	int fd = open(b->stage, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	enum err e = fd < 0 || syncfs(fd) != 0 ? err_from_errno(errno) : OK;

	if (e == OK)
		e = io_write_file_atomic(mark, text, strlen(text), 0600);
	if (e == OK && rename(b->stage, final) != 0)
		e = err_from_errno(errno);
	if (e == OK)
		e = io_fsync_dir(parent);
	io_close(&fd);
	free(mark);
	free(text);
	free(parent);
	return e;
}

/* ---- the verb ---- */

enum { O_ALL, O_INCREMENTAL, O_VERIFY };
static const struct tool_option options[] = {
	[O_ALL] = {"all", 1},
	[O_INCREMENTAL] = {"incremental", 1},
	[O_VERIFY] = {"verify", 1},
	{NULL, 0},
};

static enum err
make_backup(struct backup *b, const struct tool_args *a)
{
	const char *dir = a->positional[0];
	char *final = NULL;
	json_t *done;
	int lock = -1;
	enum err e = io_mkdir_parents(dir, 0700);

	e = e ? e : lock_dir(dir, &lock);
	if (e) {
		tool_error("%s: %s", dir,
			e == E_CONFLICT ? "another backup is running there" : err_text(e));
		return e;
	}
	e = remove_unfinished(dir);
	if (a->values[O_INCREMENTAL])
		b->previous = backup_find(dir, NULL);
	final = new_stamp(dir);
	b->stage = mem_printf("%s" BACKUP_UNFINISHED, final);
	if (e == OK && mkdir(b->stage, 0700) != 0)
		e = err_from_errno(errno);
	e = e ? e : write_directory(b);
	e = e ? e : take_users(b, a, a->values[O_ALL] != NULL);
	if (e == OK && b->users == 0 && b->failed)
		e = E_NOTFOUND;
	e = e ? e : finish(b, final);
	if (e) {
		tool_error("%s: no backup was made: %s", dir, err_text(e));
		(void)backup_remove_tree(b->stage);
	} else {
		done = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I}", "backup", final, "users",
			(json_int_t)b->users, "messages", (json_int_t)b->messages, "linked",
			(json_int_t)b->linked, "bytes_copied", (json_int_t)b->bytes, "failed",
			(json_int_t)b->failed);
		tool_print(b->tool, &done, NULL);
	}
	io_close(&lock);
	free(final);
	return e ? e : b->failed ? E_NOTFOUND : OK;
}

enum err
backup_run(struct tool *t, int argc, char **argv)
{
	struct backup b = {.tool = t, .is_terminal = isatty(2)};
	struct tool_args a;
	char *path;
	enum err e = tool_args_parse(argc, argv, options, 1, TOOL_POSITIONALS_MAX, &a);

	if (e)
		return e;
	if (a.values[O_VERIFY]) {
		path = backup_find(a.positional[0], a.count > 1 ? a.positional[1] : NULL);
		if (!path && is_finished(a.positional[0], "."))
			path = mem_strdup(a.positional[0]);
		if (!path) {
			tool_error("%s: there is no finished backup", a.positional[0]);
			return E_NOTFOUND;
		}
		e = backup_verify(t, path);
		free(path);
		return e;
	}
	if ((a.count > 1) == (a.values[O_ALL] != NULL)) {
		tool_error("name the users, or --all");
		return E_PARSE;
	}
	e = make_backup(&b, &a);
	free(b.stage);
	free(b.previous);
	return e == E_PARSE ? E_CORRUPT : e;
}
