/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "index/core_expunged.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

/* ---- walking a set ---- */

/*
 * Calls fn for the messages of the set. Each look-up is its own, because fn may change what a
 * cursor stands on; NULL is all.
 */
static enum err
each_in_range(struct core_tx *tx, struct core_box *b, uint32_t first, uint32_t last,
	core_message_fn *fn, void *arg)
{
	struct index_key key = index_key_message(b->r.id, first);
	MDB_val k = index_key_val(&key), v;
	struct core_message m;
	uint32_t id, uid;
	MDB_cursor *cur;
	enum err e;

	e = index_err_of_mdb(
		mdb_cursor_open(tx->txn, tx->core->env->dbi[INDEX_DB_MESSAGE], &cur), "each");
	if (e)
		return e;
	for (e = core_tx_next(cur, &k, &v, MDB_SET_RANGE); e == OK;) {
		e = index_key_get_message(&k, &id, &uid);
		if (e || id != b->r.id || uid > last)
			break;
		e = core_message_copy(&v, &m);
		if (e == OK)
			e = fn(tx, b, uid, &m, arg);
		if (e || uid == UINT32_MAX)
			break;
		/* Puts and deletes of the same transaction keep the cursor valid, not its key. */
		key = index_key_message(b->r.id, uid + 1);
		k = index_key_val(&key);
		e = core_tx_next(cur, &k, &v, MDB_SET_RANGE);
	}
	mdb_cursor_close(cur);
	return e == E_NOTFOUND ? OK : e;
}

enum err
core_each(struct core_tx *tx, struct core_box *b, const struct numset *uids, core_message_fn *fn,
	void *arg)
{
	enum err e = OK;

	if (!uids)
		return each_in_range(tx, b, 1, UINT32_MAX, fn, arg);
	for (size_t i = 0; i < uids->count && e == OK; i++)
		e = each_in_range(tx, b, uids->ranges[i].first, uids->ranges[i].last, fn, arg);
	return e;
}

/* ---- store ---- */

struct store {
	const struct index_core_store *in;
	uint32_t mailbox;
	struct index_keywords keywords;
	struct numset *conflicts;
	uint64_t modseq;
	int more;
};

static void
apply(const struct store *s, struct core_message *m)
{
	uint64_t *bits = m->r.keywords.bits;

	switch (s->in->op) {
	case INDEX_STORE_ADD:
		m->r.flags |= s->in->flags;
		bits[0] |= s->keywords.bits[0];
		bits[1] |= s->keywords.bits[1];
		break;
	case INDEX_STORE_REMOVE:
		m->r.flags &= ~s->in->flags;
		bits[0] &= ~s->keywords.bits[0];
		bits[1] &= ~s->keywords.bits[1];
		break;
	case INDEX_STORE_REPLACE:
		m->r.flags = (s->in->flags & ~s->in->keep) | (m->r.flags & s->in->keep);
		if (!s->in->keep_keywords)
			m->r.keywords = s->keywords;
		break;
	}
	m->r.flags &= INDEX_FLAGS_ALL;
}

static int
keywords_equal(const struct index_keywords *a, const struct index_keywords *b)
{
	return a->bits[0] == b->bits[0] && a->bits[1] == b->bits[1];
}

static enum err
store_one(struct core_tx *tx, struct core_box *b, uint32_t uid, struct core_message *old, void *arg)
{
	struct store *s = arg;
	struct core_message m;

	if (old->r.modseq > s->in->unchanged_since) {
		if (s->conflicts)
			numset_add(s->conflicts, uid);
		return OK;
	}
	m = *old;
	m.r.name.p = m.name;
	apply(s, &m);
	if (m.r.flags == old->r.flags && keywords_equal(&m.r.keywords, &old->r.keywords))
		return OK;
	s->more |=
		core_keywords_has_more(&m.r.keywords) || core_keywords_has_more(&old->r.keywords);
	return core_message_change(tx, b, uid, old, &m, 1);
}

static enum err
store_step(struct core_tx *tx, void *arg)
{
	struct store *s = arg;
	struct core_box box;
	enum err e = core_box_get(tx, s->mailbox, &box);

	s->more = 0;
	if (s->conflicts)
		numset_free(s->conflicts);
	if (e == OK)
		e = core_keywords_resolve(tx, &box, s->in->keywords, s->in->keyword_count,
			s->in->op != INDEX_STORE_REMOVE, &s->keywords);
	if (e == OK)
		e = core_each(tx, &box, s->in->uids, store_one, s);
	if (e == OK && s->more)
		e = core_pending_put(tx, box.r.id, 0);
	if (e == OK)
		e = core_box_put(tx, &box);
	s->modseq = tx->modseq;
	return e;
}

enum err
index_core_store(struct index_core *c, uint32_t mailbox, const struct index_core_store *in,
	struct numset *conflicts, uint64_t *modseq)
{
	struct store s = {.in = in, .mailbox = mailbox, .conflicts = conflicts};
	enum err e = core_run(c, store_step, &s);

