/* SPDX-License-Identifier: MIT */
#include "index/client_view.h"

#include "index/client_shared.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "mail/rights.h"

enum {
	READ_AHEAD_AFTER = 512, /* messages of a walk, then its speed is looked at */
	READ_AHEAD_SLOW_MS = 3,
	TELL_PIECE = 1000, /* changed messages that are told in one transaction */
	READ_AHEAD_MAX = 512 << 20, /* bytes of the index; a larger one is not read whole */
};

static void
view_add(struct index_view *v, uint32_t uid)
{
	if (v->count == v->cap) {
		v->cap = v->cap ? v->cap + v->cap / 2 : 64;
		v->uids = mem_realloc(v->uids, v->cap, sizeof(uint32_t));
	}
	v->uids[v->count++] = uid;
}

/* Place of the first UID >= uid, from 0. */
static size_t
view_find(const struct index_view *v, uint32_t uid)
{
	size_t lo = 0, hi = v->count;

	/* New messages come at the end: mostly it is there or behind. */
	if (hi > 0 && v->uids[hi - 1] < uid) {
		return hi;
	}
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (v->uids[mid] < uid) {
			lo = mid + 1;
		} else {
			hi = mid;
		}
	}
	return lo;
}

uint32_t
index_view_count(const struct index_view *v)
{
	return (uint32_t)v->count;
}

uint32_t
index_view_uid(const struct index_view *v, uint32_t seq)
{
	return seq >= 1 && seq <= v->count ? v->uids[seq - 1] : 0;
}

uint32_t
index_view_seq(const struct index_view *v, uint32_t uid)
{
	size_t i = view_find(v, uid);

	return i < v->count && v->uids[i] == uid ? (uint32_t)i + 1 : 0;
}

uint32_t
index_view_lower(const struct index_view *v, uint32_t uid)
{
	return (uint32_t)view_find(v, uid) + 1;
}

uint64_t
index_view_modseq(const struct index_view *v)
{
	return v->told_modseq;
}

/* ---- what was told otherwise ---- */

void
index_view_told(struct index_view *v, uint32_t uid, uint64_t modseq)
{
	if (v->told_count == v->told_cap) {
		v->told_cap = v->told_cap ? 2 * v->told_cap : 16;
		v->told = mem_realloc(v->told, v->told_cap, sizeof(struct told));
	}
	v->told[v->told_count++] = (struct told){.uid = uid, .modseq = modseq};
}

static int
told_compare(const void *a, const void *b)
{
	const struct told *x = a, *y = b;

	if (x->uid != y->uid) {
		return x->uid < y->uid ? -1 : 1;
	}
	return x->modseq < y->modseq ? -1 : x->modseq > y->modseq;
}

/* Sorted by UID, with the highest mod-sequence of each alone. */
static void
told_prepare(struct index_view *v)
{
	size_t n = 0;

	if (v->told_count == 0) {
		return;
	}
	qsort(v->told, v->told_count, sizeof(struct told), told_compare);
	for (size_t i = 1; i < v->told_count; i++) {
		n += v->told[i].uid != v->told[n].uid;
		v->told[n] = v->told[i];
	}
	v->told_count = n + 1;
}

static int
was_told(const struct index_view *v, uint32_t uid, uint64_t modseq)
{
	size_t lo = 0, hi = v->told_count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (v->told[mid].uid < uid) {
			lo = mid + 1;
		} else {
			hi = mid;
		}
	}
	return lo < v->told_count && v->told[lo].uid == uid && v->told[lo].modseq >= modseq;
}

/* ---- reading the index ---- */

/* What changed since the view was last in step. */
struct news {
	uint32_t *changed; /* UIDs of the view with new flags, sorted */
	size_t changed_count, changed_cap;
	uint32_t *fresh; /* UIDs behind the view, sorted */
	size_t fresh_count, fresh_cap;
};

