/* SPDX-License-Identifier: MIT */
#include "index/core_guest_private.h"

#include <stdlib.h>
#include <string.h>

#include "mail/rights.h"

/*
 * The guest's index follows the owner's by its change log. A mailbox that is new to it, or was not
 * followed for too long, is told anew as a whole, under a mod-sequence that nobody had before: what
 * the guest's clients know of it may be of a guest's index that is no more.
 */

/* ---- one message ---- */

enum err
guest_message_put(struct core_tx *to, struct core_box *b, uint32_t uid,
	const struct index_message_record *old, struct index_message_record *r)
{
	unsigned char changed = INDEX_CHANGE_CHANGED;
	enum err e = OK;

	if (old) {
		e = core_tx_del(to, INDEX_DB_CHANGE, index_key_change(b->r.id, old->modseq, uid));
		b->r.unseen -= !(old->flags & INDEX_SEEN);
	}
	b->r.unseen += !(r->flags & INDEX_SEEN);
	buf_reset(&to->buf);
	index_message_encode(r, &to->buf);
	if (e == OK)
		e = core_tx_put(to, INDEX_DB_MESSAGE, index_key_message(b->r.id, uid), to->buf.p,
			to->buf.len);
	if (e == OK)
		e = core_tx_put(to, INDEX_DB_CHANGE, index_key_change(b->r.id, r->modseq, uid),
			&changed, 1);
	return e;
}

static enum err
cache_copy(struct guest_tx *t, uint32_t mailbox, uint32_t uid)
{
	struct index_key key = index_key_message(mailbox, uid);
	MDB_val v;
	enum err e = core_tx_get(t->own, INDEX_DB_CACHE, key, &v);

	if (e == OK)
		e = core_tx_put(&t->to, INDEX_DB_CACHE, key, v.mv_data, v.mv_size);
	return e == E_NOTFOUND ? OK : e;
}

/* The owner's \Seen is not the guest's business: that it changed is nothing to tell. */
static int
looks_same(const struct index_message_record *a, const struct index_message_record *b)
{
	return a->flags == b->flags && a->keywords.bits[0] == b->keywords.bits[0] &&
	       a->keywords.bits[1] == b->keywords.bits[1];
}

static enum err
message_follow(struct guest_tx *t, struct core_box *b, uint32_t uid)
{
	struct core_message own, old;
	struct index_message_record r;
	int known;
	enum err e = core_message_get(t->own, b->r.id, uid, &own);

	if (e)
		return e == E_NOTFOUND ? OK : e;
	e = core_message_get(&t->to, b->r.id, uid, &old);
	if (e && e != E_NOTFOUND)
		return e;
	known = e == OK;
	r = own.r;
	r.name.p = own.name;
	r.flags &= ~(unsigned)INDEX_SEEN;
	if (known) {
		r.flags |= old.r.flags & INDEX_SEEN;
		r.modseq = r.modseq > old.r.modseq ? r.modseq : old.r.modseq;
		if (looks_same(&r, &old.r))
			return OK;
	}
	if (r.modseq > b->r.highest_modseq)
		b->r.highest_modseq = r.modseq;
	e = guest_message_put(&t->to, b, uid, known ? &old.r : NULL, &r);
	if (e == OK && !known)
		e = cache_copy(t, b->r.id, uid);
	return e;
}

static enum err
message_vanish(struct guest_tx *t, struct core_box *b, uint64_t modseq, uint32_t uid)
{
	unsigned char vanished = INDEX_CHANGE_VANISHED;
	struct core_message old;
	enum err e = core_message_get(&t->to, b->r.id, uid, &old);

	if (e)
		return e == E_NOTFOUND ? OK : e;
	b->r.unseen -= !(old.r.flags & INDEX_SEEN);
	if (modseq > b->r.highest_modseq)
		b->r.highest_modseq = modseq;
	e = core_tx_del(&t->to, INDEX_DB_CHANGE, index_key_change(b->r.id, old.r.modseq, uid));
	if (e == OK)
		e = core_tx_del(&t->to, INDEX_DB_MESSAGE, index_key_message(b->r.id, uid));
	if (e == OK)
		e = core_tx_del(&t->to, INDEX_DB_CACHE, index_key_message(b->r.id, uid));
	if (e == OK)
		e = core_tx_put(&t->to, INDEX_DB_CHANGE, index_key_change(b->r.id, modseq, uid),
			&vanished, 1);
	return e;
}

