/* SPDX-License-Identifier: MIT */
#include "index/client_shared.h"

#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"

/*
 * COPY and MOVE from one owner's mail to another's: what one connection reads the other takes in,
 * as an APPEND of many. A failure in the middle takes the new messages back, as far as the rights
 * there allow; a MOVE removes what it has written, piece by piece, so that nothing is lost.
 */

enum { ACROSS_PIECE = 256 }; /* messages of one commit */

struct across {
	struct index_user *u;
	uint32_t from, to;
	unsigned how;
	char **names; /* of keywords, in from */
	size_t name_count;
	struct index_append *a[ACROSS_PIECE];
	struct index_append_info info[ACROSS_PIECE];
	uint32_t src[ACROSS_PIECE];
	size_t n;
};

static void
piece_free(struct across *x)
{
	for (size_t i = 0; i < x->n; i++) {
		index_append_free(&x->a[i]);
		free((void *)x->info[i].keywords);
	}
	x->n = 0;
}

static void
info_fill(struct across *x, const struct index_message *m, struct index_append_info *info)
{
	unsigned without = x->how >> 8;
	const char **words = mem_zalloc(INDEX_KEYWORDS_MAX * sizeof(*words));

	*info = (struct index_append_info){.flags = m->flags & ~without & INDEX_FLAGS_ALL,
		.internal_date = m->internal_date,
		.keywords = words};
	for (size_t i = 0; i < x->name_count && !(without & INDEX_COPY_KEYWORDS); i++)
		if ((m->keywords.bits[i / 64] >> i % 64 & 1) && x->names[i][0])
			words[info->keyword_count++] = x->names[i];
}

/* E_NOTFOUND: it is gone by now, and left out. */
static enum err
message_read(struct across *x, uint32_t uid)
{
	struct index_message m = {0};
	struct index_content c;
	struct index_append **a = &x->a[x->n];
	enum err e = index_read_begin(x->u);

	if (e)
		return e;
	e = index_message_get(x->u, x->from, uid, &m);
	e = e ? e : index_message_facts(x->u, x->from, &m);
	index_read_end(x->u);
	if (e)
		return e;
	e = index_content_open(x->u, x->from, uid, &c);
	if (e)
		return e;
	e = index_append_create(x->u, x->to, m.size, a);
	e = e ? e : index_append_write(*a, c.p, c.len);
	e = e ? e : index_append_finish(*a);
	index_content_close(&c);
	if (e) {
		index_append_free(a);
		return e;
	}
	info_fill(x, &m, &x->info[x->n]);
	x->src[x->n++] = uid;
	return OK;
}

static enum err
piece_commit(struct across *x, struct index_copied *out)
{
	uint32_t uids[ACROSS_PIECE];
	struct numset gone = {0};
	enum err e = OK;

	if (x->n == 0)
		return OK;
	e = index_append_commit(x->u, x->a, x->info, x->n, &out->uidvalidity, uids);
	for (size_t i = 0; i < x->n && e == OK; i++) {
		numset_add(&out->src, x->src[i]);
		numset_add(&out->dst, uids[i]);
		numset_add(&gone, x->src[i]);
	}
	/* An error from here on leaves messages twice, and none lost. */
	if (e == OK && x->how & INDEX_COPY_MOVE)
		e = index_expunge(x->u, x->from, &gone, 1, NULL);
	numset_free(&gone);
	piece_free(x);
	return e;
}

static enum err
present_add(const struct index_message *m, void *arg)
{
	numset_add(arg, m->uid);
	return OK;
}

/* Ranges may have been named with billions of UIDs that are not there. */
static enum err
run(struct across *x, const struct numset *uids, struct index_copied *out)
{
	struct numset present = {0};
	enum err e = OK;

	for (size_t i = 0; i < uids->count && e == OK; i++)
		e = index_message_each(x->u, x->from, uids->ranges[i].first, uids->ranges[i].last,
			present_add, &present);
	for (size_t i = 0; i < present.count && e == OK; i++) {
		for (uint64_t uid = present.ranges[i].first;
			uid <= present.ranges[i].last && e == OK; uid++) {
			e = message_read(x, (uint32_t)uid);
			e = e == E_NOTFOUND ? OK : e;
			if (e == OK && x->n == ACROSS_PIECE)
				e = piece_commit(x, out);
		}
	}
	numset_free(&present);
	return e ? e : piece_commit(x, out);
}

enum err
client_copy_across(struct index_user *u, uint32_t from, uint32_t to, const struct numset *uids,
	unsigned how, struct index_copied *out)
{
	struct across *x = MEM_NEW(struct across);
	enum err e;

	*x = (struct across){.u = u, .from = from, .to = to, .how = how};
	e = index_mailbox_keywords(u, from, &x->names, &x->name_count);
	if (e == OK)
		e = run(x, uids, out);
	/* COPY is all or nothing (RFC 9051 section 6.4.7). */
	if (e && !(how & INDEX_COPY_MOVE) && !numset_is_empty(&out->dst))
		(void)index_expunge(u, to, &out->dst, 1, NULL);
	if (e) {
		numset_free(&out->src);
		numset_free(&out->dst);
	}
	piece_free(x);
	index_names_free(&x->names, x->name_count);
	free(x);
	return e;
}
