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
#include <unistd.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

/* What is kept is listed, put back, and in the end removed. */

struct kept {
	char file[MAILDIR_NAME_MAX + 1];
	int64_t expunged_s, internal_date;
	uint64_t bytes, size;
	uint32_t uid;
	unsigned flags;
	size_t base_len; /* of file, with the time */
};
struct kept_list {
	struct kept *items;
	size_t count, cap;
	struct buf keywords; /* the whole file */
};

/* "TIME,NAME" */
static enum err
parse_kept(const char *file, struct kept *out)
{
	struct str name = str_of(file), number = str_split(&name, ',');
	struct maildir_name n;
	uint32_t when;

	if (!name.p || str_to_u32(number, &when) || maildir_name_parse(name, &n))
		return E_RANGE;
	memset(out, 0, sizeof(*out));
	snprintf(out->file, sizeof(out->file), "%s", file);
	out->expunged_s = when;
	out->uid = n.uid;
	out->flags = n.flags;
	out->size = n.has_crlf_size ? n.crlf_size : INDEX_SIZE_UNKNOWN;
	out->base_len = number.len + 1 + n.base.len;
	return OK;
}

static int
is_wanted(const struct kept *k, const struct index_undelete *w)
{
	return k->expunged_s >= w->since && (w->uid == 0 || k->uid == w->uid);
}

static int
compare_kept(const void *a, const void *b)
{
	const struct kept *x = a, *y = b;

	if (x->uid != y->uid)
		return x->uid < y->uid ? -1 : 1;
	return strcmp(x->file, y->file);
}

