/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "index/core_batch.h"
#include "index/core_expunged.h"

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

/* ---- subscriptions ---- */

struct subscribe {
	const char *name;
	int on;
};

/* One folder a line, '.' between levels, modified UTF-7: what Courier and Dovecot read. */
enum err
core_subscriptions_format(struct core_tx *tx, struct buf *out)
{
	char name[INDEX_MAILBOX_NAME_MAX + 1], dir[MAILDIR_NAME_MAX + 1];
	MDB_cursor *cur;
	MDB_val k, v;
	enum err e;

	e = index_err_of_mdb(
		mdb_cursor_open(tx->txn, tx->core->env->dbi[INDEX_DB_SUBSCRIPTION], &cur), "list");
	if (e)
		return e;
	for (e = core_tx_next(cur, &k, &v, MDB_FIRST); e == OK;
		e = core_tx_next(cur, &k, &v, MDB_NEXT)) {
		if (core_name_normalize(str_make(k.mv_data, k.mv_size), name) ||
			core_name_to_dir(name, dir))
			continue;
		buf_printf(out, "%s\n", dir[0] ? dir + 1 : "INBOX");
	}
	mdb_cursor_close(cur);
	return e == OK || e == E_NOTFOUND ? out->err : e;
}

enum err
core_subscriptions_write(struct core_tx *tx)
{
	struct buf text = {0};
	enum err e = core_subscriptions_format(tx, &text);

	if (e == OK)
		e = core_text_write(tx->core, "", CORE_FILE_SUBSCRIPTIONS, buf_str(&text));
	buf_free(&text);
	return e;
}

static enum err
subscribe_step(struct core_tx *tx, void *arg)
{
	const struct subscribe *s = arg;
	MDB_val k = {.mv_size = strlen(s->name), .mv_data = (void *)s->name}, v = {0};
	MDB_dbi dbi = tx->core->env->dbi[INDEX_DB_SUBSCRIPTION];
	MDB_stat st;
	int rc;

	if (s->on && (mdb_stat(tx->txn, dbi, &st) || st.ms_entries >= INDEX_MAILBOXES_MAX))
		return E_RANGE;
	rc = s->on ? mdb_put(tx->txn, dbi, &k, &v, MDB_NOOVERWRITE)
		   : mdb_del(tx->txn, dbi, &k, NULL);
	if (rc == MDB_KEYEXIST || rc == MDB_NOTFOUND)
		return OK;
	if (rc)
		return index_err_of_mdb(rc, "subscribe");
	core_tx_note(tx, 0);
	return core_subscriptions_write(tx);
}

enum err
index_core_subscribe(struct index_core *c, struct str name, int on)
{
	char clean[INDEX_MAILBOX_NAME_MAX + 1], dir[MAILDIR_NAME_MAX + 1];
	struct subscribe s = {.name = clean, .on = on};
	enum err e = core_name_normalize(name, clean);

	if (e == OK)
		e = core_name_to_dir(clean, dir);
	return e ? e : core_run(c, subscribe_step, &s);
}

/* ---- create ---- */

struct create {
	const char *name;
	unsigned special_use;
	uint32_t id;
};

static enum err
create_one(struct core_tx *tx, const char *name, struct core_box *box)
{
	char dir[MAILDIR_NAME_MAX + 1];
	enum err e = core_name_to_dir(name, dir);

	if (e == OK)
		e = core_dir_make(tx->core, dir);
	if (e == OK)
		e = core_tree_adopt(tx, name, dir, box);
	return e;
}

/* The superior names that do not exist, from the top. */
static enum err
create_parents(struct core_tx *tx, const char *name)
{
	char parent[INDEX_MAILBOX_NAME_MAX + 1];
	struct core_box box;
	enum err e = OK;

	for (const char *p = strchr(name, '/'); p && e == OK; p = strchr(p + 1, '/')) {
		snprintf(parent, sizeof(parent), "%.*s", (int)(p - name), name);
		e = core_box_find(tx, str_of(parent), &box);
		if (e == E_NOTFOUND)
			e = create_one(tx, parent, &box);
	}
	return e;
}

/* What was made of a folder that the index did not take. Only what is empty goes. */
static void
unmake(struct index_core *c, const char *dir)
{
	static const char *const files[] = {
		"maildirfolder", CORE_FILE_UID, (CORE_FILE_UID ".tmp"), "new", "cur", "tmp"};
	int fd;

	if (core_dir_open(c, dir, CORE_TOP, &fd))
		return;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		(void)unlinkat(fd, files[i], i < 3 ? 0 : AT_REMOVEDIR);
	io_close(&fd);
	(void)unlinkat(c->maildir_fd, dir, AT_REMOVEDIR);
}

