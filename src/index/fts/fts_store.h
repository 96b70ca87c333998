/* SPDX-License-Identifier: MIT */
#ifndef ROOST_FTS_STORE_H
#define ROOST_FTS_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "index/fts/fts_lexicon.h"
#include "index/fts/xapian_shim.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/numset.h"

/*
 * The full-text index of one user: INDEX_DIR/fts/words, a Xapian database with the lexicons beside
 * it. A document is a text, named by its email id, so that copies share it and a move or a change
 * of flags changes nothing; which messages of a mailbox are in it is a set of UIDs beside the
 * documents, committed with them. All of it may be deleted at any time.
 */

/* What part of a message a term comes from: the first letter of the term in Xapian. */
enum fts_class {
	FTS_BODY, /* what BODY looks at */
	FTS_HEADER, /* the message's own header, which TEXT looks at too */
	FTS_ATTACHED, /* what an extractor made of an attachment */
	FTS_CLASSES,
};

enum { FTS_ID_LEN = 16 }; /* an email id */

struct fts_store {
	struct fts_db *db;
	char *dir;
	int writable;
	struct fts_lexicon lexicon[FTS_CLASSES];
	unsigned char *ids; /* FTS_ID_LEN bytes for each document; number 0 is none */
	uint32_t id_count; /* with number 0 */
	uint64_t inode; /* of the directory: whether another one lies there now */
};

/*
 * "words" or, for one that is being made in its place, "new", in fts_dir, which exists. E_NOTFOUND:
 * there is none; E_CORRUPT: damaged, or of another version of Roost or Unicode; E_CONFLICT: another
 * process writes.
 */
enum err fts_store_open(
	const char *fts_dir, const char *name, int writable, struct fts_store **out);
/* What was not committed is forgotten. */
void fts_store_close(struct fts_store **s);
/* A reader takes in what was committed since. E_NOTFOUND: another lies in its place. */
enum err fts_store_refresh(struct fts_store *s);
/* Removes one, whatever it has in it. */
enum err fts_store_remove(const char *fts_dir, const char *name);
/* Puts "new" in the place of "words". */
enum err fts_store_replace(const char *fts_dir);
/* Writes "words" anew without the gaps, in its place. The store must be closed. */
enum err fts_store_compact(const char *fts_dir);
uint64_t fts_store_bytes(const char *fts_dir);

/* ---- mailboxes ---- */

struct fts_mailbox {
	uint32_t uidvalidity;
	uint64_t modseq; /* all of the mailbox up to here is in it; 0: not all */
	struct numset uids;
};
/* object_id: struct index_mailbox. No such mailbox: zeroed. The caller calls fts_mailbox_free. */
enum err fts_mailbox_get(struct fts_store *s, const char *object_id, struct fts_mailbox *out);
enum err fts_mailbox_put(struct fts_store *s, const char *object_id, const struct fts_mailbox *m);
void fts_mailbox_free(struct fts_mailbox *m);

/* ---- documents ---- */

/* Terms with their class letter in front. incomplete: the text had more than we keep. */
enum err fts_store_add(struct fts_store *s, const unsigned char id[FTS_ID_LEN],
	const struct str *terms, size_t count, int incomplete);
enum err fts_store_commit(struct fts_store *s);
char fts_class_letter(enum fts_class class);

/* The numbers of the documents with a term, see fts_db_postings. */
enum err fts_store_postings(struct fts_store *s, enum fts_class class, struct str term,
	int (*each)(uint32_t doc, void *ctx), void *ctx);
/* Those whose text had more than is kept. */
enum err fts_store_incomplete(struct fts_store *s, int (*each)(uint32_t doc, void *ctx), void *ctx);

#endif
