/* SPDX-License-Identifier: MIT */
#include "index/fts/fts_query.h"

#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "mail/word_match.h"

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
	MEM_FREE(f->scores);
}

void
fts_found_scores(const struct fts_store *s, const struct fts_found *f, struct buf *out)
{
	for (size_t doc = 0; f->scores && doc < s->id_count; doc++)
		if (f->yes.v[doc / 64] >> doc % 64 & 1)
			(void)buf_add_char(out, (char)f->scores[doc]);
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

static int
is_asked(enum fts_class class, enum fts_where where)
{
	switch (where) {
	case FTS_IN_BODY:
		return class != FTS_HEADER;
	case FTS_IN_HEADER:
		return class == FTS_HEADER;
	default:
		return 1;
	}
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

/* ---- words (mail/word_match.h) ---- */

/* A term that is one of the words looked for. */
struct word_hit {
	struct str term; /* borrowed from the lexicon */
	unsigned char level, class;
};

struct word_hits {
	struct word_hit *v;
	size_t count, cap;
};

static void
hits_add(struct word_hits *hits, struct str term, unsigned level, int class)
{
	if (hits->count == hits->cap) {
		hits->cap = hits->cap ? 2 * hits->cap : 64;
		hits->v = mem_realloc(hits->v, hits->cap, sizeof(*hits->v));
	}
	hits->v[hits->count++] =
		(struct word_hit){term, (unsigned char)level, (unsigned char)class};
}

/* The best first; of those that are as good, the frequent ones, which stand in front. */
static int
compare_hits(const void *a, const void *b)
{
	const struct word_hit *x = a, *y = b;

	if (x->level != y->level)
		return x->level > y->level ? -1 : 1;
	return (x->term.p > y->term.p) - (x->term.p < y->term.p);
}

static void
find_hits(const struct fts_store *s, const struct fts_question *question,
	const struct word_match *m, size_t i, struct word_hits *hits)
{
	for (int class = 0; class < FTS_CLASSES; class ++) {
		int beside = question->where == FTS_IN_TEXT && class != FTS_HEADER;
		struct str term;
		size_t at = 0;

		if (!is_asked((enum fts_class) class, question->where))
			continue;
		while (fts_lexicon_next(&s->lexicon[class], &at, &term)) {
			unsigned level =
				word_match_may(m, i, term) ? word_match_level(m, i, term) : 0;

			if (level)
				hits_add(hits, term, beside ? word_match_beside(level) : level,
					class);
		}
	}
	if (hits->count)
		qsort(hits->v, hits->count, sizeof(*hits->v), compare_hits);
}

/* Levels of one word in all documents: the first that a document gets is its best. */
struct word_levels {
	unsigned char *v;
	size_t count;
	unsigned char level; /* of the term at hand */
};

static int
set_level(uint32_t doc, void *ctx)
{
	struct word_levels *l = ctx;

	if (doc < l->count && !l->v[doc])
		l->v[doc] = l->level;
	return 1;
}

/* cut: of documents without a level nothing is known. */
static enum err
find_word(struct fts_store *s, const struct fts_question *question, const struct word_match *m,
	size_t i, struct word_levels *levels, int *cut)
{
	struct word_hits hits = {NULL, 0, 0};
	enum err e = OK;

	find_hits(s, question, m, i, &hits);
	*cut |= hits.count > TERMS_MAX;
	for (size_t k = 0; k < hits.count && k < TERMS_MAX && !e; k++) {
		levels->level = hits.v[k].level;
		e = fts_store_postings(
			s, (enum fts_class)hits.v[k].class, hits.v[k].term, set_level, levels);
	}
	free(hits.v);
	return e;
}

/* It does not matter where each of the words stands. */
static enum err
find_words(struct fts_store *s, const struct fts_question *question, const struct word_match *m,
	struct fts_found *out)
{
	size_t docs = s->id_count;
	unsigned char *all = mem_zalloc(docs * m->count + 1), row[WORD_MATCH_MAX];
	struct fts_bits *found = question->where == FTS_IN_HEADER ? &out->maybe : &out->yes;
	enum err e = OK;

	for (size_t i = 0; i < m->count && !e; i++) {
		struct word_levels levels = {all + i * docs, docs, 0};

		e = find_word(s, question, m, i, &levels, &out->all_maybe);
	}
	if (!e && question->how == FTS_FUZZY)
		out->scores = mem_zalloc(docs + 1);
	for (size_t doc = 0; doc < docs && !e; doc++) {
		unsigned score;

		for (size_t i = 0; i < m->count; i++)
			row[i] = all[i * docs + doc];
		score = word_match_score(row, m->count);
		if (score)
			(void)bits_set((uint32_t)doc, found);
		if (out->scores)
			out->scores[doc] = (unsigned char)score;
	}
	free(all);
	return e;
}

/* 0: there is no word in the needle, which is then looked for as it stands. */
static int
by_words(struct fts_store *s, const struct fts_question *question, struct fts_found *out,
	enum err *e)
{
	struct word_match *m = MEM_NEW(struct word_match);
	int words;

	word_match_init(m, question->needle, question->how == FTS_FUZZY);
	m->same = question->stemmer ? fts_stemmer_same : NULL;
	m->same_ctx = question->stemmer;
	words = m->count > 0;
	if (words)
		*e = find_words(s, question, m, out);
	free(m);
	return words;
}

static enum err
by_string(struct fts_store *s, const struct fts_question *question, struct fts_found *out)
{
	struct words_query q;
	enum err e = OK;

	words_query_init(&q, question->needle);
	if (!q.count)
		out->all_maybe = 1;
	else
		e = find_substring(s, question->where, &q, out);
	words_query_fini(&q);
	/* It stands in some field, maybe not in the one that is meant. */
	if (question->where == FTS_IN_HEADER) {
		bits_or(&out->maybe, &out->yes);
		memset(out->yes.v, 0, out->yes.count * sizeof(*out->yes.v));
	}
	return e;
}

enum err
fts_query_run(struct fts_store *s, const struct fts_question *question, struct fts_found *out)
{
	enum err e = OK;

	*out = (struct fts_found){.yes = bits_make(s), .maybe = bits_make(s)};
	if (question->how == FTS_SUBSTRING || !by_words(s, question, out, &e))
		e = by_string(s, question, out);
	e = e ? e : fts_store_incomplete(s, bits_set, &out->maybe);
	for (size_t i = 0; i < out->yes.count; i++)
		out->maybe.v[i] &= ~out->yes.v[i];
	return e;
}