/* ---- one mailbox ---- */

static enum err
messages_drop(struct guest_tx *t, uint32_t mailbox)
{
	static const enum index_db dbs[] = {
		INDEX_DB_MESSAGE, INDEX_DB_CHANGE, INDEX_DB_CACHE, INDEX_DB_KEYWORD};
	enum err e = OK;

	for (size_t i = 0; i < sizeof(dbs) / sizeof(dbs[0]) && e == OK; i++)
		e = core_tx_del_mailbox(&t->to, dbs[i], mailbox);
	return e;
}

/* Beside the record; 0 is what is not there. */
static enum err
meta_put(struct guest_tx *t, enum index_meta what, uint32_t mailbox, uint64_t n)
{
	struct index_key key = index_key_meta(what, mailbox);

	return n ? core_tx_put(&t->to, INDEX_DB_META, key, &n, sizeof(n))
		 : core_tx_del(&t->to, INDEX_DB_META, key);
}

static enum err
meta_get(struct core_tx *tx, enum index_meta what, uint32_t mailbox, uint64_t *n)
{
	MDB_val v;
	enum err e = core_tx_get(tx, INDEX_DB_META, index_key_meta(what, mailbox), &v);

	*n = 0;
	if (e)
		return e == E_NOTFOUND ? OK : e;
	if (v.mv_size != sizeof(*n))
		return E_CORRUPT;
	memcpy(n, v.mv_data, sizeof(*n));
	return OK;
}

static enum err
name_del(struct guest_tx *t, const struct core_box *b)
{
	MDB_val k = {.mv_size = b->r.name.len, .mv_data = (void *)b->name}, v;
	MDB_dbi dbi = t->to.core->env->dbi[INDEX_DB_MAILBOX_NAME];
	uint32_t id;
	int rc = mdb_get(t->to.txn, dbi, &k, &v);

	/* Another may have taken the name already. */
	if (rc == MDB_NOTFOUND || (rc == 0 && index_key_get_u32(&v, &id) == OK && id != b->r.id))
		return OK;
	return index_err_of_mdb(rc ? rc : mdb_del(t->to.txn, dbi, &k, NULL), "del name");
}

static enum err
name_put(struct guest_tx *t, const struct core_box *b)
{
	struct index_key key = index_key_u32(b->r.id);
	MDB_val k = {.mv_size = b->r.name.len, .mv_data = (void *)b->name};
	MDB_val v = index_key_val(&key);

	return index_err_of_mdb(
		mdb_put(t->to.txn, t->to.core->env->dbi[INDEX_DB_MAILBOX_NAME], &k, &v, 0),
		"put name");
}

static enum err
box_drop(struct guest_tx *t, const struct core_box *b)
{
	static const enum index_meta metas[] = {INDEX_META_ENTRIES, INDEX_META_KEYWORDS,
		INDEX_META_RIGHTS, INDEX_META_FOLLOWED, INDEX_META_URL_KEY};
	enum err e = messages_drop(t, b->r.id);

	for (size_t i = 0; i < sizeof(metas) / sizeof(metas[0]) && e == OK; i++)
		e = meta_put(t, metas[i], b->r.id, 0);
	if (e == OK)
		e = name_del(t, b);
	if (e == OK)
		e = core_tx_del(&t->to, INDEX_DB_MAILBOX, index_key_u32(b->r.id));
	if (t->g->seen_mailbox == b->r.id)
		t->g->seen_mailbox = 0;
	numset_add(t->changed, b->r.id);
	t->tree = 1;
	return e;
}

static enum err
keywords_copy(struct guest_tx *t, uint32_t mailbox)
{
	struct index_key key = index_key_keyword(mailbox, 0);
	MDB_val k = index_key_val(&key), v, have;
	uint32_t id;
	unsigned bit;
	MDB_cursor *cur;
	enum err e;

	e = index_err_of_mdb(
		mdb_cursor_open(t->own->txn, t->own->core->env->dbi[INDEX_DB_KEYWORD], &cur),
		"keywords");
	if (e)
		return e;
	for (e = core_tx_next(cur, &k, &v, MDB_SET_RANGE); e == OK;
		e = core_tx_next(cur, &k, &v, MDB_NEXT)) {
		e = index_key_get_keyword(&k, &id, &bit);
		if (e || id != mailbox)
			break;
		e = core_tx_get(&t->to, INDEX_DB_KEYWORD, index_key_keyword(id, bit), &have);
		if (e == E_NOTFOUND ||
			(e == OK && (have.mv_size != v.mv_size ||
					    memcmp(have.mv_data, v.mv_data, v.mv_size) != 0)))
			e = core_tx_put(&t->to, INDEX_DB_KEYWORD, index_key_keyword(id, bit),
				v.mv_data, v.mv_size);
		if (e)
			break;
	}
	mdb_cursor_close(cur);
	return e == E_NOTFOUND ? OK : e;
}

