/* SPDX-License-Identifier: MIT */
#include "index/core_batch.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

static const char state_key[] = "state";

static enum err
state_put(struct core_tx *tx)
{
	MDB_val k = {.mv_size = sizeof(state_key) - 1, .mv_data = (void *)state_key}, v;
	int rc;

	buf_reset(&tx->buf);
	index_state_encode(&tx->state, &tx->buf);
	v = (MDB_val){.mv_size = tx->buf.len, .mv_data = tx->buf.p};
	rc = mdb_put(tx->txn, tx->core->env->dbi[INDEX_DB_META], &k, &v, 0);
	return index_err_of_mdb(rc, "put state");
}

/*
 * The mark must be gone from the disk before the first page changes: with it an index is believed
 * after the system went down.
 */
static enum err
unmark_clean(struct index_core *c)
{
	char *path;
	enum err e;

	if (!c->clean_marked)
		return OK;
	path = mem_printf("%s/clean", c->index_dir);
	if (unlink(path) != 0)
		log_event(LOGL_DEBUG, "index.clean gone", "dir", c->index_dir, NULL);
	free(path);
	e = c->fsync ? io_fsync_dir(c->index_dir) : OK;
	if (e == OK)
		c->clean_marked = 0;
	return e;
}

static enum err
run_once(struct core_tx *tx, core_step *step, void *arg)
{
	enum err e = index_env_begin(tx->core->env, 1, &tx->txn);

	if (e)
		return e;
	tx->state = tx->core->state;
	tx->modseq = 0;
	tx->changed_count = 0;
	e = step(tx, arg);
	if (e == OK && tx->modseq)
		e = core_modseq_reserve(tx->core, tx->modseq);
	if (e == OK)
		e = state_put(tx);
	if (e) {
		mdb_txn_abort(tx->txn);
		return e;
	}
	return index_err_of_mdb(mdb_txn_commit(tx->txn), "commit");
}

enum err
core_run(struct index_core *c, core_step *step, void *arg)
{
	struct core_tx tx = {.core = c};
	enum err e = unmark_clean(c);

	if (e == OK)
		e = core_batch_settle(c);
	core_damage_watch(c->damage_path);
	while (e == OK) {
		e = run_once(&tx, step, arg);
		if (e != E_STATE)
			break;
		e = index_env_grow(c->env);
	}
	core_damage_watch(NULL);
	if (e == OK) {
		c->quota_bytes_delta +=
			(int64_t)(core_quota_bytes(&tx.state) - core_quota_bytes(&c->state));
		c->quota_messages_delta +=
			(int64_t)(core_quota_messages(&tx.state) - core_quota_messages(&c->state));
		c->state = tx.state;
		for (size_t i = 0; c->on_change && i < tx.changed_count; i++)
			c->on_change(tx.changed[i].mailbox, tx.changed[i].modseq, c->arg);
	}
	free(tx.changed);
	buf_free(&tx.buf);
	return e;
}

enum err
core_read(struct index_core *c, core_step *step, void *arg)
{
	struct core_tx tx = {.core = c, .state = c->state};
	enum err e;

	core_damage_watch(c->damage_path);
	e = index_env_begin(c->env, 0, &tx.txn);
	if (e == OK) {
		e = step(&tx, arg);
		mdb_txn_abort(tx.txn);
	}
	core_damage_watch(NULL);
	buf_free(&tx.buf);
	return e;
}

uint64_t
core_tx_modseq(struct core_tx *tx)
{
	if (tx->modseq == 0)
		tx->modseq = ++tx->state.modseq;
	return tx->modseq;
}

void
core_tx_note(struct core_tx *tx, uint32_t mailbox)
{
	for (size_t i = 0; i < tx->changed_count; i++)
		if (tx->changed[i].mailbox == mailbox)
			return;
	tx->changed = mem_realloc(tx->changed, tx->changed_count + 1, sizeof(*tx->changed));
	tx->changed[tx->changed_count++] =
		(struct core_changed){.mailbox = mailbox, .modseq = core_tx_modseq(tx)};
}

enum err
core_tx_get(struct core_tx *tx, enum index_db db, struct index_key k, MDB_val *v)
{
	MDB_val key = index_key_val(&k);

	return index_err_of_mdb(mdb_get(tx->txn, tx->core->env->dbi[db], &key, v), "get");
}

enum err
core_tx_put(struct core_tx *tx, enum index_db db, struct index_key k, const void *p, size_t len)
{
	MDB_val key = index_key_val(&k), v = {.mv_size = len, .mv_data = (void *)p};

	return index_err_of_mdb(mdb_put(tx->txn, tx->core->env->dbi[db], &key, &v, 0), "put");
}

enum err
core_tx_del(struct core_tx *tx, enum index_db db, struct index_key k)
{
	MDB_val key = index_key_val(&k);
	int rc = mdb_del(tx->txn, tx->core->env->dbi[db], &key, NULL);

	return rc == MDB_NOTFOUND ? OK : index_err_of_mdb(rc, "del");
}