	if (e == E_TOOBIG && core_keywords_reclaim(c, mailbox))
		e = core_run(c, store_step, &s);
	*modseq = s.modseq;
	return e;
}

/* ---- expunge ---- */

struct expunge {
	uint32_t mailbox;
	const struct numset *uids;
	int force;
	struct numset *expunged;
	struct core_touch touch;
	struct core_box box;
	uint64_t modseq;
	int missing; /* a file was not where the index has it */
	int keeps; /* the files go to keep */
	struct core_keep keep;
	char names[INDEX_KEYWORDS_MAX][INDEX_KEYWORD_LEN_MAX + 1];
	enum err failed; /* of the first file that could not be kept */
};

/*
 * The file goes first: were the index first, a crash would leave a file that the next look takes
 * for a new message. A file that is gone while the index still has it just vanishes then.
 */
static int
take_file(struct expunge *x, uint32_t uid, const struct core_message *m)
{
	int fd = x->touch.fd[m->r.in_new ? 0 : 1];
	struct str words[INDEX_KEYWORDS_MAX];
	enum err e;

	if (!x->keeps)
		return unlinkat(fd, m->name, 0);
	errno = 0;
	e = core_keep_file(&x->keep, fd, m->name, str_make(m->name, m->r.base_len), uid, m->r.flags,
		words, core_keywords_words(&m->r.keywords, x->names, words));
	if (e && e != E_NOTFOUND && !x->failed)
		x->failed = e;
	return e ? -1 : 0;
}

static enum err
unlink_one(struct core_tx *tx, struct core_box *b, uint32_t uid, struct core_message *m, void *arg)
{
	struct expunge *x = arg;

	(void)tx;
	(void)b;
	if (!x->force && !(m->r.flags & INDEX_DELETED))
		return OK;
	/* Another program may have moved or removed it: a look at the folder tells, later. */
	if (take_file(x, uid, m) != 0) {
		log_event(errno == ENOENT ? LOGL_INFO : LOGL_WARN, "index.expunge failed",
			"maildir", tx->core->maildir, "dir", b->dir, "file", m->name, "error",
			log_errno(errno), NULL);
		x->missing = 1;
		return OK;
	}
	numset_add(x->expunged, uid);
	return OK;
}

static enum err
unlink_step(struct core_tx *tx, void *arg)
{
	struct expunge *x = arg;
	enum err e = core_box_get(tx, x->mailbox, &x->box);

	if (e == OK)
		e = core_touch_begin(tx->core, &x->box, 1, 1, &x->touch);
	x->keeps = tx->core->expunge_keep_s != 0;
	if (e == OK && x->keeps)
		e = core_keywords_get(tx, x->mailbox, x->names);
	if (e == OK && x->keeps)
		e = core_keep_open(tx->core, x->box.dir, &x->keep);
	return e ? e : core_each(tx, &x->box, x->uids, unlink_one, x);
}

static enum err
remove_one(struct core_tx *tx, struct core_box *b, uint32_t uid, struct core_message *m, void *arg)
{
	(void)arg;
	return core_message_remove(tx, b, uid, m);
}

static enum err
remove_step(struct core_tx *tx, void *arg)
{
	struct expunge *x = arg;
	struct core_box box;
	enum err e = core_box_get(tx, x->mailbox, &box);

	if (e == OK)
		e = core_each(tx, &box, x->expunged, remove_one, NULL);
	core_touch_end(tx->core, &x->touch, &box);
	x->modseq = box.r.highest_modseq;
	return e ? e : core_box_put(tx, &box);
}

enum err
index_core_expunge(struct index_core *c, uint32_t mailbox, const struct numset *uids, int force,
	struct numset *expunged, uint64_t *modseq)
{
	struct numset own = {0};
	struct expunge x = {.mailbox = mailbox,
		.uids = uids,
		.force = force,
		.expunged = &own,
		.touch = {.fd = {-1, -1}},
		.keep = {.fd = -1, .keywords_fd = -1}};
	enum err e = core_read(c, unlink_step, &x);

	if (!numset_is_empty(&own)) {
		/* Whatever else went wrong, these are gone. */
		enum err removed = core_run(c, remove_step, &x);

		e = e ? e : removed;
	}
	if (e == OK)
		e = x.failed;
	if (e == OK && x.missing)
		e = core_scan(c, mailbox, 1);
	if (x.keeps && x.keep.fd >= 0) {
		x.keep.core = c;
		core_keep_close(&x.keep);
	}
	*modseq = x.modseq ? x.modseq : x.box.r.highest_modseq;
	core_touch_close(&x.touch);
	numset_free(expunged);
	*expunged = own;
	return e;
}

/* ---- small ones ---- */

struct claim {
	uint32_t mailbox, first;
};

