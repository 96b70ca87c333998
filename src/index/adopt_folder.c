/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "index/core_uidlist.h"

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

/*
 * All files of the folder get UIDs, those of the list first, then new ones above for the others:
 * few get them into their names at once, many into roost-uidlist; then keywords; roost-uidvalidity,
 * which the caller writes, says that this is done. A process that dies before that begins again
 * with the same list, and knows the files that it has renamed by the part of their names that
 * stays.
 */

enum { KEYWORD_FILE_MAX = 64 * 1024, KEYWORD_LIST_MAX = 256 << 20 };

struct file {
	size_t name_off; /* in adoption.text */
	struct adopt_line *line; /* or NULL */
	uint32_t uid;
	int64_t time;
	unsigned char in_new;
};

struct adoption {
	struct index_core *c;
	const char *dir, *from; /* "dovecot", "courier" */
	struct buf list_text, text;
	struct adopt_list list;
	struct adopt_keywords words; /* of Courier, where they are not in the names */
	struct file *files;
	size_t count, cap, kept;
	struct buf more; /* of roost-keywords-more */
	struct buf uidl_text, uidl; /* Courier's list and what comes of it; of roost-uidl */
	struct adopt_list uidls;
	uint32_t next_uid;
	int fd[2]; /* new, cur */
};

/* ---- reading what is there ---- */

static const char *
name_of(const struct adoption *a, const struct file *f)
{
	return a->text.p + f->name_off;
}

static enum err
read_list(struct adoption *a)
{
	enum err e =
		adopt_file_read(a->c, a->dir, "dovecot-uidlist", ADOPT_LIST_MAX, &a->list_text);

	a->from = "dovecot";
	if (e == OK) {
		e = adopt_dovecot_uidlist(buf_str(&a->list_text), &a->list);
	} else if (e == E_NOTFOUND) {
		a->from = "courier";
		e = adopt_file_read(
			a->c, a->dir, "courierimapuiddb", ADOPT_LIST_MAX, &a->list_text);
		if (e == OK)
			e = adopt_courier_uiddb(buf_str(&a->list_text), &a->list);
	}
	if (e == E_CORRUPT || e == E_TOOBIG)
		log_event(LOGL_ERROR, "index.adopt failed", "maildir", a->c->maildir, "dir", a->dir,
			"from", a->from, "reason",
			"the list of UIDs cannot be used; all messages get new UIDs", NULL);
	return e == E_TOOBIG ? E_CORRUPT : e;
}

static void
keyword_change(struct adoption *a, const char *file)
{
	struct buf text = {0};
	char *path;

	if (strcmp(file, ".") == 0 || strcmp(file, "..") == 0 || file[0] == ':')
		return;
	path = mem_printf("courierimapkeywords/%s", file);
	if (adopt_file_read(a->c, a->dir, path, KEYWORD_FILE_MAX, &text) == OK)
		adopt_courier_keyword_change(str_of(file), buf_str(&text), &a->words);
	free(path);
	buf_free(&text);
}

