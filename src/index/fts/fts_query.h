/* SPDX-License-Identifier: MIT */
#ifndef ROOST_FTS_QUERY_H
#define ROOST_FTS_QUERY_H

#include <stddef.h>
#include <stdint.h>

#include "index/fts/fts_proto.h"
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
};

/*
 * needle: folded. Errors of fts_store_postings; E_CONFLICT: refresh the store and ask again. The
 * caller calls fts_found_free also after an error.
 */
enum err fts_query_run(struct fts_store *s, enum fts_where where, enum fts_how how,
	struct str needle, struct fts_found *out);
void fts_found_free(struct fts_found *f);
/* Appends the email ids of a set. */
void fts_bits_ids(const struct fts_store *s, const struct fts_bits *b, struct buf *out);

#endif
