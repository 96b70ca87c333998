/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "index/core_fsck.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"

/*
 * What the index has of a mailbox, against itself and against the folder. One walk over the
 * messages looks; when something is to be mended the same walk does it in a transaction that
 * writes.
 */

struct walk {
	const struct fsck *f;
	uint32_t mailbox;
	int mend;
	struct core_box box;
	struct index_mailbox_record sum; /* counts as the messages say */
	uint32_t last_uid;
	uint64_t highest;
	struct index_keywords nameless; /* bits of messages without a name */
	char names[INDEX_KEYWORDS_MAX][INDEX_KEYWORD_LEN_MAX + 1];
	/* what is wrong */
	size_t no_change, no_pending, changes, pending, cache, keywords;
	uint32_t vanished;
};

static enum err
look_at_message(
	struct core_tx *tx, struct core_box *b, uint32_t uid, struct core_message *m, void *arg)
{
	struct walk *w = arg;
	struct index_key change = index_key_change(b->r.id, m->r.modseq, uid);
	MDB_val v;
	enum err e = OK;

	w->sum.messages++;
	w->sum.unseen += !(m->r.flags & INDEX_SEEN);
	w->sum.deleted += (m->r.flags & INDEX_DELETED) != 0;
	w->sum.size_bytes += m->r.size == INDEX_SIZE_UNKNOWN ? m->r.disk_size : m->r.size;
	w->sum.disk_bytes += m->r.disk_size;
	w->last_uid = uid;
	if (m->r.modseq > w->highest)
		w->highest = m->r.modseq;
	for (int i = 0; i < INDEX_KEYWORDS_MAX; i++)
		if ((m->r.keywords.bits[i / 64] >> (i % 64) & 1) && !w->names[i][0])
			w->nameless.bits[i / 64] |= UINT64_C(1) << (i % 64);
	if (core_tx_get(tx, INDEX_DB_CHANGE, change, &v) || v.mv_size != 1 ||
		*(unsigned char *)v.mv_data != INDEX_CHANGE_CHANGED) {
		unsigned char what = INDEX_CHANGE_CHANGED;

		w->no_change++;
		if (w->mend)
			e = core_tx_put(tx, INDEX_DB_CHANGE, change, &what, 1);
	}
	if (e == OK && core_message_is_stale(m, uid) &&
		core_tx_get(tx, INDEX_DB_PENDING, index_key_message(b->r.id, uid), &v)) {
		w->no_pending++;
		if (w->mend)
			e = core_pending_put(tx, b->r.id, uid);
	}
	return e;
}

/* Of the entries of a sub-database that belong to the mailbox: calls fn, which says what goes. */
typedef int bad_entry_fn(struct walk *w, struct core_tx *tx, const MDB_val *k, const MDB_val *v);

static enum err
each_entry(struct walk *w, struct core_tx *tx, enum index_db db, bad_entry_fn *is_bad, size_t *bad)
{
	struct index_key key = index_key_u32(w->mailbox);
	MDB_val k = index_key_val(&key), v;
	MDB_cursor *cur;
	enum err e =
		index_err_of_mdb(mdb_cursor_open(tx->txn, tx->core->env->dbi[db], &cur), "fsck");

	if (e)
		return e;
	for (e = core_tx_next(cur, &k, &v, MDB_SET_RANGE); e == OK;
		e = core_tx_next(cur, &k, &v, MDB_NEXT)) {
		if (k.mv_size < key.len || memcmp(k.mv_data, key.p, key.len) != 0)
			break;
		if (!is_bad(w, tx, &k, &v))
			continue;
		(*bad)++;
		if (w->mend)
			e = index_err_of_mdb(mdb_cursor_del(cur, 0), "fsck");
		if (e)
			break;
	}
	mdb_cursor_close(cur);
	return e == E_NOTFOUND ? OK : e;
}

static int
bad_change(struct walk *w, struct core_tx *tx, const MDB_val *k, const MDB_val *v)
{
	struct core_message m;
	uint32_t mailbox, uid;
	uint64_t modseq;
	unsigned char what = v->mv_size == 1 ? *(unsigned char *)v->mv_data : 255;

	if (index_key_get_change(k, &mailbox, &modseq, &uid))
		return 1;
	if (modseq > w->highest)
		w->highest = modseq;
	if (what == INDEX_CHANGE_VANISHED) {
		w->vanished++;
		return 0;
	}
	return what != INDEX_CHANGE_CHANGED || core_message_get(tx, w->mailbox, uid, &m) != OK ||
	       m.r.modseq != modseq;
}

static int
bad_uid(struct walk *w, struct core_tx *tx, const MDB_val *k, const MDB_val *v)
{
	uint32_t mailbox, uid;
	MDB_val found;

	(void)v;
	if (index_key_get_message(k, &mailbox, &uid))
		return 1;
	/* pending has 0 for roost-keywords-more. */
	return uid && core_tx_get(tx, INDEX_DB_MESSAGE, index_key_message(w->mailbox, uid), &found);
}

