/* SPDX-License-Identifier: MIT */
#ifndef ROOST_INDEX_CORE_EXPUNGED_H
#define ROOST_INDEX_CORE_EXPUNGED_H

#include "index/core_private.h"

/*
 * Expunged messages that are kept for a while (expunge_keep), below the Maildir:
 *
 *   ..roost-expunged/INBOX/ or ..roost-expunged/.Sent/   one directory for each mailbox
 *       1790000000,<name>                               a message: when, and its name in cur/
 *       keywords                                        "1790000000,<base> $Work $Later"
 *   ..roost-expunged/purged                             its mtime: when old ones were last removed
 *
 * A message comes here by one rename, so that it is in one of the two places whatever happens, and
 * leaves for good by one unlink. It goes back as a second link, appended and synced before the
 * first is unlinked.
 */

/* Where the messages of one mailbox go. */
struct core_keep {
	struct index_core *core;
	int64_t now_s;
	int fd, keywords_fd; /* -1: not opened */
};
/* dir: the mailbox's, "" for INBOX. Close it also after an error. */
enum err core_keep_open(struct index_core *c, const char *dir, struct core_keep *k);
/*
 * Moves the file name in from_fd there. base: its name without the info part; uid and flags as they
 * are in the index. E_NOTFOUND: no such file.
 */
enum err core_keep_file(struct core_keep *k, int from_fd, const char *name, struct str base,
	uint32_t uid, unsigned flags, const struct str *keywords, size_t count);
void core_keep_close(struct core_keep *k);

/* The names of the bits that are set, borrowed from names; returns how many. */
size_t core_keywords_words(const struct index_keywords *k,
	char names[INDEX_KEYWORDS_MAX][INDEX_KEYWORD_LEN_MAX + 1],
	struct str words[INDEX_KEYWORDS_MAX]);

/* ---- deleted mailboxes ---- */

/*
 * In a mailbox's folder before it is deleted: what it was called. Its messages are kept by
 * core_keep_deleted, in the background.
 */
enum err core_keep_note(struct index_core *c, const struct core_box *box);
/*
 * Keeps up to *budget messages of the deleted folder hidden, and counts them off. OK also when it
 * has no note.
 */
enum err core_keep_deleted(struct index_core *c, const char *hidden, int *budget);

/* Removes what is older than expunge_keep, if it is time for that. */
void core_purge_step(struct index_core *c);

#endif
