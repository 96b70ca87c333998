/* SPDX-License-Identifier: MIT */
#include "index/core_private.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/mem.h"

/*
 * What came in without being parsed (delivered into new/ by another program, an adopted tree, a
 * rebuild) is found by walking over the records of mailboxes that have such, from a place that is
 * remembered between the steps.
 */

uint64_t
index_core_unparsed(const struct index_core *c)
{
	return c->state.unparsed;
}

int
index_core_maildir_dup(const struct index_core *c)
{
	return fcntl(c->maildir_fd, F_DUPFD_CLOEXEC, 3);
}

uint64_t
index_core_unfold_max(const struct index_core *c)
{
	return c->unfold_max;
}

struct walk {
	struct index_core_place *at;
	struct index_core_unparsed *out;
	size_t count, max;
	uint64_t bytes, bytes_max;
	unsigned looked; /* records */
	int more;
};

static void
take(struct walk *w, const struct core_box *b, uint32_t uid, const struct index_message_record *m)
{
	struct index_core_unparsed *u = &w->out[w->count++];
	struct buf path = {0}, wanted = {0};

	index_message_path(b->r.dir, m, &path);
	index_message_wanted_path(b->r.dir, m, uid, &wanted);
	*u = (struct index_core_unparsed){.mailbox = b->r.id,
		.uid = uid,
		.path = buf_steal(&path),
		.wanted_path = buf_steal(&wanted),
		.date_known = m->internal_date != 0};
	w->bytes += m->disk_size;
}

static int
is_enough(const struct walk *w)
{
	return w->count == w->max || w->bytes >= w->bytes_max || w->looked >= CORE_UNPARSED_LOOK;
}

static enum err
walk_box(struct core_tx *tx, struct walk *w, const struct core_box *b)
{
	struct index_key key = index_key_message(b->r.id, w->at->uid);
	MDB_val k = index_key_val(&key), v;
	struct index_message_record m;
	uint32_t id, uid;
	MDB_cursor *cur;
	enum err e;

	e = index_err_of_mdb(
		mdb_cursor_open(tx->txn, tx->core->env->dbi[INDEX_DB_MESSAGE], &cur), "unparsed");
	if (e)
		return e;
	for (e = core_tx_next(cur, &k, &v, MDB_SET_RANGE); e == OK && !is_enough(w);
		e = core_tx_next(cur, &k, &v, MDB_NEXT)) {
		e = index_key_get_message(&k, &id, &uid);
		if (e || id != b->r.id)
			break;
		e = index_message_decode(&v, &m);
		if (e)
			break;
		w->looked++;
		w->at->uid = uid + 1;
		if (index_message_is_unparsed(&m))
			take(w, b, uid, &m);
	}
	mdb_cursor_close(cur);
	return e == E_NOTFOUND ? OK : e;
}

/* Mailboxes in the order of their numbers, which stays as it is while others come and go. */
static int
compare_boxes(const void *a, const void *b)
{
	const struct core_box *x = a, *y = b;

	return x->r.id < y->r.id ? -1 : x->r.id > y->r.id;
}

static enum err
walk_step(struct core_tx *tx, void *arg)
{
	struct walk *w = arg;
	struct core_box *boxes = NULL;
	size_t count = 0;
	enum err e = core_box_list(tx, &boxes, &count);

	if (count)
		qsort(boxes, count, sizeof(*boxes), compare_boxes);
	for (size_t i = 0; i < count && e == OK && !w->more; i++) {
		struct core_box *b = &boxes[i];

		if (b->r.id < w->at->mailbox || b->r.unparsed == 0)
			continue;
		/* Sorting moved them. */
		b->r.dir.p = b->dir;
		b->r.name.p = b->name;
		if (b->r.id > w->at->mailbox)
			*w->at = (struct index_core_place){.mailbox = b->r.id, .uid = 1};
		e = walk_box(tx, w, b);
		w->more = is_enough(w);
		if (!w->more)
			*w->at = (struct index_core_place){.mailbox = b->r.id + 1, .uid = 1};
	}
	free(boxes);
	return e;
}

enum err
index_core_unparsed_take(struct index_core *c, struct index_core_place *at,
	struct index_core_unparsed *out, size_t max, uint64_t bytes_max, size_t *count, int *more)
{
	struct walk w = {.at = at, .out = out, .max = max, .bytes_max = bytes_max};
	enum err e = c->state.unparsed ? core_read(c, walk_step, &w) : OK;

	*count = w.count;
	*more = w.more && e == OK;
	return e;
}

void
index_core_unparsed_free(struct index_core_unparsed *u)
{
	MEM_FREE(u->path);
	MEM_FREE(u->wanted_path);
}
