/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "index/fts/fts_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utf8proc.h>

#include "lib/io.h"
#include "lib/ipc.h"
#include "lib/mem.h"

/* Another number when the same message would become other terms. */
enum { FTS_SCHEMA = 1 };

static const char class_letters[FTS_CLASSES] = {'B', 'H', 'A'};
static const char *const lexicon_names[FTS_CLASSES] = {
	"lexicon-body", "lexicon-header", "lexicon-attached"};

char fts_class_letter(enum fts_class class)
{
	return class_letters[class];
}

static char *
path_of(const char *dir, const char *name)
{
	return mem_printf("%s/%s", dir, name);
}

static uint64_t
inode_of(const char *dir)
{
	struct stat st;

	return stat(dir, &st) == 0 ? (uint64_t)st.st_ino : 0;
}

/* ---- head: version and lexicons, the text "head" of the database ---- */

static void
head_version(struct buf *out)
{
	(void)buf_printf(out, "%d %s", FTS_SCHEMA, utf8proc_unicode_version());
}

static void
head_encode(const struct fts_store *s, struct buf *out)
{
	struct buf version = {0};

	head_version(&version);
	ipc_put_str(out, buf_str(&version));
	buf_free(&version);
	for (int i = 0; i < FTS_CLASSES; i++) {
		ipc_put_u64(out, s->lexicon[i].saved);
		ipc_put_u32(out, s->lexicon[i].crc);
	}
}

static enum err
lexicons_load(struct fts_store *s, struct str head)
{
	struct ipc_reader r = ipc_reader_of(head);
	struct buf version = {0};
	enum err e = OK;

	head_version(&version);
	if (!str_equal(ipc_get_str(&r), buf_str(&version)))
		e = E_CORRUPT;
	buf_free(&version);
	for (int i = 0; i < FTS_CLASSES && !e; i++) {
		char *path = path_of(s->dir, lexicon_names[i]);
		uint64_t len = ipc_get_u64(&r);
		uint32_t crc = ipc_get_u32(&r);

		e = r.err ? E_CORRUPT : fts_lexicon_load(&s->lexicon[i], path, len, crc);
		free(path);
	}
	return e ? e : ipc_reader_end(&r) ? E_CORRUPT : OK;
}

static int
add_id(uint32_t doc, struct str value, void *ctx)
{
	struct fts_store *s = ctx;

	if (value.len != FTS_ID_LEN || doc < s->id_count)
		return 1;
	s->ids = mem_realloc(s->ids, (size_t)doc + 1, FTS_ID_LEN);
	memset(s->ids + (size_t)s->id_count * FTS_ID_LEN, 0,
		((size_t)doc - s->id_count) * FTS_ID_LEN);
	memcpy(s->ids + (size_t)doc * FTS_ID_LEN, value.p, FTS_ID_LEN);
	s->id_count = doc + 1;
	return 1;
}

/* All that was committed and is not here yet. */
static enum err
take_in(struct fts_store *s)
{
	struct buf head = {0};
	uint32_t last = fts_db_last(s->db);
	enum err e = fts_db_text(s->db, STR("head"), &head);

	/* A database without a head has just been made, and nothing is in it. */
	if (!e && (head.len || last))
		e = lexicons_load(s, buf_str(&head));
	if (!e && last >= s->id_count) {
		size_t room = (size_t)last + 1;

		s->ids = mem_realloc(s->ids, room, FTS_ID_LEN);
		e = fts_db_values(s->db, s->id_count, add_id, s);
		if (!e && s->id_count != last + 1)
			e = E_CORRUPT;
	}
	buf_free(&head);
	return e;
}

/*
 * Xapian writes "iamglass" last when it makes a database, and cannot go on with one whose making
 * was cut off before: nothing is in it, so it goes.
 */
static enum err
remove_half_made(const char *fts_dir, const char *name)
{
	char *path = mem_printf("%s/%s/iamglass", fts_dir, name);
	enum err e = OK;

	if (access(path, F_OK) != 0)
		e = errno == ENOENT ? fts_store_remove(fts_dir, name) : err_from_errno(errno);
	free(path);
	return e;
}

