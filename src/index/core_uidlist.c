/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "index/core_uidlist.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

/* How often what could not be renamed is tried while the user is open. */
enum { TRIES_MAX = 3 };

/* For the list's first line, which says what is known when all others are there. */
enum { HEAD_ROOM = 32 };

void
core_uidlist_free(struct core_uidlist *l)
{
	adopt_list_free(&l->list);
	buf_free(&l->text);
}

enum err
core_uidlist_read(
	struct index_core *c, const char *dir, uint32_t uidvalidity, struct core_uidlist *out)
{
	enum err e;

	*out = (struct core_uidlist){0};
	e = adopt_file_read(c, dir, CORE_FILE_UIDLIST, ADOPT_LIST_MAX, &out->text);
	if (e == OK)
		e = adopt_dovecot_uidlist(buf_str(&out->text), &out->list);
	if (e == OK && uidvalidity && out->list.uidvalidity != uidvalidity)
		e = E_NOTFOUND;
	if (e == OK && out->list.bad)
		log_event(LOGL_WARN, "index.file bad", "maildir", c->maildir, "dir", dir, "file",
			CORE_FILE_UIDLIST, "lines", log_u64(out->list.bad), NULL);
	if (e)
		core_uidlist_free(out);
	return e == E_CORRUPT || e == E_TOOBIG ? E_NOTFOUND : e;
}

const struct adopt_line *
core_uidlist_find(struct core_uidlist *l, struct str name)
{
	const struct adopt_line *line;
	struct maildir_name n;

	if (maildir_name_parse(name, &n))
		return NULL;
	line = adopt_list_find(&l->list, name, n.uid);
	if (line && n.has_uid && !str_equal(line->base, core_uidlist_base(name)))
		return NULL;
	return line;
}

struct str
core_uidlist_base(struct str name)
{
	struct maildir_name n;

	return maildir_name_parse(name, &n) == OK && n.has_info ? n.base : name;
}

void
core_uidlist_begin(const struct core_uidlist *old, size_t room, struct buf *text)
{
	struct str before = old ? buf_str(&old->text) : STR("");

	str_split(&before, '\n');
	(void)buf_reserve(text, HEAD_ROOM + before.len + 1 + room);
	mem_huge(text->p, text->cap);
	while (text->len < HEAD_ROOM)
		(void)buf_add_char(text, ' ');
	(void)buf_add_str(text, before);
	if (before.len && before.p[before.len - 1] != '\n')
		(void)buf_add_char(text, '\n');
}

void
core_uidlist_line(
	uint32_t uid, uint64_t size, uint64_t crlf_size, struct str base, struct buf *text)
{
	buf_add_u64(text, uid);
	if (size != UINT64_MAX) {
		buf_add_cstr(text, " S");
		buf_add_u64(text, size);
	}
	if (crlf_size != UINT64_MAX) {
		buf_add_cstr(text, " W");
		buf_add_u64(text, crlf_size);
	}
	buf_add_cstr(text, " :");
	buf_add_str(text, base);
	buf_add_char(text, '\n');
}

enum err
core_uidlist_write(struct index_core *c, const char *dir, uint32_t uidvalidity, uint32_t next_uid,
	struct buf *text)
{
	char head[HEAD_ROOM + 1];
	size_t len;

	if (text->err)
		return text->err;
	len = (size_t)snprintf(head, sizeof(head), "3 V%u N%u\n", uidvalidity, next_uid);
	memcpy(text->p + HEAD_ROOM - len, head, len);
	return core_text_write(c, dir, CORE_FILE_UIDLIST,
		str_make(text->p + HEAD_ROOM - len, text->len - (HEAD_ROOM - len)));
}

struct core_uidlist_writer {
	struct index_core *core;
	const char *dir;
	uint32_t uidvalidity, next_uid;
	struct buf text;
	pthread_t thread;
	int in_thread;
	enum err e;
};

static void *
writer_run(void *arg)
{
	struct core_uidlist_writer *w = arg;

	w->e = core_uidlist_write(w->core, w->dir, w->uidvalidity, w->next_uid, &w->text);
	return NULL;
}

