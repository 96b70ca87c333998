/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "import/backup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "import/import.h"
#include "index/core_files.h"
#include "index/core_name.h"
#include "lib/io.h"
#include "lib/mem.h"

/*
 * roostctl restore. Into an account without messages the whole tree is put back with its UIDs: it
 * is made beside the Maildir and takes its place in one step. Everything else adds what is missing,
 * as an import does.
 *
 *   Maildir.restoring with roost-restoring in it   the tree that is being made
 *   Maildir with roost-restoring in it             it is in place; the index may not know yet, and
 *                                                  Maildir.restoring is what was there before
 */

#define RESTORING_DIR "Maildir.restoring"
#define RESTORING_MARK "roost-restoring"

enum {
	/* Whoever used the mailbox after the backup has seen UIDs that are not in it. */
	UID_GAP = 1000 * 1000,
	UID_GAP_BELOW = INT32_MAX,
	DEPTH_MAX = 16,
};

struct restore {
	struct import im;
	char *source; /* the user's directory in the backup */
	struct import_maildir_wishes wishes;
	char dir[MAILDIR_NAME_MAX + 1];
};

/* ---- the whole tree ---- */

static enum err
copy_file(struct restore *r, const char *from, const char *to, const struct manifest_message *m)
{
	char hash[BACKUP_HASH_TEXT] = "";
	uint64_t size = 0;
	struct stat st;
	int in = open(from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), out = -1;
	enum err e = in < 0 ? err_from_errno(errno) : OK;

	if (e == OK && (fstat(in, &st) != 0 || !S_ISREG(st.st_mode)))
		e = E_NOTFOUND;
	if (e == OK) {
		out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		e = out < 0 ? err_from_errno(errno) : backup_hash_copy(in, out, hash, &size);
	}
	if (e == OK) {
		struct timespec times[2] = {st.st_mtim, st.st_mtim};

		e = futimens(out, times) == 0 ? OK : err_from_errno(errno);
		r->im.bytes += size;
	}
	/* Better a damaged message than none. */
	if (e == OK && m && !str_is(m->hash, hash))
		import_failed(&r->im, from, NULL, "this is not what was saved; restored as it is");
	io_close(&in);
	io_close(&out);
	return e;
}

/* The floor goes up: UIDs that were given after the backup must not come again. */
static enum err
write_numbers(struct restore *r, const struct manifest_folder *f, const char *from, const char *to)
{
	struct buf text = BUF_INIT(4096), out = {0};
	struct index_mailbox inbox = {0};
	struct str rest;
	uint32_t next = f->uidnext;
	enum err e = io_read_file(from, &text);

	if (e == OK && f->dir.len == 0 &&
		index_mailbox_get(r->im.user, STR("INBOX"), &inbox) == OK &&
		inbox.uidvalidity == f->uidvalidity && inbox.uidnext > next)
		next = inbox.uidnext;
	index_mailbox_free(&inbox);
	next += next < UID_GAP_BELOW ? UID_GAP : CORE_UID_CHUNK;
	rest = buf_str(&text);
	while (e == OK && rest.len) {
		struct str line = str_split(&rest, '\n');

		if (str_starts_i(line, "next-uid "))
			buf_printf(&out, "next-uid %u\n", next);
		else
			buf_printf(&out, "%.*s\n", STR_ARG(line));
	}
	if (e == OK)
		e = io_write_file_atomic(to, out.p, out.len, 0600);
	buf_free(&text);
	buf_free(&out);
	return e;
}

