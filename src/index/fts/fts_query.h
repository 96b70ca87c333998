/* SPDX-License-Identifier: MIT */
#ifndef ROOST_FTS_QUERY_H
#define ROOST_FTS_QUERY_H

#include <stddef.h>
#include <stdint.h>

#include "index/fts/fts_proto.h"
#include "index/fts/fts_stem.h"
#include "index/fts/fts_store.h"

/* A set of documents. */
struct fts_bits {
	uint64_t *v;
	size_t count; /* of v */
};

/* What the index knows of a key. A document in neither set does not match, but for all_maybe. */
struct fts_found {
	struct fts_bits yes, maybe;
	int all_maybe; /* of documents in neither set nothing is known */
	unsigned char *scores; /* of FTS_FUZZY: the relevancy of each document; else NULL */
};

/* What is looked for. */
struct fts_question {
	enum fts_where where;
	enum fts_how how;
	struct str needle; /* folded */
	struct fts_stemmer *stemmer; /* fts_stem.h; NULL: forms are words of their own */
};

/*
 * Errors of fts_store_postings; E_CONFLICT: refresh the store and ask again. The caller calls
 * fts_found_free also after an error.
 */
enum err fts_query_run(
	struct fts_store *s, const struct fts_question *question, struct fts_found *out);
void fts_found_free(struct fts_found *f);
/* Appends the scores of the documents in yes, in the order of fts_bits_ids. */
void fts_found_scores(const struct fts_store *s, const struct fts_found *f, struct buf *out);
/* Appends the email ids of a set. */
void fts_bits_ids(const struct fts_store *s, const struct fts_bits *b, struct buf *out);

#endif