/* All of it, under the stamp. */
static enum err
box_tell_anew(struct guest_tx *t, const struct core_box *own, struct core_box *b)
{
	struct index_key key = index_key_message(b->r.id, 0);
	MDB_val k = index_key_val(&key), v;
	struct numset seen = {0};
	MDB_cursor *cur;
	uint32_t id, uid;
	enum err e;

	if (!t->stamp) {
		t->wants_stamp = 1;
		return E_CANCELLED;
	}
	e = messages_drop(t, b->r.id);
	if (e == OK)
		e = guest_seen_read(t->own->core, own, t->g->name, &seen);
	if (t->g->seen_mailbox == b->r.id)
		t->g->seen_mailbox = 0;
	b->r.unseen = 0;
	b->r.vanished = 0;
	b->r.vanished_floor = b->r.highest_modseq = t->stamp;
	if (e == OK)
		e = index_err_of_mdb(mdb_cursor_open(t->own->txn,
					     t->own->core->env->dbi[INDEX_DB_MESSAGE], &cur),
			"messages");
	if (e) {
		numset_free(&seen);
		return e;
	}
	for (e = core_tx_next(cur, &k, &v, MDB_SET_RANGE); e == OK;
		e = core_tx_next(cur, &k, &v, MDB_NEXT)) {
		struct index_message_record r;

		e = index_key_get_message(&k, &id, &uid);
		if (e || id != b->r.id)
			break;
		e = index_message_decode(&v, &r);
		if (e)
			break;
		r.modseq = t->stamp;
		r.flags &= ~(unsigned)INDEX_SEEN;
		if (numset_contains(&seen, uid))
			r.flags |= INDEX_SEEN;
		e = guest_message_put(&t->to, b, uid, NULL, &r);
		if (e == OK)
			e = cache_copy(t, id, uid);
		if (e)
			break;
	}
	mdb_cursor_close(cur);
	numset_free(&seen);
	return e == E_NOTFOUND ? OK : e;
}

/* What changed behind the mod-sequence from. */
static enum err
box_follow(struct guest_tx *t, struct core_box *b, uint64_t from)
{
	struct index_key key = index_key_change(b->r.id, from + 1, 0);
	MDB_val k = index_key_val(&key), v;
	MDB_cursor *cur;
	uint32_t id, uid;
	uint64_t modseq;
	enum err e;

	e = index_err_of_mdb(
		mdb_cursor_open(t->own->txn, t->own->core->env->dbi[INDEX_DB_CHANGE], &cur),
		"changes");
	if (e)
		return e;
	for (e = core_tx_next(cur, &k, &v, MDB_SET_RANGE); e == OK;
		e = core_tx_next(cur, &k, &v, MDB_NEXT)) {
		e = index_key_get_change(&k, &id, &modseq, &uid);
		if (e || id != b->r.id)
			break;
		if (v.mv_size != 1)
			e = E_CORRUPT;
		else if (*(const unsigned char *)v.mv_data == INDEX_CHANGE_CHANGED)
			e = message_follow(t, b, uid);
		else
			e = message_vanish(t, b, modseq, uid);
		if (e)
			break;
	}
	mdb_cursor_close(cur);
	return e == E_NOTFOUND ? OK : e;
}

/* Of an owner's mailbox as the guest's index is to have it, without its messages. */
static void
box_for_guest(const struct core_box *own, const struct core_box *old, struct core_box *b)
{
	*b = *own;
	/* Where it lies is nothing to the guest, who gets its files through the service. */
	core_box_set_name(b, str_of(own->name), STR(""));
	b->r.recent_from = b->r.uidnext;
	b->r.unparsed = 0;
	b->r.special_use = 0;
	b->r.uid_floor = 0;
	b->r.new_mtime_ns = b->r.cur_mtime_ns = 0;
	b->r.quota_ignore = 0;
	b->r.quota_more_bytes = b->r.quota_more_messages = 0;
	b->r.quota_max_bytes = b->r.quota_max_messages = 0;
	b->r.unseen = old ? old->r.unseen : 0;
	b->r.vanished = old ? old->r.vanished : 0;
	if (!old)
		return;
	b->r.highest_modseq = old->r.highest_modseq;
	if (b->r.vanished_floor < old->r.vanished_floor)
		b->r.vanished_floor = old->r.vanished_floor;
}