static enum err
create_step(struct core_tx *tx, void *arg)
{
	struct create *cr = arg;
	struct core_box box;
	MDB_stat st;
	enum err e = core_box_find(tx, str_of(cr->name), &box);

	if (e != E_NOTFOUND)
		return e ? e : E_EXISTS;
	if (mdb_stat(tx->txn, tx->core->env->dbi[INDEX_DB_MAILBOX], &st) ||
		st.ms_entries >= INDEX_MAILBOXES_MAX)
		return E_RANGE;
	e = create_parents(tx, cr->name);
	if (e == OK)
		e = create_one(tx, cr->name, &box);
	if (e == OK && cr->special_use) {
		box.r.special_use = cr->special_use;
		e = core_box_put(tx, &box);
		if (e == OK)
			e = core_special_use_write(tx);
	}
	cr->id = box.r.id;
	return e;
}

enum err
index_core_create(struct index_core *c, struct str name, unsigned special_use, uint32_t *mailbox)
{
	char clean[INDEX_MAILBOX_NAME_MAX + 1], dir[MAILDIR_NAME_MAX + 1];
	struct stat st;
	struct create cr = {.name = clean, .special_use = special_use};
	enum err e = core_name_normalize(name, clean);

	if (e == OK)
		e = core_name_to_dir(clean, dir);
	if (e)
		return e;
	if (special_use && !core_special_use_word(special_use))
		return E_RANGE;
	/* A folder that another program made is there already. */
	e = core_tree_look(c, 0);
	if (e == OK) {
		int made = dir[0] && fstatat(c->maildir_fd, dir, &st, AT_SYMLINK_NOFOLLOW) != 0 &&
			   errno == ENOENT;

		e = core_run(c, create_step, &cr);
		if (e && made)
			unmake(c, dir);
	}
	*mailbox = cr.id;
	return e;
}

/* ---- delete ---- */

static int
is_inferior(const char *name, const char *of)
{
	size_t len = strlen(of);

	return strncmp(name, of, len) == 0 && name[len] == '/';
}

static enum err
delete_step(struct core_tx *tx, void *arg)
{
	struct core_box *box = arg;
	enum err e = core_tree_forget(tx, box);

	if (e == OK && box->r.special_use)
		e = core_special_use_write(tx);
	return e;
}

struct find {
	const char *name;
	struct core_box box;
	int children;
};

static enum err
find_step(struct core_tx *tx, void *arg)
{
	struct find *f = arg;
	struct core_box *boxes = NULL;
	size_t count = 0;
	enum err e = core_box_find(tx, str_of(f->name), &f->box);

	if (e == OK)
		e = core_box_list(tx, &boxes, &count);
	for (size_t i = 0; i < count; i++)
		f->children |= is_inferior(boxes[i].name, f->name);
	free(boxes);
	return e;
}

enum { HIDDEN_SIZE = 64 };

/* Out of sight first, so that a crash leaves the whole folder or none; removed in the background.
 */
static enum err
move_out_of_sight(struct index_core *c, const char *dir, char hidden[HIDDEN_SIZE])
{
	char random[17];

	io_random_hex(random, 8);
	snprintf(hidden, HIDDEN_SIZE, "%s%s", CORE_DELETED_PREFIX, random);
	if (renameat(c->maildir_fd, dir, c->maildir_fd, hidden) != 0 && errno != ENOENT)
		return err_from_errno(errno);
	c->more_deleted = 1;
	core_sync_note(c, c->maildir_fd);
	return OK;
}

/* A mailbox made anew under the name must not get the same UIDVALIDITY (RFC 9051 section 2.3.1.1).
 */
static enum err
remember_uidvalidity(struct index_core *c, const struct core_box *box)
{
	struct core_uid_file f;
	enum err e;

	/* What is not ahead of the clock is passed by it. */
	if (box->r.uidvalidity < (uint64_t)core_now_s())
		return OK;
	e = core_uid_file_read(c, "", &f);
	if (e == OK && f.last_uidvalidity < c->state.last_uidvalidity)
		e = core_uid_file_write(c, "", &f);
	return e;
}

/* The files' names say all about its messages then. */
static enum err
note_to_keep(struct index_core *c, const struct core_box *box)
{
	while (core_rename_step(c))
		;
	return core_keep_note(c, box);
}