static void
news_add(uint32_t **list, size_t *count, size_t *cap, uint32_t uid)
{
	if (*count == *cap) {
		*cap = *cap ? 2 * *cap : 64;
		*list = mem_realloc(*list, *cap, sizeof(uint32_t));
	}
	(*list)[(*count)++] = uid;
}

static void
news_exists(struct index_view *v, struct news *n, uint32_t uid, uint64_t modseq)
{
	if (v->count == 0 || uid > v->uids[v->count - 1]) {
		news_add(&n->fresh, &n->fresh_count, &n->fresh_cap, uid);
	} else if (!was_told(v, uid, modseq) && index_view_seq(v, uid) != 0) {
		news_add(&n->changed, &n->changed_count, &n->changed_cap, uid);
	}
}

static int
uid_compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void
sort_unique(uint32_t *list, size_t *count)
{
	size_t n = 0;

	if (*count < 2) {
		return;
	}
	qsort(list, *count, sizeof(uint32_t), uid_compare);
	for (size_t i = 1; i < *count; i++) {
		n += list[i] != list[n];
		list[n] = list[i];
	}
	*count = n + 1;
}

/* From the change log, behind v->modseq. */
static enum err
news_from_log(struct index_view *v, MDB_cursor *c, struct news *n)
{
	struct index_key key = index_key_change(v->mailbox, v->modseq + 1, 0);
	MDB_val k = index_key_val(&key), val;
	int rc = mdb_cursor_get(c, &k, &val, MDB_SET_RANGE);

	for (; rc == 0; rc = mdb_cursor_get(c, &k, &val, MDB_NEXT)) {
		uint32_t id, uid;
		uint64_t modseq;

		if (index_key_get_change(&k, &id, &modseq, &uid)) {
			return client_corrupt(v->u, "change");
		}
		if (id != v->mailbox) {
			break;
		}
		if (val.mv_size != 1) {
			return client_corrupt(v->u, "change");
		}
		if (*(const unsigned char *)val.mv_data == INDEX_CHANGE_CHANGED) {
			news_exists(v, n, uid, modseq);
		} else if (index_view_seq(v, uid) != 0) {
			numset_add(&v->gone, uid);
		}
	}
	if (rc != 0 && rc != MDB_NOTFOUND) {
		return index_err_of_mdb(rc, "change");
	}
	/* They came in the order of their mod-sequences. */
	sort_unique(n->fresh, &n->fresh_count);
	sort_unique(n->changed, &n->changed_count);
	return OK;
}

/* By comparing all UIDs, when the log does not go back far enough. */
static enum err
news_from_all(struct index_view *v, MDB_cursor *c, struct news *n)
{
	struct index_key key = index_key_message(v->mailbox, 0);
	MDB_val k = index_key_val(&key), val;
	size_t at = 0;
	int rc = mdb_cursor_get(c, &k, &val, MDB_SET_RANGE);

	for (; rc == 0; rc = mdb_cursor_get(c, &k, &val, MDB_NEXT)) {
		struct index_message_record r;
		uint32_t id, uid;

		if (index_key_get_message(&k, &id, &uid)) {
			return client_corrupt(v->u, "message key");
		}
		if (id != v->mailbox) {
			break;
		}
		for (; at < v->count && v->uids[at] < uid; at++) {
			numset_add(&v->gone, v->uids[at]);
		}
		at += at < v->count && v->uids[at] == uid;
		if (index_message_decode(&val, &r)) {
			return client_corrupt(v->u, "message");
		}
		if (r.modseq > v->modseq) {
			news_exists(v, n, uid, r.modseq);
		} else if (v->count == 0 || uid > v->uids[v->count - 1]) {
			news_add(&n->fresh, &n->fresh_count, &n->fresh_cap, uid);
		}
	}
	for (; at < v->count; at++) {
		numset_add(&v->gone, v->uids[at]);
	}
	return rc == 0 || rc == MDB_NOTFOUND ? OK : index_err_of_mdb(rc, "messages");
}

