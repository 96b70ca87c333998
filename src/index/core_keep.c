/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "index/core_expunged.h"

#include <dirent.h>
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

/* How expunged messages, and those of deleted mailboxes, get to where they are kept. */

/* A new one is on disk before it gets a file that the disk has nowhere else then. */
static enum err
open_or_make(int at, const char *name, int sync, int *fd)
{
	if (mkdirat(at, name, 0700) == 0) {
		if (sync && fsync(at) != 0)
			return err_from_errno(errno);
	} else if (errno != EEXIST) {
		return err_from_errno(errno);
	}
	*fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return *fd < 0 ? err_from_errno(errno) : OK;
}

enum err
core_keep_open(struct index_core *c, const char *dir, struct core_keep *k)
{
	int top = -1;
	enum err e;

	*k = (struct core_keep){.core = c, .now_s = core_now_s(), .fd = -1, .keywords_fd = -1};
	e = open_or_make(c->maildir_fd, CORE_EXPUNGED_DIR, c->fsync, &top);
	if (e == OK)
		e = open_or_make(top, dir[0] ? dir : CORE_EXPUNGED_INBOX, c->fsync, &k->fd);
	io_close(&top);
	return e;
}

/* "TIME,BASE"; a base that is too long is replaced by one of ours. */
static void
kept_base(struct core_keep *k, struct str base, uint32_t uid, struct buf *out)
{
	struct maildir_unique u = {
		.pid = (uint32_t)getpid(), .counter = ++k->core->counter, .host = k->core->host};
	struct maildir_name n;
	struct timespec now;

	buf_printf(out, "%lld,", (long long)k->now_s);
	if (maildir_name_parse(base, &n) == OK) {
		if (n.uid == uid && out->len + base.len <= MAILDIR_BASE_MAX + 16) {
			buf_add_str(out, base);
			return;
		}
		/* The UID that it was given is not in the name yet. */
		if (maildir_base_rebuild(&n, n.has_size ? n.size : UINT64_MAX,
			    n.has_crlf_size ? n.crlf_size : UINT64_MAX, uid, out) == OK)
			return;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	u.time_s = now.tv_sec;
	u.usec = (uint32_t)(now.tv_nsec / 1000);
	maildir_unique_build(&u, out);
	if (maildir_name_parse(base, &n) == OK)
		maildir_fields_build(n.has_size ? n.size : UINT64_MAX,
			n.has_crlf_size ? n.crlf_size : UINT64_MAX, uid, out);
}

static enum err
note_keywords(struct core_keep *k, struct str name, const struct str *keywords, size_t count)
{
	struct buf line = {0};
	enum err e = OK;

	if (k->keywords_fd < 0)
		k->keywords_fd = openat(k->fd, CORE_EXPUNGED_KEYWORDS,
			O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (k->keywords_fd < 0)
		return err_from_errno(errno);
	buf_add_str(&line, name);
	for (size_t i = 0; i < count; i++)
		buf_printf(&line, " %.*s", STR_ARG(keywords[i]));
	buf_add_char(&line, '\n');
	/* A line that was cut by a full disk must not swallow the next. */
	e = io_write_all(k->keywords_fd, line.p, line.len);
	if (e)
		(void)io_write_all(k->keywords_fd, "\n", 1);
	buf_free(&line);
	return e;
}

enum err
core_keep_file(struct core_keep *k, int from_fd, const char *name, struct str base, uint32_t uid,
	unsigned flags, const struct str *keywords, size_t count)
{
	struct buf to = {0};
	enum err e = OK;

	kept_base(k, base, uid, &to);
	if (count)
		e = note_keywords(k, buf_str(&to), keywords, count);
	maildir_info_build(flags & ~(unsigned)INDEX_DELETED, 0, 0, &to);
	if (e == OK && renameat(from_fd, name, k->fd, buf_cstr(&to)) != 0)
		e = err_from_errno(errno);
	buf_free(&to);
	return e;
}

void
core_keep_close(struct core_keep *k)
{
	if (k->fd >= 0)
		core_sync_note(k->core, k->fd);
	if (k->keywords_fd >= 0)
		core_sync_note(k->core, k->keywords_fd);
	io_close(&k->fd);
	io_close(&k->keywords_fd);
}

size_t
core_keywords_words(const struct index_keywords *k,
	char names[INDEX_KEYWORDS_MAX][INDEX_KEYWORD_LEN_MAX + 1],
	struct str words[INDEX_KEYWORDS_MAX])
{
	size_t n = 0;

	for (int i = 0; i < INDEX_KEYWORDS_MAX; i++)
		if ((k->bits[i / 64] >> (i % 64) & 1) && names[i][0])
			words[n++] = str_of(names[i]);
	return n;
}

/* ---- deleted mailboxes ---- */

enum err
core_keep_note(struct index_core *c, const struct core_box *box)
{
	struct buf text = {0};
	enum err e;

	buf_printf(&text, "roost 1\nfolder %s\n", box->dir);
	e = core_text_write(c, box->dir, CORE_FILE_DELETED, buf_str(&text));
	buf_free(&text);
	return e;
}

/* Keywords of a folder that the index does not have any more. */
struct letters {
	char names[INDEX_KEYWORDS_MAX][INDEX_KEYWORD_LEN_MAX + 1];
	struct buf more; /* roost-keywords-more */
};

static void
letters_read(struct index_core *c, const char *hidden, struct letters *l)
{
	struct buf text = {0};
	struct str rest;

	memset(l, 0, sizeof(*l));
	(void)core_text_read(c, hidden, CORE_FILE_KEYWORDS, &text);
	rest = buf_str(&text);
	while (rest.p) {
		struct str name = str_split(&rest, '\n'), number = str_split(&name, ' ');
		uint32_t bit;

		if (str_to_u32(number, &bit) == OK && bit < CORE_LETTERS &&
			core_keyword_is_valid(name))
			memcpy(l->names[bit], name.p, name.len);
	}
	buf_free(&text);
	(void)core_text_read(c, hidden, CORE_FILE_KEYWORDS_MORE, &l->more);
}

/* words has room for INDEX_KEYWORDS_MAX. */
static size_t
words_of(struct letters *l, const struct maildir_name *n, struct str *words)
{
	struct index_keywords k = {.bits = {n->letters}};
	size_t count = core_keywords_words(&k, l->names, words);
	struct str rest = buf_str(&l->more);

	while (rest.p && n->has_uid) {
		struct str line = str_split(&rest, '\n');
		uint32_t uid;

		if (str_to_u32(str_split(&line, ' '), &uid) || uid != n->uid)
			continue;
		while (line.p && count < INDEX_KEYWORDS_MAX) {
			struct str word = str_split(&line, ' ');

			if (core_keyword_is_valid(word))
				words[count++] = word;
		}
	}
	return count;
}

static enum err
keep_dir(struct core_keep *k, struct letters *l, int fd, int *budget)
{
	struct str words[INDEX_KEYWORDS_MAX];
	struct maildir_name n;
	struct dirent *d;
	enum err e = OK;
	DIR *dirp = fdopendir(fd);

	if (!dirp) {
		io_close(&fd);
		return err_from_errno(errno);
	}
	while (e == OK && *budget > 0 && (d = readdir(dirp))) {
		struct stat st;

		if (maildir_name_parse(str_of(d->d_name), &n) ||
			fstatat(dirfd(dirp), d->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
			!S_ISREG(st.st_mode))
			continue;
		(*budget)--;
		e = core_keep_file(k, dirfd(dirp), d->d_name, n.base, n.uid, n.flags, words,
			words_of(l, &n, words));
		if (e == E_NOTFOUND)
			e = OK;
	}
	closedir(dirp);
	return e;
}

/* The folder's name of before, from its note. */
static enum err
note_read(struct index_core *c, const char *hidden, char dir[MAILDIR_NAME_MAX + 1])
{
	char name[INDEX_MAILBOX_NAME_MAX + 1];
	struct buf text = {0};
	struct str rest, value = {0};
	enum err e = core_text_read(c, hidden, CORE_FILE_DELETED, &text);

	rest = buf_str(&text);
	dir[0] = '\0';
	while (e == OK && rest.p) {
		struct str line = str_split(&rest, '\n'), key = str_split(&line, ' ');

		if (str_is(key, "folder"))
			value = line;
	}
	if (e == OK && (value.len == 0 || value.len > MAILDIR_NAME_MAX))
		e = E_CORRUPT;
	if (e == OK) {
		memcpy(dir, value.p, value.len);
		dir[value.len] = '\0';
		if (core_name_from_dir(dir, name))
			e = E_CORRUPT;
	}
	buf_free(&text);
	return e;
}

enum err
core_keep_deleted(struct index_core *c, const char *hidden, int *budget)
{
	static const enum core_sub subs[] = {CORE_NEW, CORE_CUR};
	char dir[MAILDIR_NAME_MAX + 1];
	struct core_keep k;
	struct letters *l;
	enum err e = note_read(c, hidden, dir);

	if (e)
		return e == E_NOTFOUND || e == E_CORRUPT ? OK : e;
	l = mem_alloc(sizeof(*l));
	letters_read(c, hidden, l);
	e = core_keep_open(c, dir, &k);
	for (size_t i = 0; i < sizeof(subs) / sizeof(subs[0]) && e == OK && *budget > 0; i++) {
		int fd;

		if (core_dir_open(c, hidden, subs[i], &fd) == OK)
			e = keep_dir(&k, l, fd, budget);
	}
	/* What they lay in goes next, and the note that says what it was. */
	if (e == OK && *budget > 0 && c->fsync && fsync(k.fd) != 0)
		e = err_from_errno(errno);
	core_keep_close(&k);
	buf_free(&l->more);
	free(l);
	return e;
}
