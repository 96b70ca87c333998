/* SPDX-License-Identifier: MIT */
#include "index/client_shared.h"

#include <stdlib.h>

#include "lib/mem.h"
#include "mail/cache.h"

/* What a search, a sort or a thread command goes through: cache records in the order of UIDs. */

/*
 * The cursor runs ahead of the reader by some records, whose memory is asked for before it is
 * needed: in a large mailbox each record is a wait for main memory, and waits for several can go on
 * at once. A reader that skips about is not run ahead of.
 */
enum {
	AHEAD = 8,
	AHEAD_LINE = 64, /* bytes that come from memory together */
	AHEAD_BYTES = 1024, /* of a record that are asked for */
	STEADY = 4, /* records in a row, then the reader takes them all */
};

struct ahead {
	uint32_t uid;
	MDB_val value;
};

struct index_cache_walk {
	struct index_user *u;
	uint32_t mailbox;
	MDB_cursor *cursor;
	struct ahead ring[AHEAD]; /* ring[at % AHEAD] is the next, n of them are there */
	unsigned at, n;
	unsigned in_row; /* records that were asked for one after the other */
	int started, ended; /* the cursor stands somewhere; behind the mailbox's last record */
};

enum err
index_cache_walk_begin(struct index_user *u, uint32_t mailbox, struct index_cache_walk **out)
{
	struct index_cache_walk *w;
	MDB_cursor *cursor;
	enum err e;
	int rc;

	*out = NULL;
	u = client_route(u, &mailbox);
	e = client_mailbox_check(u, mailbox);
	if (e == OK && u->depth == 0)
		e = E_TEMPFAIL;
	if (e)
		return e;
	rc = mdb_cursor_open(u->txn, u->env->dbi[INDEX_DB_CACHE], &cursor);
	if (rc != 0)
		return index_err_of_mdb(rc, "cache");
	w = MEM_NEW(struct index_cache_walk);
	w->u = u;
	w->mailbox = mailbox;
	w->cursor = cursor;
	*out = w;
	return OK;
}

/* Takes what the cursor found. */
static enum err
take(struct index_cache_walk *w, int rc, const MDB_val *key, const MDB_val *value)
{
	struct ahead *a = &w->ring[(w->at + w->n) % AHEAD];
	uint32_t mailbox;

	w->ended = 1;
	if (rc == MDB_NOTFOUND)
		return OK;
	if (rc != 0)
		return index_err_of_mdb(rc, "cache");
	if (index_key_get_message(key, &mailbox, &a->uid))
		return client_corrupt(w->u, "cache key");
	if (mailbox != w->mailbox)
		return OK;
	w->ended = 0;
	a->value = *value;
	w->n++;
	return OK;
}

/* The next record, and the order to bring it. */
static enum err
run_ahead(struct index_cache_walk *w)
{
	const struct ahead *a = &w->ring[(w->at + w->n) % AHEAD];
	unsigned before = w->n;
	MDB_val k, v;
	enum err e = take(w, mdb_cursor_get(w->cursor, &k, &v, MDB_NEXT), &k, &v);

	if (e || w->n == before)
		return e;
	for (size_t i = 0; i < a->value.mv_size && i < AHEAD_BYTES; i += AHEAD_LINE)
		__builtin_prefetch((const char *)a->value.mv_data + i);
	return OK;
}

/* Goes down the tree to the first record from uid on. */
static enum err
jump(struct index_cache_walk *w, uint32_t uid)
{
	struct index_key key = index_key_message(w->mailbox, uid);
	MDB_val k = index_key_val(&key), v;

	w->n = 0;
	w->in_row = 0;
	w->started = 1;
	return take(w, mdb_cursor_get(w->cursor, &k, &v, MDB_SET_RANGE), &k, &v);
}

static void
drop(struct index_cache_walk *w)
{
	w->at++;
	w->n--;
}

enum err
index_cache_walk_get(struct index_cache_walk *w, uint32_t uid, struct str *out)
{
	const struct ahead *a;
	enum err e = OK;

	*out = (struct str){0};
	while (w->n && w->ring[w->at % AHEAD].uid < uid)
		drop(w);
	/* Mostly it is the next one: that costs no way down the tree. */
	if (!w->n && w->started && !w->ended)
		e = run_ahead(w);
	if (!e && (!w->started || (w->n && w->ring[w->at % AHEAD].uid < uid)))
		e = jump(w, uid);
	a = &w->ring[w->at % AHEAD];
	if (e || !w->n || a->uid != uid)
		return e ? e : E_NOTFOUND;
	*out = str_make(a->value.mv_data, a->value.mv_size);
	for (w->in_row++; w->in_row >= STEADY && w->n < AHEAD && !w->ended && !e;)
		e = run_ahead(w);
	return e;
}

void
index_cache_walk_end(struct index_cache_walk **w)
{
	if (!*w)
		return;
	mdb_cursor_close((*w)->cursor);
	MEM_FREE(*w);
}