static enum err
news_read(struct index_view *v, const struct index_mailbox_record *box, struct news *n)
{
	int all = v->modseq < box->vanished_floor;
	enum index_db db = all ? INDEX_DB_MESSAGE : INDEX_DB_CHANGE;
	MDB_cursor *c;
	enum err e;
	int rc = mdb_cursor_open(v->u->txn, v->u->env->dbi[db], &c);

	if (rc != 0) {
		return index_err_of_mdb(rc, "sync");
	}
	told_prepare(v);
	e = all ? news_from_all(v, c, n) : news_from_log(v, c, n);
	mdb_cursor_close(c);
	return e;
}

/* ---- telling ---- */

static void
tell_expunged(struct index_view *v, const struct index_view_events *events, void *arg)
{
	size_t kept = 0, range = 0;

	if (numset_is_empty(&v->gone)) {
		return;
	}
	for (size_t i = 0; i < v->count; i++) {
		uint32_t uid = v->uids[i];

		while (range < v->gone.count && v->gone.ranges[range].last < uid) {
			range++;
		}
		if (range < v->gone.count && v->gone.ranges[range].first <= uid) {
			if (events != NULL && events->expunged != NULL) {
				events->expunged((uint32_t)kept + 1, uid, arg);
			}
		} else {
			v->uids[kept++] = uid;
		}
	}
	v->count = kept;
	numset_free(&v->gone);
}

/* What changes meanwhile is told as it is then, and again by the next synchronization. */
static enum err
tell_pause(struct index_view *v, const struct index_view_events *events, void *arg)
{
	if (events->pause == NULL) {
		return OK;
	}
	index_read_end(v->u);
	events->pause(arg);
	return index_read_begin(v->u);
}

static enum err
tell_changed(struct index_view *v, const struct news *n, const struct index_view_events *events,
	void *arg)
{
	if (events == NULL || events->changed == NULL) {
		return OK;
	}
	for (size_t i = 0; i < n->changed_count; i++) {
		uint32_t uid = n->changed[i], seq = index_view_seq(v, uid);
		struct index_message m;
		enum err e = i % TELL_PIECE == TELL_PIECE - 1 ? tell_pause(v, events, arg) : OK;

		if (e)
			return e;
		if (seq == 0 || numset_contains(&v->gone, uid)) {
			continue;
		}
		e = index_message_get(v->u, v->mailbox, uid, &m);
		if (e == OK) {
			events->changed(seq, &m, arg);
		} else if (e != E_NOTFOUND) {
			return e;
		}
	}
	return OK;
}

/* Who may not read another's mailbox any more is put out of it. */
static enum err
guest_check(const struct index_view *v)
{
	uint64_t rights = RIGHT_READ;
	enum err e = OK;

	if (v->u->is_guest) {
		e = client_meta(v->u, INDEX_META_RIGHTS, v->mailbox, &rights);
	}
	return e ? e : rights & RIGHT_READ ? OK : E_NOTFOUND;
}

static enum err
sync_inside(
	struct index_view *v, int with_expunges, const struct index_view_events *events, void *arg)
{
	struct index_mailbox_record box;
	struct news n = {0};
	uint64_t highest;
	enum err e = client_mailbox_record(v->u, v->mailbox, &box);

	e = e ? e : guest_check(v);
	if (e) {
		return e;
	}
	highest = box.highest_modseq;
	if (highest < v->modseq) {
		v->modseq = 0; /* a rebuilt index that went back: everything is news */
	}
	if (highest != v->modseq) {
		e = news_read(v, &box, &n);
	}
	if (e == OK) {
		if (with_expunges) {
			tell_expunged(v, events, arg);
		}
		e = tell_changed(v, &n, events, arg);
	}
	if (e == OK) {
		for (size_t i = 0; i < n.fresh_count; i++) {
			view_add(v, n.fresh[i]);
		}
		v->modseq = highest;
		v->told_count = 0;
		if (numset_is_empty(&v->gone)) {
			v->told_modseq = highest;
		}
		if (n.fresh_count > 0 && events != NULL && events->exists != NULL) {
			events->exists((uint32_t)v->count, arg);
		}
	}
	free(n.changed);
	free(n.fresh);
	return e;
}