/* What lies beside cur; other programs' lists would only be ignored. */
static enum err
copy_beside(struct restore *r, const struct manifest_folder *f, const char *from, const char *to)
{
	DIR *dirp = opendir(from);
	struct dirent *d;
	enum err e = dirp ? OK : err_from_errno(errno);

	while (dirp && e == OK && (d = readdir(dirp))) {
		char *source = mem_printf("%s/%s", from, d->d_name);
		char *target = mem_printf("%s/%s", to, d->d_name);
		struct stat st;

		if (strcmp(d->d_name, CORE_FILE_UID) == 0)
			e = write_numbers(r, f, source, target);
		else if (strncmp(d->d_name, "dovecot-", 8) != 0 && lstat(source, &st) == 0 &&
			 S_ISREG(st.st_mode))
			e = copy_file(r, source, target, NULL);
		free(source);
		free(target);
	}
	if (dirp)
		closedir(dirp);
	return e;
}

static enum err
copy_folder(struct restore *r, const char *stage, const struct manifest_folder *f)
{
	static const char *const subs[] = {"", "/cur", "/new", "/tmp"};
	char *from = mem_printf("%s/Maildir/%.*s", r->source, STR_ARG(f->dir));
	char *to = mem_printf("%s/%.*s", stage, STR_ARG(f->dir));
	enum err e = OK;

	for (size_t i = 0; i < sizeof(subs) / sizeof(subs[0]) && e == OK; i++) {
		char *path = mem_printf("%s%s", to, subs[i]);

		if (mkdir(path, 0700) != 0 && errno != EEXIST)
			e = err_from_errno(errno);
		free(path);
	}
	for (size_t i = 0; i < f->count && e == OK; i++) {
		char *source = mem_printf("%s/cur/%.*s", from, STR_ARG(f->messages[i].name));
		char *target = mem_printf("%s/cur/%.*s", to, STR_ARG(f->messages[i].name));

		e = copy_file(r, source, target, &f->messages[i]);
		if (e == E_NOTFOUND) {
			import_failed(&r->im, source, NULL, "is missing in the backup");
			e = OK;
		} else {
			r->im.messages++;
		}
		import_progress(&r->im);
		free(source);
		free(target);
	}
	e = e ? e : copy_beside(r, f, from, to);
	r->im.mailboxes += e == OK;
	free(from);
	free(to);
	return e;
}

/* Scripts and the like, where the account has none. */
static enum err
copy_home(struct restore *r, const char *below, int depth)
{
	char *top = mem_printf("%s%s", r->source, below);
	DIR *dirp = depth < DEPTH_MAX ? opendir(top) : NULL;
	struct dirent *d;
	enum err e = OK;

	while (dirp && e == OK && (d = readdir(dirp))) {
		char *from = mem_printf("%s/%s", top, d->d_name), target[PATH_MAX];
		char *to = mem_printf("%s%s/%s", r->im.home, below, d->d_name);
		char *next = mem_printf("%s/%s", below, d->d_name);
		struct stat st, there;
		ssize_t n;

		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0 ||
			(!depth && (strcmp(d->d_name, "Maildir") == 0 ||
					   strcmp(d->d_name, BACKUP_MANIFEST) == 0)) ||
			lstat(from, &st) != 0) {
			/* not of this */
		} else if (S_ISDIR(st.st_mode)) {
			if (mkdir(to, 0700) != 0 && errno != EEXIST)
				e = err_from_errno(errno);
			e = e ? e : copy_home(r, next, depth + 1);
		} else if (lstat(to, &there) == 0) {
			/* the account's own counts */
		} else if (S_ISREG(st.st_mode)) {
			e = copy_file(r, from, to, NULL);
		} else if (S_ISLNK(st.st_mode)) {
			n = readlink(from, target, sizeof(target) - 1);
			target[n > 0 ? n : 0] = '\0';
			if (n > 0 && symlink(target, to) != 0)
				e = err_from_errno(errno);
		}
		free(from);
		free(to);
		free(next);
	}
	if (dirp)
		closedir(dirp);
	free(top);
	return e;
}

