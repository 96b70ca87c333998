/* SPDX-License-Identifier: MIT */
#include "index/core_private.h"

#include <string.h>

#include "lib/log.h"

enum err
core_message_copy(const MDB_val *v, struct core_message *out)
{
	enum err e = index_message_decode(v, &out->r);

	if (e)
		return e;
	memcpy(out->name, out->r.name.p, out->r.name.len);
	out->name[out->r.name.len] = '\0';
	out->r.name.p = out->name;
	return OK;
}

enum err
core_message_get(struct core_tx *tx, uint32_t mailbox, uint32_t uid, struct core_message *out)
{
	MDB_val v;
	enum err e = core_tx_get(tx, INDEX_DB_MESSAGE, index_key_message(mailbox, uid), &v);

	return e ? e : core_message_copy(&v, out);
}

void
core_message_set_name(struct core_message *m, struct str name, size_t base_len)
{
	ROOST_ASSERT(name.len < sizeof(m->name) && base_len > 0 && base_len <= name.len);
	memmove(m->name, name.p, name.len);
	m->name[name.len] = '\0';
	m->r.name = str_make(m->name, name.len);
	m->r.base_len = base_len;
}

static enum err
message_put(struct core_tx *tx, uint32_t mailbox, uint32_t uid, const struct core_message *m)
{
	struct index_message_record r = m->r;

	r.name.p = m->name;
	buf_reset(&tx->buf);
	index_message_encode(&r, &tx->buf);
	return core_tx_put(
		tx, INDEX_DB_MESSAGE, index_key_message(mailbox, uid), tx->buf.p, tx->buf.len);
}

static enum err
change_put(struct core_tx *tx, struct core_box *b, uint64_t modseq, uint32_t uid,
	enum index_change what)
{
	unsigned char value = (unsigned char)what;

	b->r.highest_modseq = modseq;
	core_tx_note(tx, b->r.id);
	return core_tx_put(tx, INDEX_DB_CHANGE, index_key_change(b->r.id, modseq, uid), &value, 1);
}

/* What a message weighs in its mailbox's counts. */
/* b->r.disk_bytes of an ignored mailbox are all in state.ignored_bytes. */
void
core_message_account(
	struct core_tx *tx, struct core_box *b, const struct index_message_record *m, int sign)
{
	uint64_t size = m->size == INDEX_SIZE_UNKNOWN ? m->disk_size : m->size;
	uint64_t unparsed = index_message_is_unparsed(m) ? 1 : 0;

	if (sign > 0) {
		b->r.messages++;
		b->r.unseen += !(m->flags & INDEX_SEEN);
		b->r.deleted += (m->flags & INDEX_DELETED) != 0;
		b->r.size_bytes += size;
		b->r.disk_bytes += m->disk_size;
		b->r.unparsed += (uint32_t)unparsed;
		tx->state.unparsed += unparsed;
		tx->state.messages++;
		tx->state.bytes += m->disk_size;
		tx->state.ignored_messages += b->r.quota_ignore != 0;
		tx->state.ignored_bytes += b->r.quota_ignore ? m->disk_size : 0;
	} else {
		b->r.messages--;
		b->r.unseen -= !(m->flags & INDEX_SEEN);
		b->r.deleted -= (m->flags & INDEX_DELETED) != 0;
		b->r.size_bytes -= size;
		b->r.disk_bytes -= m->disk_size;
		b->r.unparsed -= (uint32_t)unparsed;
		tx->state.unparsed -= unparsed;
		tx->state.messages--;
		tx->state.bytes -= m->disk_size;
		tx->state.ignored_messages -= b->r.quota_ignore != 0;
		tx->state.ignored_bytes -= b->r.quota_ignore ? m->disk_size : 0;
	}
}

enum err
core_message_add(struct core_tx *tx, struct core_box *b, uint32_t uid, struct core_message *m)
{
	enum err e;

	m->r.modseq = core_tx_modseq(tx);
	e = message_put(tx, b->r.id, uid, m);
	if (e == OK)
		e = change_put(tx, b, m->r.modseq, uid, INDEX_CHANGE_CHANGED);
	if (e == OK && core_message_is_stale(m, uid))
		e = core_pending_put(tx, b->r.id, uid);
	if (e == OK)
		core_message_account(tx, b, &m->r, 1);
	return e;
}