enum err
index_view_sync(
	struct index_view *v, int with_expunges, const struct index_view_events *events, void *arg)
{
	unsigned depth = v->u->depth;
	enum err e;

	client_notes_flush(v->u);
	client_check(v->u);
	e = index_read_begin(v->u);
	if (e) {
		return e;
	}
	e = sync_inside(v, with_expunges, events, arg);
	/* Not when a pause could not begin it again. */
	if (v->u->depth > depth) {
		index_read_end(v->u);
	}
	return e;
}

/* ---- opening ---- */

/*
 * A walk over pages that are not in memory waits for the disk page by page. One that is slow at its
 * beginning therefore asks for the whole file, which the kernel reads in large pieces.
 */
static void
read_ahead_if_slow(struct index_user *u, int64_t started_ms)
{
	struct stat st;
	int fd;

	if (io_now_ms() - started_ms < READ_AHEAD_SLOW_MS ||
		mdb_env_get_fd(u->env->env, &fd) != 0 || fstat(fd, &st) != 0 ||
		st.st_size > READ_AHEAD_MAX)
		return;
	(void)posix_fadvise(fd, 0, st.st_size, POSIX_FADV_WILLNEED);
}

/* All UIDs of the mailbox, from the keys alone: a million of them are a matter of milliseconds. */
static enum err
view_fill(struct index_view *v)
{
	struct index_key key = index_key_message(v->mailbox, 0);
	MDB_val k = index_key_val(&key), val;
	MDB_cursor *c;
	enum err e = OK;
	int64_t started_ms = io_now_ms();
	int rc = mdb_cursor_open(v->u->txn, v->u->env->dbi[INDEX_DB_MESSAGE], &c);
	size_t seen = 0;

	if (rc != 0) {
		return index_err_of_mdb(rc, "view");
	}
	rc = mdb_cursor_get(c, &k, &val, MDB_SET_RANGE);
	for (; rc == 0; rc = mdb_cursor_get(c, &k, &val, MDB_NEXT)) {
		uint32_t id, uid;

		if (index_key_get_message(&k, &id, &uid)) {
			e = client_corrupt(v->u, "message key");
			break;
		}
		if (id != v->mailbox) {
			break;
		}
		view_add(v, uid);
		if (++seen == READ_AHEAD_AFTER) {
			read_ahead_if_slow(v->u, started_ms);
		}
	}
	mdb_cursor_close(c);
	return e != OK || rc == 0 || rc == MDB_NOTFOUND ? e : index_err_of_mdb(rc, "view");
}

enum err
index_view_open(struct index_user *u, uint32_t mailbox, struct index_view **out)
{
	struct index_view *v = MEM_NEW(struct index_view);
	struct index_mailbox_record box;
	enum err e;

	*out = NULL;
	u = client_route(u, &mailbox);
	v->u = u;
	v->mailbox = mailbox;
	client_check(u);
	e = index_read_begin(u);
	if (e) {
		index_view_close(&v);
		return e;
	}
	e = client_mailbox_record(u, mailbox, &box);
	if (e == OK) {
		v->modseq = v->told_modseq = box.highest_modseq;
		e = view_fill(v);
	}
	index_read_end(u);
	if (e) {
		index_view_close(&v);
	}
	*out = v;
	return e;
}

void
index_view_close(struct index_view **v)
{
	if (*v == NULL) {
		return;
	}
	numset_free(&(*v)->gone);
	free((*v)->uids);
	free((*v)->told);
	MEM_FREE(*v);
}
