/* SPDX-License-Identifier: MIT */
#ifndef ROOST_INDEX_CORE_BATCH_H
#define ROOST_INDEX_CORE_BATCH_H

#include "index/core_private.h"

/*
 * What is several renames or links on disk and one thing to a client: an APPEND of many messages
 * (RFC 3502), COPY and MOVE of many (RFC 9051 sections 6.4.7 and 6.4.8), REPLACE (RFC 8508), RENAME
 * of a tree. All of it is written into roost-batch, and that synced, before the first of them; who
 * opens the user after a crash does what is missing. So it happens as a whole or not at all.
 *
 *   roost 1
 *   from 1790000000 .Sent
 *   to 1790000001
 *   move 17 new/1276528487.host,U=4 cur/1790000100.host,U=17:2,S
 *   end 1
 *
 * Fields are divided by tabs, which no name can have. from and to: UIDVALIDITY and folder (empty:
 * INBOX). append, copy, move: the UID it gets, where it is (append: in tmp/ of "to"), where it
 * goes. "replaced UID": goes from "from" when the others are there. "rename": UIDVALIDITY, folder,
 * its new name. The last line counts those between.
 *
 * The file is overwritten by the next batch. When it is done with it must not come back either: a
 * change that is acknowledged afterwards could be undone by doing it again. So it is removed before
 * the next change of the index, when the directories that it changed are on disk.
 */

/* ---- core_batch_file.c ---- */

enum core_batch_kind { CORE_BATCH_APPEND, CORE_BATCH_COPY, CORE_BATCH_MOVE };

/* Texts are borrowed from what was parsed, and have no NUL behind them. */
struct core_batch_folder {
	uint32_t uidvalidity; /* 0: not said */
	struct str dir;
};
struct core_batch_message {
	enum core_batch_kind kind;
	uint32_t uid;
	int src_in_new, dst_in_new;
	struct str src, dst; /* file names */
};
struct core_batch_rename {
	uint32_t uidvalidity;
	struct str dir, new_dir;
};
struct core_batch_plan {
	struct core_batch_folder from, to;
	struct core_batch_message *messages;
	size_t message_count, message_cap;
	struct core_batch_rename *renames;
	size_t rename_count, rename_cap;
	uint32_t replaced; /* 0: none */
};

/* A text that is being written. */
struct core_batch_text {
	struct buf text;
	size_t lines;
};
void core_batch_from(struct core_batch_text *t, const struct core_box *b);
void core_batch_to(struct core_batch_text *t, const struct core_box *b);
void core_batch_message(struct core_batch_text *t, const struct core_batch_message *m);
void core_batch_replaced(struct core_batch_text *t, uint32_t uid);
void core_batch_rename(struct core_batch_text *t, const struct core_batch_rename *r);
/* The first and the last line. */
void core_batch_text_end(struct core_batch_text *t);

/* E_CORRUPT: not the whole of one, or names that lead elsewhere; nothing to free then. */
enum err core_batch_parse(struct str text, struct core_batch_plan *out);
void core_batch_plan_free(struct core_batch_plan *p);

/* ---- core_batch.c ---- */

/*
 * Writes it, and frees t. fds: directories that will change, -1 among them is left out; they are
 * borrowed. After an error nothing has begun.
 */
enum err core_batch_begin(
	struct index_core *c, struct core_batch_text *t, const int *fds, size_t fd_count);
/* All of it is done, in the index too. Without a batch nothing happens, as with the others. */
void core_batch_done(struct index_core *c);
/* It failed and was taken back. */
void core_batch_cancel(struct index_core *c);
/* Before any other change: removes the file of one that is done. */
enum err core_batch_settle(struct index_core *c);
/* The same at the end. */
void core_batch_close(struct index_core *c);

/* ---- core_batch_recover.c: when a user is opened ---- */

/*
 * Does with the files what the last process did not. known: the index can be read. The caller frees
 * r, whatever is said; core_batch_recovered needs it.
 */
struct core_batch_recovery {
	struct buf text;
	struct core_batch_plan plan;
	int found;
};
enum err core_batch_recover(struct index_core *c, int known, struct core_batch_recovery *r);
/* The rest, with an index that has looked at all folders. */
enum err core_batch_recovered(struct index_core *c, struct core_batch_recovery *r);
void core_batch_recovery_free(struct core_batch_recovery *r);

#endif
