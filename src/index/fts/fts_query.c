/* SPDX-License-Identifier: MIT */
#include "index/fts/fts_query.h"

#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"

/*
 * Terms that a string is looked for in, at most. Those that came up first, which are the frequent
 * ones, are taken; beyond that, messages are only said to match, not that they do not.
 */
enum { TERMS_MAX = 3000 };

/* ---- sets ---- */

static struct fts_bits
bits_make(const struct fts_store *s)
{
	struct fts_bits b = {.count = (size_t)s->id_count / 64 + 1};

	b.v = mem_zalloc(b.count * sizeof(*b.v));
	return b;
}

static void
bits_free(struct fts_bits *b)
{
	MEM_FREE(b->v);
	b->count = 0;
}

static int
bits_set(uint32_t doc, void *ctx)
{
	struct fts_bits *b = ctx;

	/* Behind the last that was there when we looked: not known to us yet. */
	if (doc / 64 < b->count)
		b->v[doc / 64] |= (uint64_t)1 << doc % 64;
	return 1;
}

static void
bits_or(struct fts_bits *to, const struct fts_bits *from)
{
	for (size_t i = 0; i < to->count; i++)
		to->v[i] |= from->v[i];
}

static void
bits_and(struct fts_bits *to, const struct fts_bits *from)
{
	for (size_t i = 0; i < to->count; i++)
		to->v[i] &= from->v[i];
}

void
fts_bits_ids(const struct fts_store *s, const struct fts_bits *b, struct buf *out)
{
	for (size_t i = 0; i < b->count; i++)
		for (uint64_t left = b->v[i]; left; left &= left - 1) {
			size_t doc = i * 64 + (size_t)__builtin_ctzll(left);

			if (doc < s->id_count)
				(void)buf_add(out, s->ids + doc * FTS_ID_LEN, FTS_ID_LEN);
		}
}

void
fts_found_free(struct fts_found *f)
{
	bits_free(&f->yes);
	bits_free(&f->maybe);
}

/* ---- one run ---- */

struct expand {
	struct fts_store *store;
	enum fts_class class;
	struct fts_bits *into;
	size_t terms;
	int cut; /* there were more terms than TERMS_MAX */
	enum err err;
};

static int
on_term(struct str term, void *ctx)
{
	struct expand *x = ctx;

	if (x->terms++ == TERMS_MAX) {
		x->cut = 1;
		return 0;
	}
	x->err = fts_store_postings(x->store, x->class, term, bits_set, x->into);
	return !x->err;
}

/* Adds the documents that have a term of the class that meets run i. */
static enum err
expand_run(struct fts_store *s, enum fts_class class, const struct words_query *q, size_t i,
	struct fts_bits *into, int *cut)
{
	struct expand x = {.store = s, .class = class, .into = into};

	fts_lexicon_scan(&s->lexicon[class], q, i, on_term, &x);
	*cut |= x.cut;
	return x.err;
}

/* ---- a needle ---- */

/* Classes beyond the last: the header is for TEXT only. */
static int
is_asked(enum fts_class class, enum fts_where where)
{
	return class != FTS_HEADER || where == FTS_IN_TEXT;
}

/*
 * A needle stands in one text, so that all its runs are of one class: the documents of that class
 * that have all of them. A run with too many terms is no condition.
 */
static enum err
find_in_class(struct fts_store *s, enum fts_class class, const struct words_query *q,
	struct fts_bits *found, int *unknown)
{
	int conditions = 0;
	enum err e = OK;

	for (size_t i = 0; i < q->count && !e; i++) {
		struct fts_bits one = bits_make(s);
		int cut = 0;

		e = expand_run(s, class, q, i, &one, &cut);
		/* Alone, what was found so far is found all the same. */
		if (q->count == 1 || (!cut && !conditions))
			bits_or(found, &one);
		else if (!cut)
			bits_and(found, &one);
		conditions += !cut;
		bits_free(&one);
	}
	*unknown |= !conditions;
	return e;
}

static enum err
find_substring(struct fts_store *s, enum fts_where where, const struct words_query *q,
	struct fts_found *out)
{
	enum err e = OK;

	for (int class = 0; class < FTS_CLASSES && !e; class ++) {
		struct fts_bits found = bits_make(s);
		/* What an extractor made of an attachment nobody can look up again. */
		int sure = class == FTS_ATTACHED || q->exact;

		if (is_asked((enum fts_class) class, where))
			e = find_in_class(s, (enum fts_class) class, q, &found, &out->all_maybe);
		bits_or(sure ? &out->yes : &out->maybe, &found);
		bits_free(&found);
	}
	return e;
}

/* By words it does not matter where each of them stands. */
static enum err
find_words(struct fts_store *s, enum fts_where where, const struct words_query *q,
	struct fts_found *out)
{
	struct fts_bits all = bits_make(s);
	int conditions = 0;
	enum err e = OK;

	for (size_t i = 0; i < q->count && !e; i++) {
		struct fts_bits one = bits_make(s);
		int cut = 0;

		for (int class = 0; class < FTS_CLASSES && !e; class ++)
			if (is_asked((enum fts_class) class, where))
				e = expand_run(s, (enum fts_class) class, q, i, &one, &cut);
		if (cut)
			out->all_maybe = 1;
		if (!conditions++)
			bits_or(&all, &one);
		else
			bits_and(&all, &one);
		bits_free(&one);
	}
	bits_or(q->exact ? &out->yes : &out->maybe, &all);
	bits_free(&all);
	return e;
}

enum err
fts_query_run(struct fts_store *s, enum fts_where where, enum fts_how how, struct str needle,
	struct fts_found *out)
{
	struct words_query q;
	enum err e = OK;

	*out = (struct fts_found){.yes = bits_make(s), .maybe = bits_make(s)};
	if (how == FTS_BY_WORDS)
		words_query_init_words(&q, needle);
	else
		words_query_init(&q, needle);
	if (!q.count)
		out->all_maybe = 1;
	else if (how == FTS_BY_WORDS)
		e = find_words(s, where, &q, out);
	else
		e = find_substring(s, where, &q, out);
	e = e ? e : fts_store_incomplete(s, bits_set, &out->maybe);
	for (size_t i = 0; i < out->yes.count; i++)
		out->maybe.v[i] &= ~out->yes.v[i];
	words_query_fini(&q);
	return e;
}