enum err
core_uidlist_write_begin(struct index_core *c, const char *dir, uint32_t uidvalidity,
	uint32_t next_uid, struct buf *text, struct core_uidlist_writer **out)
{
	struct core_uidlist_writer *w = MEM_NEW(struct core_uidlist_writer);

	w->core = c;
	w->dir = dir;
	w->uidvalidity = uidvalidity;
	w->next_uid = next_uid;
	w->text = *text;
	*text = (struct buf){0};
	w->in_thread = pthread_create(&w->thread, NULL, writer_run, w) == 0;
	if (!w->in_thread)
		(void)writer_run(w);
	*out = w;
	return w->in_thread ? OK : w->e;
}

enum err
core_uidlist_write_end(struct core_uidlist_writer **w)
{
	enum err e;

	if (!*w)
		return OK;
	if ((*w)->in_thread)
		(void)pthread_join((*w)->thread, NULL);
	e = (*w)->e;
	buf_free(&(*w)->text);
	MEM_FREE(*w);
	return e;
}

/* ---- bases ---- */

/* Eight bytes at a time; names are some fifty long. */
uint64_t
core_base_hash(struct str base)
{
	uint64_t h = 14695981039346656037u, word;
	size_t at = 0;

	for (; at < base.len; at += sizeof(word)) {
		size_t left = base.len - at;

		word = 0;
		memcpy(&word, base.p + at, left < sizeof(word) ? left : sizeof(word));
		h = (h ^ word) * UINT64_C(0x9e3779b97f4a7c15);
		h ^= h >> 32;
	}
	return h ? h : 1;
}

void
core_bases_init(struct core_bases *b, size_t count_max)
{
	size_t size = 64;

	while (size < count_max * 2)
		size *= 2;
	b->slots = mem_large(size * sizeof(*b->slots));
	memset(b->slots, 0, size * sizeof(*b->slots));
	b->mask = size - 1;
}

void
core_bases_fini(struct core_bases *b)
{
	MEM_FREE(b->slots);
}

/* The slot of the hash, or the empty one where it goes. */
static uint64_t *
base_slot(const struct core_bases *b, uint64_t hash)
{
	size_t at = hash & b->mask;

	while (b->slots[at] && b->slots[at] != hash)
		at = (at + 1) & b->mask;
	return &b->slots[at];
}

int
core_bases_add(struct core_bases *b, uint64_t hash)
{
	uint64_t *slot = base_slot(b, hash);
	int is_new = *slot == 0;

	*slot = hash;
	return is_new;
}

int
core_bases_has(const struct core_bases *b, uint64_t hash)
{
	return *base_slot(b, hash) != 0;
}

void
core_bases_twins(struct core_bases *out, size_t count,
	uint64_t (*hash_of)(const void *arg, size_t i), const void *arg)
{
	struct core_bases all;
	uint64_t *twins = NULL;
	size_t twin_count = 0;

	core_bases_init(&all, count);
	for (size_t i = 0; i < count; i++) {
		uint64_t hash = hash_of(arg, i);

		if (core_bases_add(&all, hash))
			continue;
		twins = mem_realloc(twins, twin_count + 1, sizeof(*twins));
		twins[twin_count++] = hash;
	}
	core_bases_fini(&all);
	core_bases_init(out, twin_count);
	for (size_t i = 0; i < twin_count; i++)
		(void)core_bases_add(out, twins[i]);
	free(twins);
}

/* ---- the end of a list ---- */

enum err
core_uidlist_remove(struct index_core *c, const char *dir)
{
	int fd;
	enum err e = core_dir_open(c, dir, CORE_TOP, &fd);

	if (e)
		return e;
	if (unlinkat(fd, CORE_FILE_UIDLIST, 0) != 0 && errno != ENOENT)
		e = err_from_errno(errno);
	io_close(&fd);
	return e;
}

int
core_message_is_named(const struct core_message *m, uint32_t uid)
{
	struct maildir_name n;

	return maildir_name_parse(str_make(m->name, m->r.name.len), &n) == OK && n.uid == uid;
}

void
core_uidlist_check_later(struct index_core *c, uint32_t mailbox)
{
	core_memory(c, mailbox)->uidlist_check = 1;
}

struct check {
	uint32_t mailbox;
	int pending; /* renames are still to be done */
	struct numset unnamed;
	struct core_box box;
};

static enum err
check_one(struct core_tx *tx, struct core_box *b, uint32_t uid, struct core_message *m, void *arg)
{
	struct check *ch = arg;

	(void)tx;
	(void)b;
	if (!core_message_is_named(m, uid))
		numset_add(&ch->unnamed, uid);
	return OK;
}