/* What has been shown moves to cur/, as other programs expect. */
static enum err
claim_move(struct core_tx *tx, const struct core_box *b)
{
	struct index_key key = index_key_message(b->r.id, b->r.recent_from);
	MDB_val k = index_key_val(&key), v;
	struct index_message_record m;
	struct numset shown = {0};
	uint32_t id, uid;
	MDB_cursor *cur;
	enum err e;

	e = index_err_of_mdb(
		mdb_cursor_open(tx->txn, tx->core->env->dbi[INDEX_DB_MESSAGE], &cur), "claim");
	if (e)
		return e;
	for (e = core_tx_next(cur, &k, &v, MDB_SET_RANGE); e == OK;
		e = core_tx_next(cur, &k, &v, MDB_NEXT)) {
		e = index_key_get_message(&k, &id, &uid);
		if (e || id != b->r.id)
			break;
		e = index_message_decode(&v, &m);
		if (e)
			break;
		if (m.in_new)
			numset_add(&shown, uid);
	}
	mdb_cursor_close(cur);
	if (e == E_NOTFOUND)
		e = OK;
	for (size_t i = 0; i < shown.count && e == OK; i++)
		for (uint64_t n = shown.ranges[i].first; n <= shown.ranges[i].last && e == OK; n++)
			e = core_pending_put(tx, b->r.id, (uint32_t)n);
	numset_free(&shown);
	return e;
}

static enum err
claim_step(struct core_tx *tx, void *arg)
{
	struct claim *cl = arg;
	struct core_box box;
	enum err e = core_box_get(tx, cl->mailbox, &box);

	if (e)
		return e;
	cl->first = box.r.recent_from;
	e = claim_move(tx, &box);
	box.r.recent_from = box.r.uidnext;
	return e ? e : core_box_put(tx, &box);
}

static enum err
claim_peek(struct core_tx *tx, void *arg)
{
	struct claim *cl = arg;
	struct core_box box;
	enum err e = core_box_get(tx, cl->mailbox, &box);

	cl->first = box.r.recent_from < box.r.uidnext ? 0 : box.r.recent_from;
	return e;
}

enum err
index_core_claim_recent(struct index_core *c, uint32_t mailbox, uint32_t *first)
{
	struct claim cl = {.mailbox = mailbox};
	enum err e = core_read(c, claim_peek, &cl);

	if (e == OK && cl.first == 0)
		e = core_run(c, claim_step, &cl);
	*first = cl.first;
	return e;
}

struct facts {
	uint32_t mailbox, uid;
	struct str blob;
	uint64_t size;
	int64_t date;
	const unsigned char *email_id, *thread_id;
};

static enum err
cache_step(struct core_tx *tx, void *arg)
{
	const struct facts *f = arg;
	struct index_key key = index_key_message(f->mailbox, f->uid);
	MDB_val v;
	enum err e = core_tx_get(tx, INDEX_DB_MESSAGE, key, &v);

	return e ? e : core_tx_put(tx, INDEX_DB_CACHE, key, f->blob.p, f->blob.len);
}

enum err
index_core_cache_put(struct index_core *c, uint32_t mailbox, uint32_t uid, struct str blob)
{
	struct facts f = {.mailbox = mailbox, .uid = uid, .blob = blob};

	return core_run(c, cache_step, &f);
}

static enum err
facts_step(struct core_tx *tx, void *arg)
{
	const struct facts *f = arg;
	struct core_message old, m;
	struct core_box box;
	enum err e = core_box_get(tx, f->mailbox, &box);

	if (e == OK)
		e = core_message_get(tx, f->mailbox, f->uid, &old);
	if (e)
		return e;
	m = old;
	m.r.name.p = m.name;
	if (f->size != INDEX_SIZE_UNKNOWN)
		m.r.size = f->size;
	if (f->date)
		m.r.internal_date = f->date;
	if (f->email_id)
		memcpy(m.r.email_id, f->email_id, sizeof(m.r.email_id));
	if (f->thread_id)
		memcpy(m.r.thread_id, f->thread_id, sizeof(m.r.thread_id));
	e = core_message_change(tx, &box, f->uid, &old, &m, 0);
	return e ? e : core_box_put(tx, &box);
}

struct notes {
	const struct index_core_note *list;
	size_t count;
};

static enum err
note_step(struct core_tx *tx, const struct index_core_note *n)
{
	static const unsigned char none[16];
	struct facts f = {.mailbox = n->mailbox,
		.uid = n->uid,
		.blob = n->blob,
		.size = n->size,
		.date = n->date,
		.email_id = memcmp(n->email_id, none, 16) ? n->email_id : NULL,
		.thread_id = memcmp(n->thread_id, none, 16) ? n->thread_id : NULL};
	enum err e = n->blob.len ? cache_step(tx, &f) : OK;

	return e == OK && n->has_facts ? facts_step(tx, &f) : e;
}

static enum err
notes_step(struct core_tx *tx, void *arg)
{
	const struct notes *n = arg;
	enum err e = OK;

	for (size_t i = 0; i < n->count && e == OK; i++) {
		e = note_step(tx, &n->list[i]);
		if (e == E_NOTFOUND)
			e = OK;
	}
	return e;
}

enum err
index_core_notes_put(struct index_core *c, const struct index_core_note *notes, size_t count)
{
	struct notes n = {notes, count};

	return core_run(c, notes_step, &n);
}