enum err
core_tx_next(MDB_cursor *cur, MDB_val *k, MDB_val *v, MDB_cursor_op op)
{
	return index_err_of_mdb(mdb_cursor_get(cur, k, v, op), "cursor");
}

enum err
core_tx_del_mailbox(struct core_tx *tx, enum index_db db, uint32_t mailbox)
{
	struct index_key key = index_key_u32(mailbox);
	MDB_val k = index_key_val(&key), v;
	MDB_cursor *cur;
	enum err e;

	e = index_err_of_mdb(mdb_cursor_open(tx->txn, tx->core->env->dbi[db], &cur), "cursor");
	if (e)
		return e;
	for (e = core_tx_next(cur, &k, &v, MDB_SET_RANGE); e == OK;
		e = core_tx_next(cur, &k, &v, MDB_NEXT)) {
		if (k.mv_size < 4 || memcmp(k.mv_data, key.p, 4) != 0)
			break;
		e = index_err_of_mdb(mdb_cursor_del(cur, 0), "del");
		if (e)
			break;
	}
	mdb_cursor_close(cur);
	return e == E_NOTFOUND ? OK : e;
}

/* ---- mailboxes ---- */

static enum err
copy_text(struct str s, char *out, size_t size)
{
	if (s.len >= size || memchr(s.p, '\0', s.len))
		return E_CORRUPT;
	memcpy(out, s.p, s.len);
	out[s.len] = '\0';
	return OK;
}

static enum err
box_copy(const MDB_val *v, struct core_box *out)
{
	enum err e = index_mailbox_decode(v, &out->r);

	if (e == OK)
		e = copy_text(out->r.name, out->name, sizeof(out->name));
	if (e == OK)
		e = copy_text(out->r.dir, out->dir, sizeof(out->dir));
	if (e)
		return e;
	out->r.name.p = out->name;
	out->r.dir.p = out->dir;
	return OK;
}

enum err
core_box_get(struct core_tx *tx, uint32_t mailbox, struct core_box *out)
{
	MDB_val v;
	enum err e = core_tx_get(tx, INDEX_DB_MAILBOX, index_key_u32(mailbox), &v);

	return e ? e : box_copy(&v, out);
}

void
core_box_set_name(struct core_box *b, struct str name, struct str dir)
{
	ROOST_ASSERT(name.len < sizeof(b->name) && dir.len < sizeof(b->dir));
	memmove(b->name, name.p, name.len);
	b->name[name.len] = '\0';
	memmove(b->dir, dir.p, dir.len);
	b->dir[dir.len] = '\0';
	b->r.name = str_make(b->name, name.len);
	b->r.dir = str_make(b->dir, dir.len);
}

enum err
core_box_put(struct core_tx *tx, const struct core_box *b)
{
	struct index_mailbox_record r = b->r;

	/* A struct copy of a box carries pointers into the other one. */
	r.name.p = b->name;
	r.dir.p = b->dir;
	buf_reset(&tx->buf);
	index_mailbox_encode(&r, &tx->buf);
	return core_tx_put(tx, INDEX_DB_MAILBOX, index_key_u32(r.id), tx->buf.p, tx->buf.len);
}

enum err
core_box_find(struct core_tx *tx, struct str name, struct core_box *out)
{
	MDB_val k = {.mv_size = name.len, .mv_data = (void *)name.p}, v;
	MDB_dbi dbi = tx->core->env->dbi[INDEX_DB_MAILBOX_NAME];
	uint32_t id;
	enum err e;

	if (name.len == 0)
		return E_NOTFOUND;
	e = index_err_of_mdb(mdb_get(tx->txn, dbi, &k, &v), "get name");
	if (e == OK)
		e = index_key_get_u32(&v, &id);
	if (e)
		return e;
	e = core_box_get(tx, id, out);
	return e == E_NOTFOUND ? E_CORRUPT : e;
}

enum err
core_box_list(struct core_tx *tx, struct core_box **out, size_t *count)
{
	MDB_cursor *cur;
	MDB_val k, v;
	uint32_t id;
	size_t cap = 0;
	enum err e;

	*out = NULL;
	*count = 0;
	e = index_err_of_mdb(
		mdb_cursor_open(tx->txn, tx->core->env->dbi[INDEX_DB_MAILBOX_NAME], &cur), "list");
	if (e)
		return e;
	for (e = core_tx_next(cur, &k, &v, MDB_FIRST); e == OK;
		e = core_tx_next(cur, &k, &v, MDB_NEXT)) {
		if (*count == cap) {
			cap = cap ? cap * 2 : 16;
			*out = mem_realloc(*out, cap, sizeof(**out));
		}
		e = index_key_get_u32(&v, &id);
		if (e == OK)
			e = core_box_get(tx, id, &(*out)[*count]);
		if (e) {
			e = E_CORRUPT;
			break;
		}
		(*count)++;
	}
	mdb_cursor_close(cur);
	/* Growing moved them. */
	for (size_t i = 0; i < *count; i++) {
		(*out)[i].r.name.p = (*out)[i].name;
		(*out)[i].r.dir.p = (*out)[i].dir;
	}
	return e == E_NOTFOUND ? OK : e;
}