/* Entry 0 is that of roost-keywords-more. */
static enum err
has_pending(struct core_tx *tx, uint32_t mailbox, int *found)
{
	struct index_key key = index_key_message(mailbox, 1);
	MDB_val k = index_key_val(&key), v;
	uint32_t id, uid;
	MDB_cursor *cur;
	enum err e;

	*found = 0;
	e = index_err_of_mdb(
		mdb_cursor_open(tx->txn, tx->core->env->dbi[INDEX_DB_PENDING], &cur), "pending");
	if (e)
		return e;
	e = core_tx_next(cur, &k, &v, MDB_SET_RANGE);
	if (e == OK)
		e = index_key_get_message(&k, &id, &uid);
	if (e == OK)
		*found = id == mailbox;
	mdb_cursor_close(cur);
	return e == E_NOTFOUND ? OK : e;
}

static enum err
box_step(struct core_tx *tx, void *arg)
{
	struct check *ch = arg;

	return core_box_get(tx, ch->mailbox, &ch->box);
}

static enum err
check_step(struct core_tx *tx, void *arg)
{
	struct check *ch = arg;
	enum err e = core_box_get(tx, ch->mailbox, &ch->box);

	if (e == OK)
		e = has_pending(tx, ch->mailbox, &ch->pending);
	if (e || ch->pending)
		return e;
	return core_each(tx, &ch->box, NULL, check_one, ch);
}

static enum err
again_one(struct core_tx *tx, struct core_box *b, uint32_t uid, struct core_message *m, void *arg)
{
	(void)m;
	(void)arg;
	return core_pending_put(tx, b->r.id, uid);
}

static enum err
again_step(struct core_tx *tx, void *arg)
{
	struct check *ch = arg;
	struct core_box box;
	enum err e = core_box_get(tx, ch->mailbox, &box);

	return e ? e : core_each(tx, &box, &ch->unnamed, again_one, NULL);
}

/* The names first: a list that is gone must not be needed after a power cut. */
static enum err
remove_list(struct index_core *c, const struct core_box *b)
{
	static const enum core_sub subs[] = {CORE_NEW, CORE_CUR};
	enum err e = OK;
	int fd;

	for (size_t i = 0; i < sizeof(subs) / sizeof(subs[0]) && e == OK && c->fsync; i++) {
		e = core_dir_open(c, b->dir, subs[i], &fd);
		if (e == OK && fsync(fd) != 0)
			e = err_from_errno(errno);
		io_close(&fd);
	}
	return e ? e : core_uidlist_remove(c, b->dir);
}

static int
list_exists(struct index_core *c, const struct core_box *b)
{
	int fd, found = 0;

	if (core_dir_open(c, b->dir, CORE_TOP, &fd) == OK)
		found = faccessat(fd, CORE_FILE_UIDLIST, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	io_close(&fd);
	return found;
}

static enum err
check_box(struct index_core *c, struct core_box_memory *mem, struct check *ch)
{
	uint64_t left;
	enum err e = core_read(c, box_step, ch);

	if (e || !list_exists(c, &ch->box))
		return e;
	e = core_read(c, check_step, ch);
	if (e || ch->pending)
		return e;
	left = numset_size(&ch->unnamed);
	if (left == 0) {
		e = remove_list(c, &ch->box);
		log_event(e ? LOGL_WARN : LOGL_INFO,
			e ? "index.uidlist failed" : "index.uidlist done", "maildir", c->maildir,
			"dir", ch->box.dir, NULL);
		return e;
	}
	/* What cannot be renamed keeps the list; it is tried again when the user is next opened. */
	if (++mem->uidlist_tries > TRIES_MAX)
		return OK;
	return core_run(c, again_step, ch);
}

int
core_uidlist_check(struct index_core *c)
{
	for (size_t i = 0; i < c->memory_count; i++) {
		struct check ch = {.mailbox = c->memory[i].id};
		enum err e;

		if (!c->memory[i].uidlist_check)
			continue;
		c->memory[i].uidlist_check = 0;
		e = check_box(c, &c->memory[i], &ch);
		if (e && e != E_NOTFOUND)
			log_event(LOGL_WARN, "index.uidlist failed", "maildir", c->maildir, "error",
				err_word(e), NULL);
		numset_free(&ch.unnamed);
		return 1;
	}
	return 0;
}
