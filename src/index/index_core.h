/* SPDX-License-Identifier: MIT */
#ifndef ROOST_INDEX_CORE_H
#define ROOST_INDEX_CORE_H

#include <stddef.h>
#include <stdint.h>

#include "index/index_client.h"
#include "index/index_schema.h"
#include "lib/err.h"
#include "lib/numset.h"
#include "lib/str.h"
#include "mail/imap_url.h"

/*
 * One user's Maildir and index, written. This is all of roost-index but its sockets and threads:
 * one struct index_core belongs to one thread, and only one may be open for a user at a time on a
 * machine (lib of the service sees to that).
 *
 * Functions that change something return E_IO, E_NOSPACE or E_ACCESS when the file system refuses,
 * and have then changed nothing that a client would see, unless they say otherwise. E_CORRUPT: the
 * index does not hold together; close, index_core_discard, open.
 *
 * What must be on disk before a client is told OK is collected as a list of directories:
 * index_core_sync, or index_core_sync_take to do it in another thread.
 */
struct index_core;

/* What a user may have, see the manual's chapter on quota. */
struct index_core_limits {
	uint64_t bytes, messages; /* 0: no limit */
	uint64_t grace_bytes; /* by which the last message may exceed bytes */
	const char
		*rules; /* lib/quota_rules.h; NULL: none. What cannot be read in it is left out. */
	int64_t issued; /* in seconds: limits of an earlier time are not taken over; 0: always */
};

struct index_core_options {
	const char *maildir; /* absolute */
	const char *index_dir; /* absolute */
	const char *host; /* in file names */
	const char *boot_id; /* of this boot; NULL: the system's */
	const char *const *default_mailboxes; /* ended by NULL; may be NULL */
	uint64_t map_size;
	uint64_t max_message_size; /* 0: 50 MB */
	struct index_core_limits limits;
	uint64_t modseq_floor; /* a new index begins above it; 0: as the tree says */
	int fsync;
	int64_t expunge_keep_s; /* expunged messages are kept so long; 0: not at all */
	/* After a commit. mailbox 0: the tree or the subscriptions. May be NULL. */
	void (*on_change)(uint32_t mailbox, uint64_t modseq, void *arg);
	void *arg;
};

/* Once in a process that opens indexes: see core_damage.c. */
void index_core_damage_init(void);
/* Makes the tree, and the index by scanning if there is none that can be trusted. Options are
 * copied. */
enum err index_core_open(const struct index_core_options *o, struct index_core **out);
/* From now on on_change is called, in the thread that changes something. */
void index_core_set_watcher(struct index_core *c,
	void (*on_change)(uint32_t mailbox, uint64_t modseq, void *arg), void *arg);
/*
 * Closes; clean: all is flushed and marked, so that the index survives a restart of the system.
 * What is pending stays pending.
 */
void index_core_close(struct index_core **c, int clean);
/* Removes the index so that the next open makes it anew. None may be open. */
enum err index_core_discard(const char *index_dir);
/*
 * Whether the Maildir or the index was removed or replaced while it was open: close it and open it
 * again.
 */
int index_core_is_gone(const struct index_core *c);
/*
 * Makes the index anew from the files, in the place of one that was removed or replaced: what
 * only that one had (flags whose renames were pending) goes into the file names first. *same: every
 * mailbox has the id that it had, so that those who know it by that may go on. What answers wait
 * for is carried over. After an error *c is NULL.
 */
enum err index_core_rebuild(struct index_core **c, int *same);
void index_core_set_limits(struct index_core *c, const struct index_core_limits *limits);
/* Takes max_message_size and expunge_keep_s over, which a reload may have changed; and no other. */
void index_core_set_options(struct index_core *c, const struct index_core_options *o);
/* Looks at all folders anew, whatever their times say, counts, and writes maildirsize anew. */
enum err index_core_quota_recount(struct index_core *c);
/* Another number for each file that the environment ever had. */
uint64_t index_core_generation(const struct index_core *c);

/* ---- what must be on disk ---- */