static int
bad_keyword(struct walk *w, struct core_tx *tx, const MDB_val *k, const MDB_val *v)
{
	uint32_t mailbox;
	unsigned bit;

	(void)w;
	(void)tx;
	return index_key_get_keyword(k, &mailbox, &bit) ||
	       !core_keyword_is_valid(str_make(v->mv_data, v->mv_size));
}

/* A keyword whose name is lost is still seen to be one. */
static enum err
name_the_nameless(struct walk *w, struct core_tx *tx)
{
	enum err e = OK;

	for (int i = 0; i < INDEX_KEYWORDS_MAX && e == OK; i++) {
		char name[32];

		if (!(w->nameless.bits[i / 64] >> (i % 64) & 1))
			continue;
		w->keywords++;
		snprintf(name, sizeof(name), "lost-keyword-%d", i);
		if (w->mend)
			e = core_tx_put(tx, INDEX_DB_KEYWORD,
				index_key_keyword(w->mailbox, (unsigned)i), name, strlen(name));
	}
	return e;
}

static int
counts_differ(const struct walk *w)
{
	const struct index_mailbox_record *r = &w->box.r, *s = &w->sum;

	return r->messages != s->messages || r->unseen != s->unseen || r->deleted != s->deleted ||
	       r->size_bytes != s->size_bytes || r->disk_bytes != s->disk_bytes;
}

/* The totals keep what the mailbox weighs, right or wrong: see index_core_fsck_totals. */
static enum err
set_counts(struct walk *w, struct core_tx *tx)
{
	struct index_mailbox_record *r = &w->box.r;

	tx->state.messages += w->sum.messages - r->messages;
	tx->state.bytes += w->sum.disk_bytes - r->disk_bytes;
	if (r->quota_ignore) {
		tx->state.ignored_messages += w->sum.messages - r->messages;
		tx->state.ignored_bytes += w->sum.disk_bytes - r->disk_bytes;
	}
	r->messages = w->sum.messages;
	r->unseen = w->sum.unseen;
	r->deleted = w->sum.deleted;
	r->size_bytes = w->sum.size_bytes;
	r->disk_bytes = w->sum.disk_bytes;
	r->vanished = w->vanished;
	if (w->highest > r->highest_modseq)
		r->highest_modseq = w->highest;
	if (tx->state.modseq < r->highest_modseq)
		tx->state.modseq = r->highest_modseq;
	if (w->last_uid >= r->uidnext)
		r->uidnext = w->last_uid + 1;
	return core_box_put(tx, &w->box);
}

static enum err
walk_step(struct core_tx *tx, void *arg)
{
	struct walk *w = arg;
	struct walk again = {.f = w->f, .mailbox = w->mailbox, .mend = w->mend};
	enum err e;

	*w = again;
	e = core_box_get(tx, w->mailbox, &w->box);
	if (e == OK)
		e = each_entry(w, tx, INDEX_DB_KEYWORD, bad_keyword, &w->keywords);
	if (e == OK)
		e = core_keywords_get(tx, w->mailbox, w->names);
	if (e == OK)
		e = core_each(tx, &w->box, NULL, look_at_message, w);
	if (e == OK)
		e = name_the_nameless(w, tx);
	if (e == OK)
		e = each_entry(w, tx, INDEX_DB_CHANGE, bad_change, &w->changes);
	if (e == OK)
		e = each_entry(w, tx, INDEX_DB_PENDING, bad_uid, &w->pending);
	if (e == OK)
		e = each_entry(w, tx, INDEX_DB_CACHE, bad_uid, &w->cache);
	if (e == OK && w->mend)
		e = set_counts(w, tx);
	return e;
}

static void
tell_walk(const struct walk *w, enum err e)
{
	const struct {
		const char *check, *what;
		size_t n;
	} rows[] = {
		{"changes", "messages are not in the change log", w->no_change},
		{"changes", "entries of the change log say nothing", w->changes},
		{"pending", "files are called otherwise than they should be", w->no_pending},
		{"pending", "files to be renamed are not there", w->pending},
		{"cache", "cached structures belong to no message", w->cache},
		{"keywords", "keywords have no name", w->keywords},
	};
	const struct index_mailbox_record *r = &w->box.r;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].n)
			fsck_found(w->f, rows[i].check, w->box.name, e, "%zu %s", rows[i].n,
				rows[i].what);
	if (counts_differ(w))
		fsck_found(w->f, "counts", w->box.name, e,
			"counts of %u messages, %u unseen, %llu bytes; there are %u, %u, %llu",
			r->messages, r->unseen, (unsigned long long)r->disk_bytes, w->sum.messages,
			w->sum.unseen, (unsigned long long)w->sum.disk_bytes);
	if (r->vanished != w->vanished || w->highest > r->highest_modseq)
		fsck_found(
			w->f, "changes", w->box.name, e, "the change log is not what it should be");
	if (w->last_uid >= r->uidnext)
		fsck_found(w->f, "uids", w->box.name, e, "UID %u is not below UIDNEXT %u",
			w->last_uid, r->uidnext);
}