/* fd stays open. */
static enum err
kept_read(int fd, const struct index_undelete *w, struct kept_list *out)
{
	struct dirent *d;
	struct stat st;
	struct kept k;
	int again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dirp = again >= 0 ? fdopendir(again) : NULL;

	if (!dirp) {
		io_close(&again);
		return err_from_errno(errno);
	}
	while ((d = readdir(dirp))) {
		if (parse_kept(d->d_name, &k) || !is_wanted(&k, w) ||
			fstatat(fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
			!S_ISREG(st.st_mode))
			continue;
		k.internal_date = st.st_mtime;
		k.bytes = (uint64_t)st.st_size;
		if (out->count == out->cap) {
			out->cap = out->cap ? out->cap * 2 : 16;
			out->items = mem_realloc(out->items, out->cap, sizeof(*out->items));
		}
		out->items[out->count++] = k;
	}
	closedir(dirp);
	if (out->count)
		qsort(out->items, out->count, sizeof(*out->items), compare_kept);
	return OK;
}

static size_t
words_of(const struct kept_list *l, const struct kept *k, struct str *words)
{
	struct str rest = buf_str(&l->keywords);
	size_t n = 0;

	while (rest.p) {
		struct str line = str_split(&rest, '\n');

		if (!str_equal(str_split(&line, ' '), str_make(k->file, k->base_len)))
			continue;
		/* Of a line that was written twice the last counts. */
		for (n = 0; line.p && n < INDEX_KEYWORDS_MAX;) {
			struct str word = str_split(&line, ' ');

			if (core_keyword_is_valid(word))
				words[n++] = word;
		}
	}
	return n;
}

/* ---- putting back ---- */

struct run {
	struct index_core *core;
	const struct index_undelete *what;
	index_expunged_fn *fn;
	void *arg;
	size_t left; /* how many more this time */
	int restore, more;
};

static enum err
find_mailbox(struct index_core *c, const char *name, uint32_t *mailbox)
{
	enum err e = index_core_lookup(c, str_of(name), mailbox);

	if (e == E_NOTFOUND)
		e = index_core_create(c, str_of(name), core_name_special_use(name), mailbox);
	return e;
}

struct folder {
	uint32_t mailbox;
	struct core_box box;
};

static enum err
folder_step(struct core_tx *tx, void *arg)
{
	struct folder *f = arg;

	return core_box_get(tx, f->mailbox, &f->box);
}

static enum err
put_back(struct run *r, int fd, uint32_t mailbox, const struct kept_list *l, const struct kept *k,
	uint32_t *uid)
{
	struct str words[INDEX_KEYWORDS_MAX];
	struct index_core_append in = {.flags = k->flags, .keywords = words, .size = k->size};
	struct folder f = {.mailbox = mailbox};
	char tmp[64], random[17];
	uint32_t uidvalidity;
	uint64_t modseq;
	int tmp_fd = -1;
	enum err e = core_read(r->core, folder_step, &f);

	io_random_hex(random, 8);
	snprintf(tmp, sizeof(tmp), "undelete.%s", random);
	if (e == OK)
		e = core_dir_open(r->core, f.box.dir, CORE_TMP, &tmp_fd);
	if (e == OK && linkat(fd, k->file, tmp_fd, tmp, 0) != 0)
		e = errno == EMLINK || errno == EPERM || errno == EXDEV || errno == EOPNOTSUPP
			    ? core_copy_bytes(r->core, fd, k->file, tmp_fd, tmp_fd, tmp)
			    : err_from_errno(errno);
	if (e)
		goto out;
	in.tmp_name = str_of(tmp);
	in.keyword_count = words_of(l, k, words);
	e = index_core_append(r->core, mailbox, &in, 1, &uidvalidity, &modseq, uid);
	if (e)
		(void)unlinkat(tmp_fd, tmp, 0);
out:
	io_close(&tmp_fd);
	return e;
}

static void
tell(struct run *r, const char *name, const struct kept *k, uint32_t new_uid)
{
	struct index_expunged x = {.mailbox = str_of(name),
		.uid = k->uid,
		.new_uid = new_uid,
		.expunged = k->expunged_s,
		.internal_date = k->internal_date,
		.bytes = k->bytes,
		.flags = k->flags};

	r->fn(&x, r->arg);
}

/* All of a mailbox: into it, on disk, and only then out of here. */
static enum err
restore_all(struct run *r, int fd, const char *name, struct kept_list *l)
{
	uint32_t mailbox, uid;
	size_t done = 0;
	enum err e = find_mailbox(r->core, name, &mailbox), synced;

	for (; done < l->count && r->left > 0 && e == OK; done++) {
		e = put_back(r, fd, mailbox, l, &l->items[done], &uid);
		if (e)
			break;
		r->left--;
		tell(r, name, &l->items[done], uid);
	}
	synced = index_core_sync(r->core);
	for (size_t i = 0; i < done && synced == OK; i++)
		(void)unlinkat(fd, l->items[i].file, 0);
	if (e == OK && done < l->count)
		r->more = 1;
	return e ? e : synced;
}

static enum err
run_one(struct run *r, int top, const char *dir)
{
	char name[INDEX_MAILBOX_NAME_MAX + 1] = "INBOX";
	struct kept_list l = {0};
	char *path;
	enum err e = OK;
	int fd;

	if (strcmp(dir, CORE_EXPUNGED_INBOX) != 0 && core_name_from_dir(dir, name))
		return OK;
	fd = openat(top, dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP
			       ? OK
			       : err_from_errno(errno);
	path = mem_printf(
		"%s/%s/%s/%s", r->core->maildir, CORE_EXPUNGED_DIR, dir, CORE_EXPUNGED_KEYWORDS);
	(void)io_read_file(path, &l.keywords);
	free(path);
	e = kept_read(fd, r->what, &l);
	if (e == OK && r->restore && l.count) {
		e = restore_all(r, fd, name, &l);
	} else if (e == OK) {
		for (size_t i = 0; i < l.count && r->left > 0; i++, r->left--)
			tell(r, name, &l.items[i], 0);
		r->more |= l.count > 0 && r->left == 0;
	}
	buf_free(&l.keywords);
	free(l.items);
	io_close(&fd);
	return e;
}

/* The names of the directories in there, in order; *names is freed by names_free. */
static enum err
list_dirs(int top, char ***names, size_t *count)
{
	int again = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dirp = again >= 0 ? fdopendir(again) : NULL;
	struct dirent *d;

	*names = NULL;
	*count = 0;
	if (!dirp) {
		io_close(&again);
		return err_from_errno(errno);
	}
	while ((d = readdir(dirp))) {
		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		*names = mem_realloc(*names, *count + 1, sizeof(**names));
		(*names)[(*count)++] = mem_strdup(d->d_name);
	}
	closedir(dirp);
	return OK;
}

static enum err
run_all(struct run *r, int top)
{
	char **names, clean[INDEX_MAILBOX_NAME_MAX + 1], dir[MAILDIR_NAME_MAX + 1];
	size_t count;
	enum err e;

	if (r->what->mailbox.len) {
		e = core_name_normalize(r->what->mailbox, clean);
		if (e == OK)
			e = core_name_to_dir(clean, dir);
		return e ? E_NOTFOUND : run_one(r, top, dir[0] ? dir : CORE_EXPUNGED_INBOX);
	}
	e = list_dirs(top, &names, &count);
	for (size_t i = 0; i < count; i++) {
		if (e == OK && r->left > 0)
			e = run_one(r, top, names[i]);
		else
			r->more = 1;
		free(names[i]);
	}
	free(names);
	return e;
}

static enum err
run_begin(struct run *r, int *more)
{
	int top;
	enum err e = OK;

	/* What was deleted as a whole a moment ago is among them. */
	while (index_core_background(r->core))
		;
	top = openat(r->core->maildir_fd, CORE_EXPUNGED_DIR,
		O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (top >= 0)
		e = run_all(r, top);
	else if (errno != ENOENT)
		e = err_from_errno(errno);
	io_close(&top);
	*more = r->more;
	return e;
}

enum err
index_core_expunged_each(struct index_core *c, const struct index_undelete *what,
	index_expunged_fn *fn, void *arg, int *more)
{
	struct run r = {.core = c, .what = what, .fn = fn, .arg = arg, .left = what->max};

	return run_begin(&r, more);
}

enum err
index_core_undelete(struct index_core *c, const struct index_undelete *what, index_expunged_fn *fn,
	void *arg, int *more)
{
	struct run r = {
		.core = c, .what = what, .fn = fn, .arg = arg, .left = what->max, .restore = 1};

	return run_begin(&r, more);
}

/* ---- for good ---- */

static int
compare_base(const void *a, const void *b)
{
	const struct kept *x = a, *y = b;

	return str_compare(str_make(x->file, x->base_len), str_make(y->file, y->base_len));
}

static int
is_kept(const struct kept_list *l, struct str base)
{
	struct kept key = {.base_len = base.len};

	if (base.len > MAILDIR_NAME_MAX)
		return 0;
	memcpy(key.file, base.p, base.len);
	return bsearch(&key, l->items, l->count, sizeof(key), compare_base) != NULL;
}

/* Lines of files that are there still. */
static void
trim_keywords(struct index_core *c, int fd, const char *dir, struct kept_list *kept)
{
	char *path = mem_printf(
		"%s/%s/%s/%s", c->maildir, CORE_EXPUNGED_DIR, dir, CORE_EXPUNGED_KEYWORDS);
	struct buf old = {0}, text = {0};
	struct str rest;

	if (kept->count == 0)
		(void)unlinkat(fd, CORE_EXPUNGED_KEYWORDS, 0);
	else if (io_read_file(path, &old) == OK) {
		qsort(kept->items, kept->count, sizeof(*kept->items), compare_base);
		rest = buf_str(&old);
		while (rest.p) {
			struct str line = str_split(&rest, '\n'), words = line;

			if (!is_kept(kept, str_split(&words, ' ')))
				continue;
			buf_add_str(&text, line);
			buf_add_char(&text, '\n');
		}
		if (text.len < old.len)
			(void)io_write_file_atomic(path, text.p, text.len, 0600);
	}
	buf_free(&old);
	buf_free(&text);
	free(path);
}

static uint64_t
purge_one(struct index_core *c, int top, const char *dir, int64_t before_s)
{
	struct index_undelete all = {0};
	struct kept_list l = {0};
	uint64_t gone = 0;
	size_t left = 0;
	int fd = openat(top, dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return 0;
	if (kept_read(fd, &all, &l) == OK) {
		for (size_t i = 0; i < l.count; i++) {
			if (l.items[i].expunged_s < before_s &&
				unlinkat(fd, l.items[i].file, 0) == 0)
				gone++;
			else
				l.items[left++] = l.items[i];
		}
		l.count = left;
		if (gone || left == 0)
			trim_keywords(c, fd, dir, &l);
	}
	free(l.items);
	io_close(&fd);
	/* Only when it is empty. */
	(void)unlinkat(top, dir, AT_REMOVEDIR);
	return gone;
}

uint64_t
index_core_purge(struct index_core *c, int64_t before_s)
{
	int top = openat(
		c->maildir_fd, CORE_EXPUNGED_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	uint64_t gone = 0;
	char **names;
	size_t count;
	int fd;

	if (top < 0)
		return 0;
	if (list_dirs(top, &names, &count) == OK) {
		for (size_t i = 0; i < count; i++) {
			gone += purge_one(c, top, names[i], before_s);
			free(names[i]);
		}
		free(names);
	}
	fd = openat(top, CORE_EXPUNGED_PURGED, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd >= 0)
		(void)futimens(fd, NULL);
	io_close(&fd);
	io_close(&top);
	if (gone)
		log_event(LOGL_INFO, "index.purge ok", "maildir", c->maildir, "messages",
			log_u64(gone), NULL);
	return gone;
}

void
core_purge_step(struct index_core *c)
{
	char path[sizeof(CORE_EXPUNGED_DIR) + sizeof(CORE_EXPUNGED_PURGED)];
	int64_t now = io_now_ms();
	struct stat st;

	if (c->purge_look_ms && now - c->purge_look_ms < CORE_PURGE_EVERY_S * 1000)
		return;
	c->purge_look_ms = now;
	snprintf(path, sizeof(path), "%s/%s", CORE_EXPUNGED_DIR, CORE_EXPUNGED_PURGED);
	if (fstatat(c->maildir_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		core_now_s() - st.st_mtime < CORE_PURGE_EVERY_S && st.st_mtime <= core_now_s())
		return;
	(void)index_core_purge(c, core_now_s() - c->expunge_keep_s);
}