enum err
index_core_delete(struct index_core *c, struct str name)
{
	char clean[INDEX_MAILBOX_NAME_MAX + 1], hidden[HIDDEN_SIZE];
	struct find f = {.name = clean};
	enum err e = core_name_normalize(name, clean);

	if (e)
		return E_NOTFOUND;
	if (strcmp(clean, "INBOX") == 0)
		return E_ACCESS;
	e = core_tree_look(c, 0);
	if (e == OK)
		e = core_read(c, find_step, &f);
	if (e == OK && f.children)
		e = E_EXISTS;
	if (e == OK)
		e = remember_uidvalidity(c, &f.box);
	if (e == OK && c->expunge_keep_s)
		e = note_to_keep(c, &f.box);
	if (e == OK)
		e = move_out_of_sight(c, f.box.dir, hidden);
	if (e == OK) {
		f.box.r.name.p = f.box.name;
		e = core_run(c, delete_step, &f.box);
		if (e)
			(void)renameat(c->maildir_fd, hidden, c->maildir_fd, f.box.dir);
	}
	if (e == OK)
		core_url_forget(c, &f.box);
	return e;
}

/* ---- rename ---- */

struct rename_item {
	struct core_box box;
	char name[INDEX_MAILBOX_NAME_MAX + 1], dir[MAILDIR_NAME_MAX + 1];
};
struct rename {
	const char *from, *to;
	struct rename_item *items;
	size_t count;
};

/* What moves, and under which names; refuses what does not fit before anything is touched. */
static enum err
rename_plan(struct core_tx *tx, void *arg)
{
	struct rename *r = arg;
	struct core_box *boxes = NULL, box;
	size_t count = 0;
	int found = 0;
	enum err e = core_box_list(tx, &boxes, &count);

	for (size_t i = 0; i < count && e == OK; i++) {
		int self = strcmp(boxes[i].name, r->from) == 0;
		struct rename_item *it;
		int len;

		if (!self && !is_inferior(boxes[i].name, r->from))
			continue;
		found = 1;
		r->items = mem_realloc(r->items, r->count + 1, sizeof(*r->items));
		it = &r->items[r->count++];
		it->box = boxes[i];
		len = snprintf(
			it->name, sizeof(it->name), "%s%s", r->to, boxes[i].name + strlen(r->from));
		if (len < 0 || (size_t)len >= sizeof(it->name))
			e = E_TOOBIG;
		if (e == OK)
			e = core_name_to_dir(it->name, it->dir);
		if (e == OK && core_box_find(tx, str_of(it->name), &box) == OK)
			e = E_EXISTS;
	}
	free(boxes);
	return e == OK && !found ? E_NOTFOUND : e;
}

enum err
core_box_rename(struct core_tx *tx, struct core_box *b, const char *name, const char *dir)
{
	MDB_dbi dbi = tx->core->env->dbi[INDEX_DB_MAILBOX_NAME];
	struct index_key id = index_key_u32(b->r.id);
	MDB_val k = {.mv_size = strlen(b->name), .mv_data = b->name}, v;
	enum err e = index_err_of_mdb(mdb_del(tx->txn, dbi, &k, NULL), "rename");

	if (e)
		return e;
	core_box_set_name(b, str_of(name), str_of(dir));
	core_quota_box_again(tx, b);
	e = core_box_put(tx, b);
	k = (MDB_val){.mv_size = strlen(name), .mv_data = (void *)name};
	v = index_key_val(&id);
	return e ? e : index_err_of_mdb(mdb_put(tx->txn, dbi, &k, &v, 0), "rename");
}

static enum err
rename_step(struct core_tx *tx, void *arg)
{
	struct rename *r = arg;
	enum err e = create_parents(tx, r->to);
	int special = 0;

	for (size_t i = 0; i < r->count && e == OK; i++) {
		struct rename_item *it = &r->items[i];
		struct core_box box = it->box;

		e = core_box_rename(tx, &box, it->name, it->dir);
		special |= box.r.special_use != 0;
	}
	core_tx_note(tx, 0);
	if (e == OK && special)
		e = core_special_use_write(tx);
	return e;
}

/* The special uses too have the new names, or the old. */
static enum err
begin_batch(struct index_core *c, const struct rename *r)
{
	struct core_batch_text t = {0};

	for (size_t i = 0; i < r->count; i++) {
		const struct rename_item *it = &r->items[i];
		struct core_batch_rename line = {.uidvalidity = it->box.r.uidvalidity,
			.dir = str_of(it->box.dir),
			.new_dir = str_of(it->dir)};

		core_batch_rename(&t, &line);
	}
	return core_batch_begin(c, &t, &c->maildir_fd, 1);
}

