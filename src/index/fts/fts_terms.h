/* SPDX-License-Identifier: MIT */
#ifndef ROOST_FTS_TERMS_H
#define ROOST_FTS_TERMS_H

#include <stddef.h>
#include <stdint.h>

#include "index/fts/fts_store.h"
#include "lib/buf.h"
#include "lib/str.h"
#include "mail/mime.h"

/*
 * The different terms of one message, each with the letter of its class in front. Bounded by what
 * is kept, whatever the message has: the rest makes it incomplete.
 */
struct fts_terms {
	struct buf bytes; /* of all terms, one behind the other */
	struct str *list; /* after fts_terms_finish: in the order of their bytes */
	uint32_t *ends; /* of each in bytes */
	uint32_t *slots; /* by hash: number of the term + 1; 0: free */
	size_t count, slot_count, cap;
	int incomplete;
};

enum { FTS_TERMS_MAX = 100 * 1000, FTS_TERMS_BYTES_MAX = 4 << 20 };

void fts_terms_free(struct fts_terms *t);
/* Empties it for the next message and keeps the memory. */
void fts_terms_reset(struct fts_terms *t);
/*
 * Adds all the terms of a message. other: called with each part whose body is no text; it may add
 * terms with fts_terms_add_text; or NULL.
 */
void fts_terms_add_message(struct fts_terms *t, struct str content,
	void (*other)(const struct mime_part *part, struct str body, void *ctx), void *ctx);
/* Adds the terms of a whole text in UTF-8. */
void fts_terms_add_text(struct fts_terms *t, enum fts_class class, struct str utf8);
void fts_terms_finish(struct fts_terms *t);

#endif