enum err
core_message_change(struct core_tx *tx, struct core_box *b, uint32_t uid,
	const struct core_message *old, struct core_message *m, int bump)
{
	enum err e = OK;

	m->r.modseq = old->r.modseq;
	if (bump) {
		m->r.modseq = core_tx_modseq(tx);
		if (m->r.modseq != old->r.modseq)
			e = core_tx_del(
				tx, INDEX_DB_CHANGE, index_key_change(b->r.id, old->r.modseq, uid));
		if (e == OK)
			e = change_put(tx, b, m->r.modseq, uid, INDEX_CHANGE_CHANGED);
	}
	if (e == OK)
		e = message_put(tx, b->r.id, uid, m);
	if (e == OK && core_message_is_stale(m, uid))
		e = core_pending_put(tx, b->r.id, uid);
	if (e == OK) {
		core_message_account(tx, b, &old->r, -1);
		core_message_account(tx, b, &m->r, 1);
	}
	return e;
}

/* Drops the older half of the vanished entries. */
static enum err
prune_vanished(struct core_tx *tx, struct core_box *b)
{
	struct index_key key = index_key_change(b->r.id, 0, 0);
	MDB_val k = index_key_val(&key), v;
	uint32_t mailbox, uid, drop = b->r.vanished / 2;
	uint64_t modseq;
	MDB_cursor *cur;
	enum err e;

	e = index_err_of_mdb(
		mdb_cursor_open(tx->txn, tx->core->env->dbi[INDEX_DB_CHANGE], &cur), "prune");
	if (e)
		return e;
	for (e = core_tx_next(cur, &k, &v, MDB_SET_RANGE); e == OK && drop > 0;
		e = core_tx_next(cur, &k, &v, MDB_NEXT)) {
		e = index_key_get_change(&k, &mailbox, &modseq, &uid);
		if (e || mailbox != b->r.id)
			break;
		if (v.mv_size != 1 || *(unsigned char *)v.mv_data != INDEX_CHANGE_VANISHED)
			continue;
		e = index_err_of_mdb(mdb_cursor_del(cur, 0), "prune");
		if (e)
			break;
		b->r.vanished_floor = modseq;
		b->r.vanished--;
		drop--;
	}
	mdb_cursor_close(cur);
	return e == E_NOTFOUND ? OK : e;
}

enum err
core_message_remove(
	struct core_tx *tx, struct core_box *b, uint32_t uid, const struct core_message *old)
{
	struct index_key key = index_key_message(b->r.id, uid);
	enum err e;

	e = core_tx_del(tx, INDEX_DB_MESSAGE, key);
	if (e == OK)
		e = core_tx_del(tx, INDEX_DB_CACHE, key);
	if (e == OK)
		e = core_tx_del(tx, INDEX_DB_PENDING, key);
	if (e == OK)
		e = core_tx_del(tx, INDEX_DB_CHANGE, index_key_change(b->r.id, old->r.modseq, uid));
	if (e == OK)
		e = change_put(tx, b, core_tx_modseq(tx), uid, INDEX_CHANGE_VANISHED);
	if (e)
		return e;
	core_message_account(tx, b, &old->r, -1);
	core_memory(tx->core, b->r.id)->unsynced = 1;
	if (core_keywords_has_more(&old->r.keywords))
		e = core_pending_put(tx, b->r.id, 0);
	if (e == OK && ++b->r.vanished > CORE_VANISHED_MAX)
		e = prune_vanished(tx, b);
	return e;
}

enum err
core_pending_put(struct core_tx *tx, uint32_t mailbox, uint32_t uid)
{
	return core_tx_put(tx, INDEX_DB_PENDING, index_key_message(mailbox, uid), "", 0);
}

int
core_message_is_stale(const struct core_message *m, uint32_t uid)
{
	uint32_t letters = (uint32_t)(m->r.keywords.bits[0] & ((1u << CORE_LETTERS) - 1));
	struct maildir_name n;

	if (maildir_name_parse(str_make(m->name, m->r.name.len), &n))
		return 0;
	if (n.uid != uid)
		return 1;
	/* Fresh mail may stay in new/, where other programs expect it. */
	if (m->r.in_new)
		return m->r.flags != 0 || letters != 0;
	return n.flags != m->r.flags || n.letters != letters || !n.has_info;
}