static enum err
make_stage(struct restore *r, const char *stage)
{
	char *path = mem_printf("%s/" BACKUP_MANIFEST, r->source);
	char *mark = mem_printf("%s/" RESTORING_MARK, stage);
	struct manifest m;
	int fd;
	enum err e = manifest_load(path, &m);

	if (e) {
		tool_error("%s: %s", path, err_text(e));
		goto out;
	}
	e = backup_remove_tree(stage);
	if (e == OK && mkdir(stage, 0700) != 0)
		e = err_from_errno(errno);
	e = e ? e : io_write_file_atomic(mark, "", 0, 0600);
	for (size_t i = 0; i < m.folder_count; i++)
		r->im.expected += m.folders[i].count;
	for (size_t i = 0; i < m.folder_count && e == OK; i++)
		e = copy_folder(r, stage, &m.folders[i]);
	e = e ? e : copy_home(r, "", 0);
	if (e == OK) {
		fd = open(stage, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		e = fd < 0 || syncfs(fd) != 0 ? err_from_errno(errno) : OK;
		io_close(&fd);
	}
	manifest_free(&m);
out:
	free(path);
	free(mark);
	return e;
}

/*
 * The tree is in place. The service makes its index anew from it; mail that came into the old tree
 * until then is taken over from there.
 */
static enum err
finish(struct restore *r, const char *maildir, const char *old)
{
	const struct import_maildir_wishes all = {0};
	char *mark = mem_printf("%s/" RESTORING_MARK, maildir);
	uint64_t found, failed = r->im.failed;
	struct stat st;
	enum err e = index_rebuild(r->im.user, "restored from a backup");

	e = e ? e : import_reopen(&r->im);
	if (e == OK && lstat(old, &st) == 0) {
		e = import_maildir_tree(&r->im, old, &all, &found);
		/* What could not be taken over stays where it is, for the next run. */
		if (e == OK && r->im.failed == failed)
			e = backup_remove_tree(old);
	}
	/* With the mark the next run begins here, and not with an exchange. */
	if (e == OK && r->im.failed == failed && unlink(mark) != 0 && errno != ENOENT)
		e = err_from_errno(errno);
	free(mark);
	return e;
}

static enum err
restore_tree(struct restore *r)
{
	char *maildir = mem_printf("%s/Maildir", r->im.home);
	char *stage = mem_printf("%s/" RESTORING_DIR, r->im.home);
	char *mark = mem_printf("%s/" RESTORING_MARK, maildir);
	struct stat st;
	enum err e = OK;

	/* Else it was killed behind the exchange: that tree is in place. */
	if (lstat(mark, &st) != 0) {
		e = make_stage(r, stage);
		if (e == OK && renameat2(AT_FDCWD, stage, AT_FDCWD, maildir, RENAME_EXCHANGE) != 0)
			e = err_from_errno(errno);
		/* Behind the exchange the account's own tree has that name. */
		if (e)
			(void)backup_remove_tree(stage);
		e = e ? e : io_fsync_dir(r->im.home);
	}
	e = e ? e : finish(r, maildir, stage);
	if (e)
		tool_error("%s: %s", r->im.name, err_text(e));
	free(maildir);
	free(stage);
	free(mark);
	return e;
}

/* ---- what is restored to where ---- */

static enum err
count_messages(const struct index_mailbox *m, void *arg)
{
	*(uint64_t *)arg += m->messages;
	return OK;
}

/* No message in it, or one of our runs was interrupted. */
static int
is_empty(struct restore *r)
{
	char *mark = mem_printf("%s/Maildir/" RESTORING_MARK, r->im.home);
	uint64_t messages = 0;
	struct stat st;
	int interrupted = lstat(mark, &st) == 0;

	free(mark);
	return interrupted ||
	       (index_mailbox_each(r->im.user, count_messages, &messages) == OK && !messages);
}

static enum err
restore_parts(struct restore *r)
{
	char *path = mem_printf("%s/Maildir", r->source);
	uint64_t found = 0;
	enum err e = import_sandbox(&r->im, r->source, 0);

	e = e ? e : import_maildir_tree(&r->im, path, &r->wishes, &found);
	if (e == OK && r->wishes.dir && !found && !r->im.failed &&
		(r->wishes.uid || r->wishes.message_id || !r->im.mailboxes)) {
		tool_error("%s: there is no such %s in the backup", r->source,
			r->im.mailboxes || r->wishes.uid || r->wishes.message_id ? "message"
										 : "mailbox");
		e = E_NOTFOUND;
	}
	free(path);
	return e;
}

enum { O_MAILBOX, O_MESSAGE, O_INTO, O_FROM };
static const struct tool_option options[] = {
	[O_MAILBOX] = {"mailbox", 0},
	[O_MESSAGE] = {"message", 0},
	[O_INTO] = {"into", 0},
	[O_FROM] = {"from", 0},
	{NULL, 0},
};

/* A number is a UID, anything else a Message-ID. */
static enum err
wishes_from(struct restore *r, const struct tool_args *a, char **message_id)
{
	const char *message = a->values[O_MESSAGE], *mailbox = a->values[O_MAILBOX];
	struct str id = str_of(message);

	r->wishes.into = a->values[O_INTO];
	if (message && !mailbox) {
		tool_error("--message wants --mailbox, too");
		return E_PARSE;
	}
	if (mailbox) {
		if (!str_is_i(str_of(mailbox), "INBOX") && core_name_to_dir(mailbox, r->dir)) {
			tool_error("\"%s\" is no name of a mailbox", mailbox);
			return E_PARSE;
		}
		r->wishes.dir = r->dir;
		if (!r->wishes.into)
			r->wishes.into = mailbox;
	}
	if (message && (str_to_u32(id, &r->wishes.uid) || !r->wishes.uid)) {
		if (id.len > 1 && id.p[0] == '<' && id.p[id.len - 1] == '>')
			id = str_make(id.p + 1, id.len - 2);
		r->wishes.message_id = *message_id = str_dup(id);
	}
	return OK;
}

/* Where the backup has this address. */
static enum err
find_source(struct restore *r, const char *backup, const char *address)
{
	char *top = backup_find(backup, "."), *mark;
	struct str local = str_of(address), domain = local;
	struct stat st;
	enum err e = OK;

	if (!top)
		top = backup_find(backup, NULL);
	if (!top) {
		tool_error("%s: there is no finished backup", backup);
		return E_NOTFOUND;
	}
	local = str_split(&domain, '@');
	if (!local.len || !domain.len || str_find(domain, 0, '/') < domain.len ||
		str_find(local, 0, '/') < local.len || local.p[0] == '.' || domain.p[0] == '.') {
		tool_error("%s is no address", address);
		free(top);
		return E_NOTFOUND;
	}
	r->source = mem_printf("%s/mail/%.*s/%.*s", top, STR_ARG(domain), STR_ARG(local));
	mark = mem_printf("%s/" BACKUP_MANIFEST, r->source);
	if (lstat(mark, &st) != 0) {
		tool_error("%s: %s is not in this backup", top, address);
		e = E_NOTFOUND;
	}
	free(mark);
	free(top);
	return e;
}

enum err
restore_run(struct tool *t, int argc, char **argv)
{
	struct restore r = {0};
	struct tool_args a;
	char *message_id = NULL;
	enum err e = tool_args_parse(argc, argv, options, 2, 2, &a);

	e = e ? e : wishes_from(&r, &a, &message_id);
	if (e)
		return e;
	e = import_begin(t, a.positional[1], IMPORT_MAY_READ_ALL, &r.im);
	if (e == OK)
		e = find_source(
			&r, a.positional[0], a.values[O_FROM] ? a.values[O_FROM] : r.im.name);
	if (e == OK)
		e = !r.wishes.dir && !r.wishes.into && is_empty(&r) ? restore_tree(&r)
								    : restore_parts(&r);
	free(r.source);
	free(message_id);
	return import_end(&r.im, e == E_PARSE ? E_CORRUPT : e);
}