/* Directory descriptors to fsync, which the caller then owns; at most max; returns how many. Call
 * until 0. */
size_t index_core_sync_take(struct index_core *c, int *fds, size_t max);
/* The errno of a sync that had to be done before and failed, once; 0: none. Ask behind the last
 * take. */
int index_core_sync_errno(struct index_core *c);
/* Whether there is anything that an answer must wait for. */
int index_core_sync_waits(const struct index_core *c);
/* Does it here. */
enum err index_core_sync(struct index_core *c);

/* ---- background ---- */

/*
 * Does a bounded piece of what can wait: renames for changed flags, removal of deleted folders,
 * maildirsize. 1: there is more to do; 0: nothing left.
 */
int index_core_background(struct index_core *c);
uint64_t index_core_pending(struct index_core *c);
/* Removes what has lain in tmp/ of the folders for more than 36 hours (as the Maildir rules say).
 */
void index_core_clean_tmp(struct index_core *c);

/* ---- messages that nobody has parsed ---- */

/* How many there are. */
uint64_t index_core_unparsed(const struct index_core *c);
struct index_core_place {
	uint32_t mailbox, uid;
};
struct index_core_unparsed {
	uint32_t mailbox, uid;
	/* Below the Maildir: where the file was, and where it is once its pending rename is done.
	 */
	char *path, *wanted_path;
	int date_known; /* the internal date */
};
/*
 * The next ones from *at on ({0}: the first), at most max, of somewhat more than bytes_max bytes;
 * moves *at behind them. *more: this was not all, *count may be 0 all the same. The caller frees
 * each with index_core_unparsed_free. What they bring is for index_core_notes_put.
 */
enum err index_core_unparsed_take(struct index_core *c, struct index_core_place *at,
	struct index_core_unparsed *out, size_t max, uint64_t bytes_max, size_t *count, int *more);
void index_core_unparsed_free(struct index_core_unparsed *u);
/* For paths below it; the caller closes it. -1: none to be had. */
int index_core_maildir_dup(const struct index_core *c);
/* Bytes that a message may have, unfolded. */
uint64_t index_core_unfold_max(const struct index_core *c);

/* ---- mailboxes: see index_client.h for the errors ---- */

enum err index_core_create(
	struct index_core *c, struct str name, unsigned special_use, uint32_t *mailbox);
enum err index_core_delete(struct index_core *c, struct str name);
enum err index_core_rename(struct index_core *c, struct str from, struct str to);
enum err index_core_subscribe(struct index_core *c, struct str name, int on);
enum err index_core_lookup(struct index_core *c, struct str name, uint32_t *mailbox);

/* ---- messages ---- */

struct index_core_append {
	struct str tmp_name; /* in tmp/ of the folder */
	unsigned flags;
	const struct str *keywords;
	size_t keyword_count;
	uint64_t size; /* CRLF */
	uint64_t stored_size; /* before it was compressed; 0: what the file has */
	int over_quota; /* it may come in whatever the quota says */
	unsigned char email_id[16], thread_id[16];
	struct str cache;
};
/* first_uid: the n messages get consecutive UIDs. */
enum err index_core_append(struct index_core *c, uint32_t mailbox,
	const struct index_core_append *m, size_t n, uint32_t *uidvalidity, uint64_t *modseq,
	uint32_t *first_uid);

/*
 * Appends m to the mailbox and removes the message uid of the mailbox from: both, or neither with
 * an error. E_NOTFOUND: uid, too.
 */
enum err index_core_replace(struct index_core *c, uint32_t from, uint32_t uid, uint32_t mailbox,
	const struct index_core_append *m, uint32_t *uidvalidity, uint64_t *modseq,
	uint32_t *new_uid);

struct index_core_store {
	const struct numset *uids;
	enum index_store_op op;
	unsigned flags;
	const struct str *keywords;
	size_t keyword_count;
	uint64_t unchanged_since;
	unsigned keep; /* flags that REPLACE leaves as they are */
	int keep_keywords; /* the same of keywords */
};
enum err index_core_store(struct index_core *c, uint32_t mailbox, const struct index_core_store *s,
	struct numset *conflicts, uint64_t *modseq);