enum err
fts_store_open(const char *fts_dir, const char *name, int writable, struct fts_store **out)
{
	struct fts_store *s = MEM_NEW(struct fts_store);
	enum err e;

	s->dir = path_of(fts_dir, name);
	s->writable = writable;
	s->id_count = 1;
	s->ids = mem_zalloc(FTS_ID_LEN);
	e = writable ? remove_half_made(fts_dir, name) : OK;
	e = e ? e : fts_db_open(s->dir, writable, &s->db);
	if (!e) {
		s->inode = inode_of(s->dir);
		e = take_in(s);
	}
	if (e)
		fts_store_close(&s);
	*out = s;
	return e;
}

void
fts_store_close(struct fts_store **s)
{
	if (!*s)
		return;
	fts_db_close(&(*s)->db);
	for (int i = 0; i < FTS_CLASSES; i++)
		fts_lexicon_free(&(*s)->lexicon[i]);
	free((*s)->ids);
	free((*s)->dir);
	MEM_FREE(*s);
}

enum err
fts_store_refresh(struct fts_store *s)
{
	enum err e;

	if (inode_of(s->dir) != s->inode)
		return E_NOTFOUND;
	e = fts_db_reopen(s->db);
	return e ? e : take_in(s);
}

/* ---- files ---- */

enum err
fts_store_remove(const char *fts_dir, const char *name)
{
	char *path = path_of(fts_dir, name);
	DIR *dir = opendir(path);
	struct dirent *entry;
	enum err e = OK;

	if (!dir) {
		e = errno == ENOENT ? OK : err_from_errno(errno);
		free(path);
		return e;
	}
	/* No directory is in it: what is one stays, and the removal of the whole fails. */
	while ((entry = readdir(dir)))
		(void)unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
	if (rmdir(path) != 0)
		e = err_from_errno(errno);
	free(path);
	return e;
}

enum err
fts_store_replace(const char *fts_dir)
{
	char *words = path_of(fts_dir, "words"), *fresh = path_of(fts_dir, "new");
	enum err e = OK;

	if (rename(fresh, words) != 0) {
		if (renameat2(AT_FDCWD, fresh, AT_FDCWD, words, RENAME_EXCHANGE) != 0)
			e = err_from_errno(errno);
		else
			(void)fts_store_remove(fts_dir, "new");
	}
	free(words);
	free(fresh);
	return e;
}

static enum err
copy_file(const char *from, const char *to)
{
	struct buf text = {0};
	enum err e = io_read_file(from, &text);
	int fd;

	if (e == E_NOTFOUND)
		return OK;
	if (e)
		return e;
	fd = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	e = fd < 0 ? err_from_errno(errno) : io_write_all(fd, text.p, text.len);
	if (!e && fdatasync(fd) != 0)
		e = err_from_errno(errno);
	io_close(&fd);
	buf_free(&text);
	return e;
}

enum err
fts_store_compact(const char *fts_dir)
{
	char *words = path_of(fts_dir, "words"), *fresh = path_of(fts_dir, "new");
	enum err e = fts_store_remove(fts_dir, "new");

	e = e ? e : fts_db_compact(words, fresh);
	for (int i = 0; i < FTS_CLASSES && !e; i++) {
		char *from = path_of(words, lexicon_names[i]);
		char *to = path_of(fresh, lexicon_names[i]);

		e = copy_file(from, to);
		free(from);
		free(to);
	}
	e = e ? e : fts_store_replace(fts_dir);
	if (e)
		(void)fts_store_remove(fts_dir, "new");
	free(words);
	free(fresh);
	return e;
}

uint64_t
fts_store_bytes(const char *fts_dir)
{
	char *words = path_of(fts_dir, "words");
	DIR *dir = opendir(words);
	struct dirent *entry;
	struct stat st;
	uint64_t bytes = 0;

	while (dir && (entry = readdir(dir)))
		if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
			S_ISREG(st.st_mode))
			bytes += (uint64_t)st.st_size;
	if (dir)
		closedir(dir);
	free(words);
	return bytes;
}