static enum err
read_courier_keywords(struct adoption *a)
{
	struct buf text = {0};
	struct dirent *d;
	DIR *dirp = NULL;
	int top, fd = -1;
	enum err e = core_dir_open(a->c, a->dir, CORE_TOP, &top);

	if (e == OK) {
		fd = openat(top, "courierimapkeywords",
			O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		dirp = fd < 0 ? NULL : fdopendir(fd);
		io_close(&top);
	}
	if (!dirp) {
		io_close(&fd);
		return e;
	}
	e = adopt_file_read(a->c, a->dir, "courierimapkeywords/:list", KEYWORD_LIST_MAX, &text);
	adopt_courier_keywords(e ? STR("") : buf_str(&text), &a->words);
	while ((d = readdir(dirp)))
		keyword_change(a, d->d_name);
	closedir(dirp);
	adopt_keywords_finish(&a->words);
	buf_free(&text);
	return e == E_IO ? e : OK;
}

/* POP3 knows INBOX alone. Without this file its clients get everything again; no reason to stop. */
static enum err
read_courier_uidls(struct adoption *a)
{
	struct buf text = {0};
	enum err e = OK;

	if (a->dir[0] == '\0')
		e = adopt_file_read(a->c, "", "courierpop3dsizelist", ADOPT_LIST_MAX, &text);
	adopt_courier_uidls(buf_str(&text), &a->uidl_text);
	(void)adopt_dovecot_uidlist(buf_str(&a->uidl_text), &a->uidls);
	buf_free(&text);
	return e == E_IO ? e : OK;
}

static void
note_uidl(struct adoption *a, const struct file *f)
{
	const struct adopt_line *line =
		f->line && f->line->uidl.len ? f->line
					     : adopt_list_find(&a->uidls, str_of(name_of(a, f)), 0);

	if (line && line->uidl.len && a->dir[0] == '\0')
		buf_printf(&a->uidl, "%u %.*s\n", f->uid, STR_ARG(line->uidl));
}

static int
is_regular(int fd, const struct dirent *d)
{
	struct stat st;

	if (d->d_type != DT_UNKNOWN)
		return d->d_type == DT_REG;
	return fstatat(fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
}

static void
add_file(struct adoption *a, const char *name, int in_new)
{
	struct maildir_name n;
	struct file *f;

	/* What is no message's name is skipped, and logged, when the folder is read. */
	if (maildir_name_parse(str_of(name), &n) || n.base.len > MAILDIR_NAME_MAX - 40)
		return;
	if (a->count == a->cap) {
		a->cap = a->cap ? a->cap * 2 : 64;
		a->files = mem_realloc(a->files, a->cap, sizeof(*a->files));
	}
	f = &a->files[a->count++];
	*f = (struct file){.name_off = a->text.len, .time = n.time, .in_new = in_new != 0};
	buf_add(&a->text, name, strlen(name) + 1);
}

static enum err
read_files(struct adoption *a, int i)
{
	enum err e = core_dir_open(a->c, a->dir, i ? CORE_CUR : CORE_NEW, &a->fd[i]);
	struct dirent *d;
	DIR *dirp;
	int fd;

	if (e)
		return e == E_NOTFOUND ? OK : e;
	fd = fcntl(a->fd[i], F_DUPFD_CLOEXEC, 3);
	dirp = fd < 0 ? NULL : fdopendir(fd);
	if (!dirp) {
		e = err_from_errno(errno);
		io_close(&fd);
		return e;
	}
	while ((errno = 0, d = readdir(dirp)))
		if (d->d_name[0] != '.' && is_regular(fd, d))
			add_file(a, d->d_name, i == 0);
	e = errno ? err_from_errno(errno) : OK;
	closedir(dirp);
	return e;
}

/* ---- who has which UID ---- */

static void
take(struct file *f, struct adopt_line *line)
{
	if (!line)
		return;
	line->taken = 1;
	f->line = line;
	f->uid = line->uid;
}

/* Those with a UID first, the others in the order of their delivery. */
static int
compare_files(const void *x, const void *y, void *arg)
{
	const struct file *a = x, *b = y;
	const char *text = arg;

	if (!a->uid != !b->uid)
		return a->uid ? -1 : 1;
	if (a->uid != b->uid)
		return a->uid < b->uid ? -1 : 1;
	if (a->time != b->time)
		return a->time < b->time ? -1 : 1;
	return strcmp(text + a->name_off, text + b->name_off);
}

/*
 * A file that is not in the list but has a UID above it may have got that from Roost, where
 * roost-uidvalidity was removed later: the next ones go on behind it, at a distance.
 */
static void
respect_unlisted(struct adoption *a, const struct file *f)
{
	struct maildir_name n;

	if (f->uid || maildir_name_parse(str_of(name_of(a, f)), &n) || n.uid < a->next_uid ||
		n.uid > ADOPT_UID_MAX)
		return;
	a->next_uid = n.uid + 1 + CORE_UID_CHUNK;
}

static enum err
give_uids(struct adoption *a)
{
	struct maildir_name n;

	/* First the files that an earlier try has renamed: nobody else may get their lines. */
	for (int again = 0; again < 2; again++) {
		for (size_t i = 0; i < a->count; i++) {
			struct file *f = &a->files[i];
			struct str name = str_of(name_of(a, f));
			struct adopt_line *line;

			if (f->uid)
				continue;
			(void)maildir_name_parse(name, &n);
			line = adopt_list_find(&a->list, name, n.uid);
			if (line && (again || (n.uid && line->uid == n.uid)))
				take(f, line);
		}
	}
	if (a->count)
		qsort_r(a->files, a->count, sizeof(*a->files), compare_files, a->text.p);
	a->next_uid = a->list.next_uid;
	for (size_t i = 0; i < a->count; i++)
		respect_unlisted(a, &a->files[i]);
	for (size_t i = 0; i < a->count; i++) {
		if (a->files[i].uid)
			a->kept++;
		else if (a->next_uid >= UINT32_MAX - CORE_UID_CHUNK)
			return E_RANGE;
		else
			a->files[i].uid = a->next_uid++;
	}
	return OK;
}

/* ---- names ---- */

static uint32_t
letters_of(const struct index_keywords *words)
{
	return words ? (uint32_t)(words->bits[0] & ((1u << CORE_LETTERS) - 1)) : 0;
}

static enum err
new_name(struct adoption *a, const struct file *f, int unique, struct buf *out)
{
	struct str name = str_of(name_of(a, f));
	const struct index_keywords *words = adopt_keywords_find(&a->words, name);
	struct maildir_unique u = {
		.pid = (uint32_t)getpid(), .counter = ++a->c->counter, .host = a->c->host};
	struct timespec ts;
	struct maildir_name n;
	uint64_t size, crlf_size = UINT64_MAX;
	int64_t mtime;
	enum err e = OK;

	(void)maildir_name_parse(name, &n);
	size = n.has_size ? n.size : f->line ? f->line->size : UINT64_MAX;
	if (n.has_crlf_size)
		crlf_size = n.crlf_size;
	else if (f->line)
		crlf_size = f->line->crlf_size;
	if (size == UINT64_MAX)
		e = core_file_size(a->c, a->fd[!f->in_new], name_of(a, f), &size, &mtime);
	if (e)
		return e;
	buf_reset(out);
	if (unique || maildir_base_rebuild(&n, size, crlf_size, f->uid, out)) {
		clock_gettime(CLOCK_REALTIME, &ts);
		u.usec = (uint32_t)(ts.tv_nsec / 1000);
		u.time_s = n.time ? n.time : (int64_t)ts.tv_sec;
		buf_reset(out);
		maildir_unique_build(&u, out);
		maildir_fields_build(size, crlf_size, f->uid, out);
	}
	if (n.has_info || letters_of(words))
		maildir_info_build(n.flags, n.letters | letters_of(words), n.others, out);
	return out->err;
}

/* Where the file system cannot do that, names that have a UID and a unique part will not meet. */
static int
rename_without_replacing(int fd, const char *from, const char *to)
{
	if (renameat2(fd, from, fd, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -1;
	return renameat(fd, from, fd, to);
}

static enum err
rename_one(struct adoption *a, const struct file *f)
{
	int fd = a->fd[!f->in_new], failed = 0;
	struct buf name = {0};
	enum err e = OK;

	for (int unique = 0; unique < 2; unique++) {
		e = new_name(a, f, unique, &name);
		if (e || strcmp(buf_cstr(&name), name_of(a, f)) == 0)
			break;
		failed = rename_without_replacing(fd, name_of(a, f), buf_cstr(&name));
		if (!failed || errno != EEXIST)
			break;
	}
	if (e == OK && failed)
		e = err_from_errno(errno);
	buf_free(&name);
	/* Gone, or no file that is a message: not adopted. */
	return e == E_NOTFOUND ? OK : e;
}

static void
note_more(struct adoption *a, const struct file *f)
{
	const struct index_keywords *words = adopt_keywords_find(&a->words, str_of(name_of(a, f)));

	if (!words || !core_keywords_has_more(words))
		return;
	buf_add_u64(&a->more, f->uid);
	for (int i = CORE_LETTERS; i < INDEX_KEYWORDS_MAX; i++)
		if (words->bits[i / 64] >> (i % 64) & 1)
			buf_printf(&a->more, " %s", a->words.names[i]);
	buf_add_char(&a->more, '\n');
}

/* 1: its UID stands in the list. Letters of keywords that are not in the name yet go there at once.
 */
static int
list_one(struct adoption *a, const struct file *f, const struct core_bases *twice, struct buf *list)
{
	struct str name = str_of(name_of(a, f)), base = core_uidlist_base(name);
	struct maildir_name n;

	(void)maildir_name_parse(name, &n);
	if (base.len > CORE_UIDLIST_BASE_MAX || core_bases_has(twice, core_base_hash(base)) ||
		letters_of(adopt_keywords_find(&a->words, name)))
		return 0;
	if (n.uid != f->uid)
		core_uidlist_line(f->uid, n.has_size || !f->line ? UINT64_MAX : f->line->size,
			n.has_crlf_size || !f->line ? UINT64_MAX : f->line->crlf_size, base, list);
	return 1;
}

static uint64_t
hash_of_file(const void *arg, size_t i)
{
	const struct adoption *a = arg;

	return core_base_hash(core_uidlist_base(str_of(name_of(a, &a->files[i]))));
}

static enum err
rename_all(struct adoption *a)
{
	struct core_bases twice = {0};
	struct buf list = {0};
	enum err e = core_uidlist_remove(a->c, a->dir);
	size_t head;

	if (a->count >= CORE_UIDLIST_MIN) {
		core_bases_twins(&twice, a->count, hash_of_file, a);
		core_uidlist_begin(NULL, 0, &list);
	}
	head = list.len;
	for (size_t i = 0; i < a->count && e == OK; i++) {
		note_more(a, &a->files[i]);
		note_uidl(a, &a->files[i]);
		if (!twice.slots || !list_one(a, &a->files[i], &twice, &list))
			e = rename_one(a, &a->files[i]);
	}
	for (int i = 0; i < 2 && e == OK && a->c->fsync; i++)
		if (a->fd[i] >= 0 && fsync(a->fd[i]) != 0)
			e = err_from_errno(errno);
	if (e == OK && list.len > head)
		e = core_uidlist_write(a->c, a->dir, a->list.uidvalidity, a->next_uid, &list);
	core_bases_fini(&twice);
	buf_free(&list);
	return e;
}

/* ---- keywords ---- */

static enum err
write_keywords(struct adoption *a, adopt_names names)
{
	struct buf text = {0};
	enum err e = OK;

	for (int i = 0; i < CORE_LETTERS; i++)
		if (names[i][0])
			buf_printf(&text, "%d %s\n", i, names[i]);
	if (text.len)
		e = core_text_write(a->c, a->dir, CORE_FILE_KEYWORDS, buf_str(&text));
	if (e == OK && a->more.len)
		e = core_text_write(a->c, a->dir, CORE_FILE_KEYWORDS_MORE, buf_str(&a->more));
	buf_free(&text);
	return e;
}

static enum err
keep_dovecot_keywords(struct adoption *a)
{
	struct buf text = {0};
	adopt_names names;
	struct str known = {0};
	enum err e;

	/* Roost's own is the truth, even where roost-uidvalidity was lost. */
	if (core_text_read(a->c, a->dir, CORE_FILE_KEYWORDS, &text) == OK) {
		buf_free(&text);
		return OK;
	}
	e = adopt_file_read(a->c, a->dir, "dovecot-keywords", KEYWORD_FILE_MAX, &text);
	known = buf_str(&text);
	if (e == OK) {
		adopt_dovecot_keywords(known, names);
		e = write_keywords(a, names);
	}
	buf_free(&text);
	return e == E_NOTFOUND || e == E_TOOBIG ? OK : e;
}

/* ---- all of it ---- */

static enum err
adopt_listed(struct adoption *a, struct core_uid_file *f)
{
	enum err e = OK;

	if (strcmp(a->from, "courier") == 0)
		e = read_courier_keywords(a);
	if (e == OK && strcmp(a->from, "courier") == 0)
		e = read_courier_uidls(a);
	for (int i = 0; i < 2 && e == OK; i++)
		e = read_files(a, i);
	if (e == OK)
		e = give_uids(a);
	if (e == OK)
		e = rename_all(a);
	if (e == OK && strcmp(a->from, "courier") == 0)
		e = write_keywords(a, a->words.names);
	if (e == OK && a->uidl.len)
		e = core_text_write(a->c, a->dir, CORE_FILE_UIDL, buf_str(&a->uidl));
	if (e)
		return e;
	f->uidvalidity = a->list.uidvalidity;
	f->next_uid = a->next_uid;
	log_event(a->list.bad + a->words.bad ? LOGL_WARN : LOGL_INFO, "index.adopt ok", "maildir",
		a->c->maildir, "dir", a->dir, "from", a->from, "kept", log_u64(a->kept), "new",
		log_u64(a->count - a->kept), "bad", log_u64(a->list.bad + a->words.bad), NULL);
	return OK;
}

enum err
adopt_folder(struct index_core *c, const char *dir, struct core_uid_file *f)
{
	struct adoption a = {.c = c, .dir = dir, .fd = {-1, -1}};
	enum err e = read_list(&a);

	if (e == OK)
		e = adopt_listed(&a, f);
	if (e == E_NOTFOUND || e == E_CORRUPT)
		e = OK;
	if (e == OK)
		e = keep_dovecot_keywords(&a);
	if (e)
		log_event(LOGL_ERROR, "index.adopt failed", "maildir", c->maildir, "dir", dir,
			"error", err_word(e), NULL);
	io_close(&a.fd[0]);
	io_close(&a.fd[1]);
	adopt_keywords_free(&a.words);
	adopt_list_free(&a.list);
	adopt_list_free(&a.uidls);
	buf_free(&a.list_text);
	buf_free(&a.uidl_text);
	buf_free(&a.uidl);
	buf_free(&a.text);
	buf_free(&a.more);
	free(a.files);
	return e;
}