/* uids NULL: all. A file that cannot be removed stays, and its message too. */
enum err index_core_expunge(struct index_core *c, uint32_t mailbox, const struct numset *uids,
	int force, struct numset *expunged, uint64_t *modseq);

struct index_core_pair {
	uint32_t src, dst;
};
/* how: as index_copy. *pairs is on the heap, the caller frees it. UIDs that do not exist are left
 * out. */
enum err index_core_copy(struct index_core *c, uint32_t from, uint32_t to,
	const struct numset *uids, unsigned how, uint32_t *uidvalidity,
	struct index_core_pair **pairs, size_t *count);
enum err index_core_claim_recent(struct index_core *c, uint32_t mailbox, uint32_t *first);
enum err index_core_cache_put(
	struct index_core *c, uint32_t mailbox, uint32_t uid, struct str blob);
/* size INDEX_SIZE_UNKNOWN, date 0, NULL ids: leave what is there. */
/*
 * What readers found out, many at once in one transaction; of messages that are gone it is dropped.
 */
struct index_core_note {
	uint32_t mailbox, uid;
	struct str blob; /* cache record; empty: none */
	int has_facts; /* the others are set; zeros are unknown */
	uint64_t size;
	int64_t date;
	unsigned char email_id[16], thread_id[16];
};
enum err index_core_notes_put(
	struct index_core *c, const struct index_core_note *notes, size_t count);
/* Path below the Maildir. Looks, and takes in what it finds. E_NOTFOUND. */
enum err index_core_locate(struct index_core *c, uint32_t mailbox, uint32_t uid, struct buf *path);

/* ---- annotations and rights: index_client.h for the errors ---- */

enum err index_core_metadata_set(
	struct index_core *c, uint32_t mailbox, const struct index_metadata *list, size_t count);
enum err index_core_acl_set(struct index_core *c, uint32_t mailbox, struct str identifier,
	enum index_acl_op op, struct str rights);

/* ---- URLs with an authorization (RFC 4467): see index_client.h ---- */

/* Which mailbox of another's it is of whom the user has a key. Borrowed. */
enum { INDEX_OBJECT_ID_TEXT = 33, INDEX_URL_OWNER_MAX = 400 };
struct index_url_box {
	struct str owner; /* his address */
	struct str object_id; /* in hex */
};
typedef void index_url_box_fn(const struct index_url_box *b, void *arg);
int index_url_box_is_sound(const struct index_url_box *b);

/*
 * The token of a rump URL of the user's own, in hex. shared (sound): it is of this mailbox, and the
 * caller knows that; NULL: of one of his own. E_NOTFOUND: no such mailbox, or not under this
 * UIDVALIDITY; E_QUOTA: too many keys.
 */
enum err index_core_url_token(struct index_core *c, const struct imap_url *url,
	const struct index_url_box *shared, char token[INDEX_URL_TOKEN_SIZE]);
/*
 * Opens the file of the message that the URL is of, if its token is right and the user himself may
 * read it now. E_AUTH: whatever is wrong with it. When it ends and who may use it is the caller's
 * to check, and the caller closes *fd. shared: of which mailbox it is when it is of none of the
 * user's own (or NULL); then *fd is -1, and what index_core_url_look opened is what the URL gives.
 */
enum err index_core_url_open(struct index_core *c, const struct imap_url *url,
	const struct index_url_box *shared, int *fd);
/*
 * For a URL of a guest's, of the user's mailbox of that name: its object id, and the file of the
 * message, which the caller closes. E_AUTH: there is none, or the guest may not read it (as below).
 */
enum err index_core_url_look(struct index_core *c, const struct imap_url *url, struct str mailbox,
	const char *guest, char object_id[INDEX_OBJECT_ID_TEXT], int *fd);
/*
 * Whether the guest may read the mailbox, whichever groups he is in: with what is given to himself
 * or to everybody, and not taken from any group.
 */
