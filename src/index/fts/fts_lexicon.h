/* SPDX-License-Identifier: MIT */
#ifndef ROOST_FTS_LEXICON_H
#define ROOST_FTS_LEXICON_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"
#include "mail/words.h"

/*
 * All terms of a database in one text, each between two line ends, in the order in which they first
 * came up, so that the frequent ones stand in front. To find the terms that contain a string is one
 * pass over it. The file is only ever appended to; how much of it counts, and its checksum, stand
 * in the database and are committed with the documents.
 */
struct fts_lexicon {
	struct buf text;
	size_t saved; /* bytes of it that are in the file */
	uint32_t crc; /* of these; then of all, with fts_lexicon_save */
	uint32_t *slots; /* of the writer: offsets of terms by hash; 0: free */
	size_t slot_count, term_count;
};

enum { FTS_LEXICON_MAX = 1 << 30 };

void fts_lexicon_free(struct fts_lexicon *l);
/*
 * Takes in what the file has beyond what was taken in before, up to len bytes, which crc must be
 * the checksum of. E_CORRUPT: the file is shorter, or other bytes.
 */
enum err fts_lexicon_load(struct fts_lexicon *l, const char *path, uint64_t len, uint32_t crc);
/* For its one writer, behind a load. E_TOOBIG: it is full. */
enum err fts_lexicon_add(struct fts_lexicon *l, struct str term);
/* Puts what was added into the file, synced, over whatever lies behind what counted. */
enum err fts_lexicon_save(struct fts_lexicon *l, const char *path);

/* Gives the terms that meet run i of q, until each returns 0. */
void fts_lexicon_scan(const struct fts_lexicon *l, const struct words_query *q, size_t i,
	int (*each)(struct str term, void *ctx), void *ctx);
/* Goes through all terms. *at: 0 at first. 0: there are no more. */
int fts_lexicon_next(const struct fts_lexicon *l, size_t *at, struct str *term);

#endif
