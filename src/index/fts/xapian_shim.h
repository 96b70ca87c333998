/* SPDX-License-Identifier: MIT */
#ifndef ROOST_FTS_XAPIAN_SHIM_H
#define ROOST_FTS_XAPIAN_SHIM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"

/*
 * What roost-fts asks of Xapian, and the only C++ in Roost. A database is a directory: documents
 * with terms and one value each, and named texts beside them. Documents are numbered from 1 on and
 * never changed. Nothing is thrown out of here: E_CORRUPT: the database is damaged; E_NOSPACE; E_IO
 * for the rest unless said otherwise.
 */
struct fts_db;

enum { FTS_DB_TERM_MAX = 245 };

/*
 * Read-only, or for its one writer, who makes it when it is missing. E_NOTFOUND: there is none;
 * E_CONFLICT: another process writes.
 */
enum err fts_db_open(const char *dir, int writable, struct fts_db **out);
void fts_db_close(struct fts_db **db);
/* A reader sees the last commit from here on. */
enum err fts_db_reopen(struct fts_db *db);
/* The number of the last document, 0: there is none. */
uint32_t fts_db_last(struct fts_db *db);

/* The number of the document is *id. Terms may not repeat. */
enum err fts_db_add(
	struct fts_db *db, const struct str *terms, size_t count, struct str value, uint32_t *id);
enum err fts_db_set_text(struct fts_db *db, struct str name, struct str text);
/* All since the last commit is on disk when this is OK; after an error none of it is. */
enum err fts_db_commit(struct fts_db *db);

/*
 * Of a reader E_CONFLICT too: the writer has since used the space again; reopen, and begin anew.
 * each: 0 ends it.
 */
enum err fts_db_text(struct fts_db *db, struct str name, struct buf *out); /* none: nothing */
enum err fts_db_postings(
	struct fts_db *db, struct str term, int (*each)(uint32_t id, void *ctx), void *ctx);
/* The values of the documents from number first on. */
enum err fts_db_values(struct fts_db *db, uint32_t first,
	int (*each)(uint32_t id, struct str value, void *ctx), void *ctx);

/* Writes all that the database in from has into the new directory to, without the gaps. */
enum err fts_db_compact(const char *from, const char *to);

/* ---- Snowball's stemmers ---- */

struct fts_stem;
/* language: "english" or "en"; E_NOTFOUND: there is none for it. */
enum err fts_stem_create(const char *language, struct fts_stem **out);
void fts_stem_free(struct fts_stem **stem);
/* Appends the stem of a word in small letters, composed (NFC). */
enum err fts_stem_word(struct fts_stem *stem, struct str word, struct buf *out);

#ifdef __cplusplus
}
#endif

#endif