static int
is_clean(const struct walk *w)
{
	return w->no_change + w->changes + w->no_pending + w->pending + w->cache + w->keywords ==
		       0 &&
	       !counts_differ(w) && w->box.r.vanished == w->vanished &&
	       w->highest <= w->box.r.highest_modseq && w->last_uid < w->box.r.uidnext;
}

static enum err
check_walk(const struct fsck *f, uint32_t mailbox, struct core_box *box)
{
	struct walk *w = mem_zalloc(sizeof(*w)), *mending;
	enum err e;

	w->f = f;
	w->mailbox = mailbox;
	e = core_read(f->core, walk_step, w);
	if (e == OK && !is_clean(w)) {
		enum err mended = OK;

		if (f->repair) {
			mending = mem_zalloc(sizeof(*mending));
			mending->f = f;
			mending->mailbox = mailbox;
			mending->mend = 1;
			mended = core_run(f->core, walk_step, mending);
			free(mending);
		}
		tell_walk(w, mended);
	}
	*box = w->box;
	box->r.name.p = box->name;
	box->r.dir.p = box->dir;
	free(w);
	return e;
}

/* ---- files of the folder that say what the index says ---- */

struct floor {
	uint32_t mailbox, floor;
};

static enum err
floor_step(struct core_tx *tx, void *arg)
{
	const struct floor *fl = arg;
	struct core_box b;
	enum err e = core_box_get(tx, fl->mailbox, &b);

	b.r.uid_floor = fl->floor;
	return e ? e : core_box_put(tx, &b);
}

static void
check_uid_file(const struct fsck *f, const struct core_box *b)
{
	struct core_uid_file had, want = {.uidvalidity = b->r.uidvalidity, .mailbox_id = b->r.id};
	struct floor fl = {.mailbox = b->r.id};
	enum err e = core_uid_file_read(f->core, b->dir, &had);

	memcpy(want.object_id, b->r.object_id, sizeof(want.object_id));
	if (e == OK && had.uidvalidity == want.uidvalidity && had.mailbox_id == want.mailbox_id &&
		had.next_uid == b->r.uid_floor && b->r.uidnext <= b->r.uid_floor &&
		memcmp(had.object_id, want.object_id, sizeof(want.object_id)) == 0)
		return;
	/* Above all that either of them knows of. */
	want.next_uid = b->r.uid_floor > b->r.uidnext ? b->r.uid_floor : b->r.uidnext;
	if (e == OK && had.next_uid > want.next_uid)
		want.next_uid = had.next_uid;
	fl.floor = want.next_uid;
	if (f->repair) {
		e = core_uid_file_write(f->core, b->dir, &want);
		if (e == OK)
			e = core_run(f->core, floor_step, &fl);
	}
	fsck_found(f, "uids", b->name, f->repair ? e : OK, "%s does not say what the index does",
		CORE_FILE_UID);
}

struct keyword_files {
	const struct core_box *b;
	struct buf letters, more;
};

static enum err
keyword_texts(struct core_tx *tx, void *arg)
{
	struct keyword_files *k = arg;
	enum err e = core_keywords_format(tx, k->b, &k->letters);

	return e ? e : core_keywords_more_format(tx, k->b, &k->more);
}

static void
check_keyword_files(const struct fsck *f, const struct core_box *b)
{
	struct keyword_files k = {.b = b};

	if (core_read(f->core, keyword_texts, &k) == OK) {
		fsck_text(f, "keywords", b->name, b->dir, CORE_FILE_KEYWORDS, buf_str(&k.letters));
		fsck_text(
			f, "keywords", b->name, b->dir, CORE_FILE_KEYWORDS_MORE, buf_str(&k.more));
	}
	buf_free(&k.letters);
	buf_free(&k.more);
}

/* ---- a mailbox ---- */

struct get {
	uint32_t mailbox;
	struct core_box box;
};

static enum err
get_step(struct core_tx *tx, void *arg)
{
	struct get *g = arg;

	return core_box_get(tx, g->mailbox, &g->box);
}

enum err
fsck_box(const struct fsck *f, uint32_t mailbox)
{
	struct core_scan_counts n = {0};
	struct get g = {.mailbox = mailbox};
	struct core_box box;
	enum err e = core_read(f->core, get_step, &g);

	if (e)
		return e;
	fsck_folder(f, &g.box);
	/* What other programs did is no damage; only what a look does not see is. */
	e = core_scan(f->core, mailbox, 0);
	if (e == OK)
		e = core_scan_count(f->core, mailbox, &n);
	if (e == OK && n.added + n.changed + n.gone) {
		if (f->repair)
			e = core_scan(f->core, mailbox, 1);
		fsck_found(f, "files", g.box.name, e,
			"%zu files are not in the index, %zu have other names there, %zu are gone",
			n.added, n.changed, n.gone);
	}
	if (e == E_NOTFOUND || e == E_ACCESS) {
		fsck_found(f, "folder", g.box.name, e, "it cannot be read");
		return OK;
	}
	if (e == OK)
		e = check_walk(f, mailbox, &box);
	if (e == OK) {
		check_uid_file(f, &box);
		check_keyword_files(f, &box);
	}
	return e;
}
