/* SPDX-License-Identifier: MIT */
#include "index/client_shared.h"

#include <stdlib.h>

#include "lib/mem.h"

/* What changed since a moment, from the change log: for clients that come back (RFC 7162). */

struct uid_list {
	uint32_t *v;
	size_t n, cap;
};

static void
list_add(struct uid_list *l, uint32_t uid)
{
	if (l->n == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 64;
		l->v = mem_realloc(l->v, l->cap, sizeof(uint32_t));
	}
	l->v[l->n++] = uid;
}

static int
uid_compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* They come in the order of their mod-sequences; a set is quick to build in rising order only. */
static void
list_to_set(struct uid_list *l, struct numset *out)
{
	numset_free(out);
	if (l->n > 1)
		qsort(l->v, l->n, sizeof(uint32_t), uid_compare);
	for (size_t i = 0; i < l->n; i++)
		if (i == 0 || l->v[i] != l->v[i - 1])
			numset_add(out, l->v[i]);
	free(l->v);
}

static enum err
log_walk(struct index_user *u, uint32_t mailbox, uint64_t since, MDB_cursor *c,
	enum index_change kind, struct uid_list *out)
{
	struct index_key key = index_key_change(mailbox, since + 1, 0);
	MDB_val k = index_key_val(&key), val;
	int rc = mdb_cursor_get(c, &k, &val, MDB_SET_RANGE);

	for (; rc == 0; rc = mdb_cursor_get(c, &k, &val, MDB_NEXT)) {
		uint32_t id, uid;
		uint64_t modseq;

		if (index_key_get_change(&k, &id, &modseq, &uid) || val.mv_size != 1)
			return client_corrupt(u, "change");
		if (id != mailbox)
			return OK;
		if (*(const unsigned char *)val.mv_data == kind)
			list_add(out, uid);
	}
	return rc == MDB_NOTFOUND ? OK : index_err_of_mdb(rc, "change");
}

static enum err
log_read(struct index_user *u, uint32_t mailbox, uint64_t since, enum index_change kind,
	struct numset *out)
{
	struct uid_list list = {0};
	MDB_cursor *c;
	enum err e;
	int rc = mdb_cursor_open(u->txn, u->env->dbi[INDEX_DB_CHANGE], &c);

	if (rc != 0)
		return index_err_of_mdb(rc, "since");
	e = log_walk(u, mailbox, since, c, kind, &list);
	mdb_cursor_close(c);
	list_to_set(&list, out);
	return e;
}

enum err
index_changed_since(struct index_user *u, uint32_t mailbox, uint64_t since, struct numset *out)
{
	enum err e;

	u = client_route(u, &mailbox);
	e = index_read_begin(u);
	numset_free(out);
	if (e)
		return e;
	e = client_mailbox_check(u, mailbox);
	if (e == OK)
		e = log_read(u, mailbox, since, INDEX_CHANGE_CHANGED, out);
	index_read_end(u);
	return e;
}

enum err
index_vanished_since(
	struct index_user *u, uint32_t mailbox, uint64_t since, struct numset *out, int *complete)
{
	struct index_mailbox_record box;
	enum err e;

	u = client_route(u, &mailbox);
	e = index_read_begin(u);
	*complete = 0;
	numset_free(out);
	if (e)
		return e;
	e = client_mailbox_record(u, mailbox, &box);
	if (e == OK && since >= box.vanished_floor && since <= box.highest_modseq) {
		*complete = 1;
		e = log_read(u, mailbox, since, INDEX_CHANGE_VANISHED, out);
	}
	index_read_end(u);
	return e;
}