/* Who may not read it learns that it is there and no more. */
static void
box_hide_messages(struct core_box *b)
{
	b->r.messages = b->r.unseen = b->r.deleted = 0;
	b->r.uidnext = b->r.recent_from = 1;
	b->r.size_bytes = b->r.disk_bytes = 0;
	b->r.highest_modseq = b->r.vanished_floor = 1;
}

static int
same_mailbox(const struct core_box *a, const struct core_box *b)
{
	return a->r.uidvalidity == b->r.uidvalidity &&
	       memcmp(a->r.object_id, b->r.object_id, sizeof(a->r.object_id)) == 0;
}

static int
same_record(const struct core_box *a, const struct core_box *b)
{
	struct buf x = {0}, y = {0};
	int same;

	index_mailbox_encode(&a->r, &x);
	index_mailbox_encode(&b->r, &y);
	same = str_equal(buf_str(&x), buf_str(&y));
	buf_free(&x);
	buf_free(&y);
	return same;
}

/* The numbers beside the record. *changed: rights or annotations are others. */
static enum err
metas_copy(struct guest_tx *t, uint32_t mailbox, unsigned rights, uint64_t followed, int *changed)
{
	static const enum index_meta same[] = {INDEX_META_ENTRIES, INDEX_META_KEYWORDS};
	uint64_t n, had;
	enum err e = OK;

	for (size_t i = 0; i < 2 && e == OK; i++) {
		e = meta_get(t->own, same[i], mailbox, &n);
		if (e == OK)
			e = meta_get(&t->to, same[i], mailbox, &had);
		if (e == OK && n != had) {
			*changed = 1;
			e = meta_put(t, same[i], mailbox, n);
		}
	}
	if (e == OK)
		e = meta_get(&t->to, INDEX_META_RIGHTS, mailbox, &had);
	if (e == OK && had != rights) {
		*changed = t->tree = 1;
		e = meta_put(t, INDEX_META_RIGHTS, mailbox, rights);
	}
	if (e == OK)
		e = meta_get(&t->to, INDEX_META_FOLLOWED, mailbox, &had);
	if (e == OK && had != followed)
		e = meta_put(t, INDEX_META_FOLLOWED, mailbox, followed);
	return e;
}

static enum err
box_messages(struct guest_tx *t, const struct core_box *own, const struct core_box *old,
	struct core_box *b, unsigned rights)
{
	uint64_t followed = 0, had = 0;
	enum err e = OK;

	if (old)
		e = meta_get(&t->to, INDEX_META_FOLLOWED, own->r.id, &followed);
	if (e == OK && old)
		e = meta_get(&t->to, INDEX_META_RIGHTS, own->r.id, &had);
	if (e)
		return e;
	if (!(rights & RIGHT_READ)) {
		if (had & RIGHT_READ)
			e = messages_drop(t, own->r.id);
		box_hide_messages(b);
		return e;
	}
	if (!old || !(had & RIGHT_READ) || followed < own->r.vanished_floor ||
		followed > own->r.highest_modseq)
		e = box_tell_anew(t, own, b);
	else if (followed < own->r.highest_modseq)
		e = box_follow(t, b, followed);
	return e ? e : keywords_copy(t, own->r.id);
}

static enum err
box_put(struct guest_tx *t, const struct core_box *own, const struct core_box *old, unsigned rights)
{
	int changed = 0;
	struct core_box b;
	enum err e;

	box_for_guest(own, old, &b);
	e = box_messages(t, own, old, &b, rights);
	if (e == OK)
		e = metas_copy(t, own->r.id, rights, own->r.highest_modseq, &changed);
	if (e == OK && old && strcmp(old->name, b.name) != 0)
		e = name_del(t, old);
	if (e == OK && (!old || strcmp(old->name, b.name) != 0)) {
		t->tree = 1;
		e = name_put(t, &b);
	}
	if (e == OK && (!old || !same_record(old, &b))) {
		changed = 1;
		e = core_box_put(&t->to, &b);
	}
	if (changed)
		numset_add(t->changed, own->r.id);
	return e;
}

