/* SPDX-License-Identifier: MIT */
#include "index/core_private.h"

#include <string.h>

#include "lib/mem.h"

/*
 * Many new messages of one mailbox, in the order of their UIDs. Where they lie behind all that the
 * databases have, as those of a folder that was never read mostly do, pages are filled one after
 * the other, without looking for the place, and whole.
 */

/* So many messages take about so many bytes of pages. */
enum { AHEAD_MESSAGES = 512, AHEAD_BYTES = 96 * 1024 };

static enum err
open_cursor(struct core_tx *tx, enum index_db db, struct index_key first, struct core_bulk_db *out)
{
	MDB_val k, v, mine = index_key_val(&first);
	MDB_dbi dbi = tx->core->env->dbi[db];
	enum err e = index_err_of_mdb(mdb_cursor_open(tx->txn, dbi, &out->cur), "bulk");

	if (e)
		return e;
	e = core_tx_next(out->cur, &k, &v, MDB_LAST);
	if (e == E_NOTFOUND || (e == OK && mdb_cmp(tx->txn, dbi, &k, &mine) < 0))
		out->put_flags = MDB_APPEND;
	return e == E_NOTFOUND ? OK : e;
}

enum err
core_bulk_begin(
	struct core_tx *tx, const struct core_box *b, uint32_t first_uid, struct core_bulk *out)
{
	uint64_t modseq = core_tx_modseq(tx);
	enum err e;

	memset(out, 0, sizeof(*out));
	e = open_cursor(tx, INDEX_DB_MESSAGE, index_key_message(b->r.id, first_uid), &out->message);
	if (e == OK)
		e = open_cursor(tx, INDEX_DB_CHANGE, index_key_change(b->r.id, modseq, first_uid),
			&out->change);
	if (e == OK)
		e = open_cursor(
			tx, INDEX_DB_PENDING, index_key_message(b->r.id, first_uid), &out->pending);
	return e;
}

static enum err
put(const struct core_bulk_db *db, struct index_key key, const void *p, size_t len)
{
	MDB_val k = index_key_val(&key), v = {.mv_size = len, .mv_data = (void *)p};

	return index_err_of_mdb(mdb_cursor_put(db->cur, &k, &v, db->put_flags), "bulk put");
}

enum err
core_bulk_add(struct core_tx *tx, struct core_bulk *bulk, struct core_box *b, uint32_t uid,
	struct index_message_record *r, int stale)
{
	static const unsigned char changed = INDEX_CHANGE_CHANGED;
	enum err e;

	/* LMDB takes each page of a transaction from the heap. */
	if (bulk->count++ % AHEAD_MESSAGES == 0)
		mem_ahead(AHEAD_BYTES);
	r->modseq = core_tx_modseq(tx);
	buf_reset(&tx->buf);
	index_message_encode(r, &tx->buf);
	e = put(&bulk->message, index_key_message(b->r.id, uid), tx->buf.p, tx->buf.len);
	if (e == OK)
		e = put(&bulk->change, index_key_change(b->r.id, r->modseq, uid), &changed, 1);
	if (e == OK && stale)
		e = put(&bulk->pending, index_key_message(b->r.id, uid), "", 0);
	if (e)
		return e;
	core_message_account(tx, b, r, 1);
	b->r.highest_modseq = r->modseq;
	core_tx_note(tx, b->r.id);
	return OK;
}

void
core_bulk_end(struct core_bulk *bulk)
{
	mdb_cursor_close(bulk->message.cur);
	mdb_cursor_close(bulk->change.cur);
	mdb_cursor_close(bulk->pending.cur);
}