/* ---- mailboxes: "mailbox" and the object id -> u32 uidvalidity, u64 modseq, str packed UIDs ----
 */

static void
mailbox_name(const char *object_id, struct buf *out)
{
	(void)buf_printf(out, "mailbox %s", object_id);
}

enum err
fts_mailbox_get(struct fts_store *s, const char *object_id, struct fts_mailbox *out)
{
	struct buf name = {0}, text = {0};
	struct ipc_reader r;
	enum err e;

	*out = (struct fts_mailbox){0};
	mailbox_name(object_id, &name);
	e = fts_db_text(s->db, buf_str(&name), &text);
	if (!e && text.len) {
		r = ipc_reader_of(buf_str(&text));
		out->uidvalidity = ipc_get_u32(&r);
		out->modseq = ipc_get_u64(&r);
		if (numset_unpack(ipc_get_str(&r), &out->uids) || ipc_reader_end(&r))
			e = E_CORRUPT;
	}
	buf_free(&name);
	buf_free(&text);
	return e;
}

enum err
fts_mailbox_put(struct fts_store *s, const char *object_id, const struct fts_mailbox *m)
{
	struct buf name = {0}, text = {0}, uids = {0};
	enum err e;

	mailbox_name(object_id, &name);
	ipc_put_u32(&text, m->uidvalidity);
	ipc_put_u64(&text, m->modseq);
	numset_pack(&m->uids, &uids);
	ipc_put_str(&text, buf_str(&uids));
	e = fts_db_set_text(s->db, buf_str(&name), buf_str(&text));
	buf_free(&name);
	buf_free(&text);
	buf_free(&uids);
	return e;
}

void
fts_mailbox_free(struct fts_mailbox *m)
{
	numset_free(&m->uids);
	*m = (struct fts_mailbox){0};
}

/* ---- documents ---- */

/* The term of those whose text had more than is kept; no class has this letter. */
#define INCOMPLETE STR("X")

enum err
fts_store_add(struct fts_store *s, const unsigned char id[FTS_ID_LEN], const struct str *terms,
	size_t count, int incomplete)
{
	struct str *all = mem_alloc((count + 1) * sizeof(*all));
	uint32_t doc = 0;
	enum err e = OK;

	for (size_t i = 0; i < count && !e; i++) {
		const char *class = memchr(class_letters, terms[i].p[0], FTS_CLASSES);

		all[i] = terms[i];
		e = fts_lexicon_add(&s->lexicon[class - class_letters],
			str_make(terms[i].p + 1, terms[i].len - 1));
	}
	all[count] = INCOMPLETE;
	if (!e)
		e = fts_db_add(s->db, all, count + (incomplete != 0),
			str_make((const char *)id, FTS_ID_LEN), &doc);
	if (!e)
		(void)add_id(doc, str_make((const char *)id, FTS_ID_LEN), s);
	free(all);
	return e;
}

enum err
fts_store_commit(struct fts_store *s)
{
	struct buf head = {0};
	enum err e = OK;

	/* The lexicons first: one that is longer than the head says does no harm. */
	for (int i = 0; i < FTS_CLASSES && !e; i++) {
		char *path = path_of(s->dir, lexicon_names[i]);

		e = fts_lexicon_save(&s->lexicon[i], path);
		free(path);
	}
	head_encode(s, &head);
	e = e ? e : fts_db_set_text(s->db, STR("head"), buf_str(&head));
	e = e ? e : fts_db_commit(s->db);
	buf_free(&head);
	return e;
}

enum err
fts_store_postings(struct fts_store *s, enum fts_class class, struct str term,
	int (*each)(uint32_t doc, void *ctx), void *ctx)
{
	char name[WORDS_TERM_MAX + 8];

	if (term.len > sizeof(name) - 1)
		return E_TOOBIG;
	name[0] = class_letters[class];
	memcpy(name + 1, term.p, term.len);
	return fts_db_postings(s->db, str_make(name, term.len + 1), each, ctx);
}

enum err
fts_store_incomplete(struct fts_store *s, int (*each)(uint32_t doc, void *ctx), void *ctx)
{
	return fts_db_postings(s->db, INCOMPLETE, each, ctx);
}