static enum err
box_sync(struct guest_tx *t, uint32_t mailbox)
{
	struct core_box own, old;
	const struct rights_who who = core_guest_who(t->g);
	unsigned rights = 0;
	int has_own, has_old;
	enum err e = core_box_get(t->own, mailbox, &own);

	has_own = e == OK;
	if (has_own)
		e = guest_rights_read(t->own->core, own.dir, &who, &rights);
	if (e && e != E_NOTFOUND)
		return e;
	e = core_box_get(&t->to, mailbox, &old);
	if (e && e != E_NOTFOUND)
		return e;
	has_old = e == OK;
	e = OK;
	if (has_old && (!has_own || !rights || !same_mailbox(&own, &old))) {
		e = box_drop(t, &old);
		has_old = 0;
	}
	if (e == OK && has_own && rights)
		e = box_put(t, &own, has_old ? &old : NULL, rights);
	return e;
}

/* ---- all ---- */

static enum err
ids_add(struct core_tx *tx, struct numset *ids)
{
	MDB_cursor *cur;
	MDB_val k, v;
	uint32_t id;
	enum err e;

	e = index_err_of_mdb(
		mdb_cursor_open(tx->txn, tx->core->env->dbi[INDEX_DB_MAILBOX], &cur), "list");
	if (e)
		return e;
	for (e = core_tx_next(cur, &k, &v, MDB_FIRST); e == OK;
		e = core_tx_next(cur, &k, &v, MDB_NEXT)) {
		e = index_key_get_u32(&k, &id);
		if (e)
			break;
		numset_add(ids, id);
	}
	mdb_cursor_close(cur);
	return e == E_NOTFOUND ? OK : e;
}

struct sync {
	struct guest_tx t;
	uint32_t mailbox;
};

static enum err
sync_inside(struct sync *s)
{
	struct numset ids = {0};
	enum err e = OK;

	if (s->mailbox)
		return box_sync(&s->t, s->mailbox);
	e = ids_add(&s->t.to, &ids);
	if (e == OK)
		e = ids_add(s->t.own, &ids);
	for (size_t i = 0; i < ids.count && e == OK; i++)
		for (uint64_t id = ids.ranges[i].first; id <= ids.ranges[i].last && e == OK; id++)
			e = box_sync(&s->t, (uint32_t)id);
	numset_free(&ids);
	return e;
}

static enum err
sync_step(struct core_tx *own, void *arg)
{
	struct sync *s = arg;
	struct index_core *shadow = &s->t.g->shadow;
	enum err e;

	s->t.own = own;
	s->t.to = (struct core_tx){.core = shadow};
	core_damage_watch(shadow->damage_path);
	e = index_env_begin(shadow->env, 1, &s->t.to.txn);
	if (e == OK) {
		e = sync_inside(s);
		if (e)
			mdb_txn_abort(s->t.to.txn);
		else
			e = index_err_of_mdb(mdb_txn_commit(s->t.to.txn), "commit");
	}
	core_damage_watch(own->core->damage_path);
	buf_free(&s->t.to.buf);
	return e;
}

static enum err
stamp_step(struct core_tx *tx, void *arg)
{
	*(uint64_t *)arg = core_tx_modseq(tx);
	return OK;
}

enum err
core_guest_sync(struct index_core *c, struct core_guest *g, uint32_t mailbox,
	struct numset *changed, int *tree)
{
	struct numset news = {0};
	struct sync s = {.t = {.g = g, .changed = &news}, .mailbox = mailbox};
	enum err e;

	for (;;) {
		numset_free(&news);
		s.t.tree = 0;
		e = core_read(c, sync_step, &s);
		if (e == E_CANCELLED && s.t.wants_stamp && !s.t.stamp)
			e = core_run(c, stamp_step, &s.t.stamp);
		else if (e == E_STATE)
			e = index_env_grow(g->shadow.env);
		else
			break;
		if (e)
			break;
	}
	if (e == OK) {
		for (size_t i = 0; i < news.count; i++)
			numset_add_range(changed, news.ranges[i].first, news.ranges[i].last);
		*tree |= s.t.tree;
	}
	numset_free(&news);
	return e;
}