int index_core_url_guest_may(struct index_core *c, uint32_t mailbox, const char *guest);
/* Takes as long as a look at a token, for a URL of somebody who is not there. */
void index_core_url_pretend(const struct imap_url *url);
/* Another key for one of the user's own mailboxes. E_NOTFOUND, E_QUOTA. */
enum err index_core_url_reset(struct index_core *c, struct str mailbox);
/* For one of another's. E_QUOTA. */
enum err index_core_url_reset_shared(struct index_core *c, const struct index_url_box *shared);
/* Removes all keys; gone is called for each of others' mailboxes that had one. */
enum err index_core_url_reset_all(struct index_core *c, index_url_box_fn *gone, void *arg);
/* Whether the user has any keys. */
int index_core_url_any(struct index_core *c);

/* ---- expunged messages that are kept ---- */

struct index_undelete {
	struct str mailbox; /* empty: all */
	int64_t since; /* expunged then or later, in seconds */
	uint32_t uid; /* that they had; 0: all */
	size_t max; /* messages in one go */
};
struct index_expunged {
	struct str mailbox;
	uint32_t uid, new_uid; /* new_uid 0: not put back */
	int64_t expunged, internal_date;
	uint64_t bytes;
	unsigned flags;
};
typedef void index_expunged_fn(const struct index_expunged *x, void *arg);
/* In the order of mailboxes' folders and UIDs. *more: max was reached. */
enum err index_core_expunged_each(struct index_core *c, const struct index_undelete *what,
	index_expunged_fn *fn, void *arg, int *more);
/*
 * Puts them back, with new UIDs, flags, keywords and internal dates; a mailbox that is gone is made
 * anew. fn is told of each. After an error (E_QUOTA, E_NOSPACE) those that it was told of are back,
 * unless the error is E_IO: then they may also be where they were. OK means on disk.
 */
enum err index_core_undelete(struct index_core *c, const struct index_undelete *what,
	index_expunged_fn *fn, void *arg, int *more);
/* Removes those that were expunged before; returns how many. */
uint64_t index_core_purge(struct index_core *c, int64_t before_s);

/* ---- checking; the list of what is checked is in doc/storage.md ---- */

struct index_fsck_finding {
	const char *check; /* a word: "counts" */
	const char *mailbox; /* NULL: of the user */
	const char *detail;
	int mended;
};
typedef void index_fsck_fn(const struct index_fsck_finding *x, void *arg);
/*
 * The folders, subscriptions and special uses; a mailbox; what all of them add up to: in this
 * order. fn is told of each finding; with repair it is mended if it can be. OK: it was looked
 * through. E_NOTFOUND: no such mailbox.
 */
enum err index_core_fsck_tree(struct index_core *c, int repair, index_fsck_fn *fn, void *arg);
enum err index_core_fsck_mailbox(
	struct index_core *c, uint32_t mailbox, int repair, index_fsck_fn *fn, void *arg);
enum err index_core_fsck_totals(struct index_core *c, int repair, index_fsck_fn *fn, void *arg);

/* ---- changes by other programs ---- */

/* mailbox 0: the tree and all mailboxes. E_NOTFOUND. */
enum err index_core_refresh(struct index_core *c, uint32_t mailbox);
/* Whether a refresh of the mailbox would read very many names. */
int index_core_look_is_long(struct index_core *c, uint32_t mailbox);
/* Only which folders there are. */
enum err index_core_refresh_tree(struct index_core *c);
/* The last look came upon a young folder without its cur/: no event tells when that is made. */
int index_core_tree_is_half_made(const struct index_core *c);
/* All mailboxes in the order of their names, INBOX first; the caller frees *ids. */
enum err index_core_mailboxes(struct index_core *c, uint32_t **ids, size_t *count);
/* The mailbox's HIGHESTMODSEQ; 0: there is no such mailbox, or it cannot be read. */
uint64_t index_core_modseq(struct index_core *c, uint32_t mailbox);
/* Absolute path of the mailbox's folder; the caller frees it. */
enum err index_core_folder_path(struct index_core *c, uint32_t mailbox, char **path);

void index_core_quota(const struct index_core *c, struct index_quota *out);

#endif
