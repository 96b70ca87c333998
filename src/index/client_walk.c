/* SPDX-License-Identifier: MIT */
#include "index/client_private.h"

#include <stdlib.h>

#include "lib/mem.h"
#include "mail/cache.h"

/* What a search, a sort or a thread command goes through: cache records in the order of UIDs. */

#define BEHIND_ALL UINT64_MAX

struct index_cache_walk {
	struct index_user *u;
	uint32_t mailbox;
	MDB_cursor *cursor;
	uint64_t at; /* UID that the cursor stands at, 0: nowhere, BEHIND_ALL */
	MDB_val value;
};

enum err
index_cache_walk_begin(struct index_user *u, uint32_t mailbox, struct index_cache_walk **out)
{
	struct index_cache_walk *w;
	MDB_cursor *cursor;
	enum err e = client_mailbox_check(u, mailbox);
	int rc;

	*out = NULL;
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
step(struct index_cache_walk *w, int rc, const MDB_val *key)
{
	uint32_t mailbox, uid;

	w->at = BEHIND_ALL;
	if (rc == MDB_NOTFOUND)
		return OK;
	if (rc != 0)
		return index_err_of_mdb(rc, "cache");
	if (index_key_get_message(key, &mailbox, &uid))
		return client_corrupt(w->u, "cache key");
	if (mailbox == w->mailbox)
		w->at = uid;
	return OK;
}

enum err
index_cache_walk_get(struct index_cache_walk *w, uint32_t uid, struct str *out)
{
	struct index_key key;
	MDB_val k;
	enum err e = OK;

	*out = (struct str){0};
	/* Mostly it is the next one: that costs no way down the tree. */
	if (w->at && w->at < uid)
		e = step(w, mdb_cursor_get(w->cursor, &k, &w->value, MDB_NEXT), &k);
	if (!e && w->at != uid && (!w->at || w->at < uid)) {
		key = index_key_message(w->mailbox, uid);
		k = index_key_val(&key);
		e = step(w, mdb_cursor_get(w->cursor, &k, &w->value, MDB_SET_RANGE), &k);
	}
	if (e)
		return e;
	if (w->at != uid)
		return E_NOTFOUND;
	*out = str_make(w->value.mv_data, w->value.mv_size);
	return OK;
}

void
index_cache_walk_end(struct index_cache_walk **w)
{
	if (!*w)
		return;
	mdb_cursor_close((*w)->cursor);
	MEM_FREE(*w);
}