static enum err
rename_dirs(struct index_core *c, struct rename *r)
{
	for (size_t i = 0; i < r->count; i++) {
		struct rename_item *it = &r->items[i];

		/* renameat2 would not replace even an empty folder that just came up. */
		if (renameat2(c->maildir_fd, it->box.dir, c->maildir_fd, it->dir,
			    RENAME_NOREPLACE) == 0)
			continue;
		enum err e = errno == EEXIST ? E_EXISTS : err_from_errno(errno);

		while (i-- > 0)
			(void)renameat(
				c->maildir_fd, r->items[i].dir, c->maildir_fd, r->items[i].box.dir);
		return e;
	}
	core_sync_note(c, c->maildir_fd);
	return OK;
}

static enum err
rename_index(struct index_core *c, struct rename *r)
{
	enum err e = core_run(c, rename_step, r);

	/* The index did not follow: back with the folders. */
	for (size_t i = r->count; e && i-- > 0;)
		(void)renameat(c->maildir_fd, r->items[i].dir, c->maildir_fd, r->items[i].box.dir);
	return e;
}

/* RFC 9051 section 6.3.6: INBOX stays, empty; its messages are in the new mailbox. */
static enum err
rename_inbox(struct index_core *c, struct str to)
{
	char name[INDEX_MAILBOX_NAME_MAX + 1], dir[MAILDIR_NAME_MAX + 1];
	struct index_core_pair *pairs = NULL;
	struct numset all = {0};
	uint32_t from_id, to_id, uidvalidity;
	size_t count;
	enum err e = index_core_lookup(c, STR("INBOX"), &from_id);

	if (e == OK)
		e = core_scan(c, from_id, 0);
	if (e == OK)
		e = index_core_create(c, to, 0, &to_id);
	if (e)
		return e;
	numset_add_range(&all, 1, UINT32_MAX);
	/* RFC 5464 section 4.1: INBOX keeps its annotations, the new mailbox has them too. */
	if (core_name_normalize(to, name) == OK && core_name_to_dir(name, dir) == OK)
		e = core_entries_copy(c, "", dir, ENTRY_FILE_METADATA);
	if (e == OK)
		e = index_core_copy(c, from_id, to_id, &all, 1, &uidvalidity, &pairs, &count);
	numset_free(&all);
	free(pairs);
	if (e)
		(void)index_core_delete(c, to);
	return e;
}

enum err
index_core_rename(struct index_core *c, struct str from, struct str to)
{
	char clean_from[INDEX_MAILBOX_NAME_MAX + 1], clean_to[INDEX_MAILBOX_NAME_MAX + 1];
	struct rename r = {.from = clean_from, .to = clean_to};
	enum err e = core_name_normalize(to, clean_to);

	if (e)
		return e;
	if (core_name_normalize(from, clean_from))
		return E_NOTFOUND;
	e = core_tree_look(c, 0);
	if (e)
		return e;
	if (strcmp(clean_to, "INBOX") == 0)
		return E_EXISTS;
	if (strcmp(clean_from, "INBOX") == 0)
		return rename_inbox(c, to);
	if (is_inferior(clean_to, clean_from))
		return E_RANGE;
	if (strcmp(clean_to, clean_from) == 0)
		return E_EXISTS;
	e = core_read(c, rename_plan, &r);
	if (e == OK)
		e = begin_batch(c, &r);
	if (e == OK) {
		e = rename_dirs(c, &r);
		if (e == OK)
			e = rename_index(c, &r);
		if (e)
			core_batch_cancel(c);
		else
			core_batch_done(c);
	}
	free(r.items);
	return e;
}

static enum err
lookup_step(struct core_tx *tx, void *arg)
{
	struct find *f = arg;

	return core_box_find(tx, str_of(f->name), &f->box);
}

enum err
index_core_lookup(struct index_core *c, struct str name, uint32_t *mailbox)
{
	char clean[INDEX_MAILBOX_NAME_MAX + 1];
	struct find f = {.name = clean};
	enum err e = core_name_normalize(name, clean);

	if (e)
		return E_NOTFOUND;
	e = core_read(c, lookup_step, &f);
	*mailbox = e ? 0 : f.box.r.id;
	return e;
}
