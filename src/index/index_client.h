/* SPDX-License-Identifier: MIT */
#ifndef ROOST_INDEX_CLIENT_H
#define ROOST_INDEX_CLIENT_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "auth/auth_client.h"
#include "lib/buf.h"
#include "lib/conf.h"
#include "lib/err.h"
#include "lib/numset.h"
#include "lib/str.h"

/*
 * One user's mail, as sessions see it. Reading goes straight to the memory-mapped index and to the
 * message files; every change is one request to roost-index, the only writer. Blocking; one thread.
 *
 * Unless a function says otherwise it may also return E_TEMPFAIL (roost-index is down or busy:
 * answer "try again"; the next call connects again), E_IO, E_NOSPACE, E_CORRUPT (the service was
 * told and rebuilds the index; treat it as temporary).
 */

/* ---- limits ---- */
enum {
	INDEX_KEYWORDS_MAX = 128, /* different keywords in one mailbox */
	INDEX_KEYWORD_LEN_MAX = 64, /* bytes of a keyword */
	INDEX_MAILBOX_NAME_MAX = 240, /* bytes of a name in UTF-8; on disk it has at most 255 */
	INDEX_MAILBOXES_MAX = 100000,
	INDEX_METADATA_NAME_MAX = 255, /* bytes of an annotation's name */
	INDEX_METADATA_VALUE_MAX = 64 * 1024, /* bytes of its value */
	INDEX_METADATA_COUNT_MAX = 200, /* annotations of a mailbox, and of the server */
	INDEX_METADATA_TOTAL_MAX = 1 << 20, /* bytes of their names and values together */
	INDEX_ACL_IDENTIFIER_MAX = 255, /* bytes */
	INDEX_ACL_COUNT_MAX = 200, /* identifiers of a mailbox */
	INDEX_ACL_RIGHTS_SIZE = 37, /* each of a..z and 0..9 once, and a NUL */
};

/* ---- flags ---- */
enum index_flag {
	INDEX_SEEN = 1,
	INDEX_ANSWERED = 2,
	INDEX_FLAGGED = 4,
	INDEX_DELETED = 8,
	INDEX_DRAFT = 16,
	INDEX_FLAGS_ALL = 31,
};

/* Bits of a mailbox's keyword table, see index_mailbox_keywords. */
struct index_keywords {
	uint64_t bits[INDEX_KEYWORDS_MAX / 64];
};

/* RFC 6154, one bit each. */
enum index_special_use {
	INDEX_USE_ALL = 1,
	INDEX_USE_ARCHIVE = 2,
	INDEX_USE_DRAFTS = 4,
	INDEX_USE_FLAGGED = 8,
	INDEX_USE_JUNK = 16,
	INDEX_USE_SENT = 32,
	INDEX_USE_TRASH = 64,
};

/* ---- opening ---- */

struct index_user;

/*
 * For the warm parent of sessions, before its sandbox closes: sets up what each child would set up
 * again for its first message.
 */
void index_client_warm(void);
/*
 * Connects, presents user->ticket, lets the service make or refresh the tree and index, and opens
 * the index for reading. E_AUTH: the ticket was refused. Call before the sandbox closes; it
 * needs index_sandbox_allow's paths afterwards.
 */
enum err index_open(
	const struct config *conf, const struct auth_user *user, struct index_user **out);
void index_close(struct index_user **u);
/*
 * Whether the service takes the ticket as user's, and where it says his mail and index are: heap
 * strings, the caller frees them (NULL after an error). Nothing is opened. E_AUTH, E_TEMPFAIL.
 */
enum err index_ticket_places(
	const struct config *conf, const struct auth_user *user, char **maildir, char **index_dir);
/*
 * For the next session of the same user in this process: as index_open, with what was opened for
 * the last one, and with no more than a look at the connection when that is only a moment
 * ago. E_AUTH: another user, or the ticket was refused; E_STATE: the mail lies elsewhere than what
 * this process was confined to. After an error *u can only be closed.
 */
enum err index_open_again(struct index_user *u, const struct auth_user *user);
/*
 * Has the index made anew from the Maildir that now lies in its place. u can only be closed then;
 * the next index_open finds the new one.
 */
enum err index_rebuild(struct index_user *u, const char *why);
struct sandbox;
/* What a session with this user open may touch: its home and its index, nothing else. */
void index_sandbox_allow(const struct index_user *u, struct sandbox *sb);

/*
 * Takes a lock named name ("pop3") of this user, held until *fd is closed or the process ends.
 * E_CONFLICT: another process has it. The caller closes *fd.
 */
enum err index_lock(struct index_user *u, const char *name, int *fd);
/* The same for one of count places under that name, which as many processes can have at once. */
enum err index_lock_place(struct index_user *u, const char *name, unsigned count, int *fd);

/* ---- mailboxes ---- */

struct index_mailbox {
	uint32_t id;
	char *name; /* UTF-8, levels separated by '/', "INBOX" in capitals */
	uint32_t uidvalidity, uidnext;
	uint32_t messages, unseen, deleted;
	uint32_t recent_from; /* UIDs from here on are \Recent to the next claimer */
	uint64_t highest_modseq;
	uint64_t size_bytes; /* sum of the CRLF sizes */
	unsigned special_use;
	char object_id[33]; /* MAILBOXID (RFC 8474), hex */
};
void index_mailbox_free(struct index_mailbox *m);

/* By name; INBOX in any case. E_NOTFOUND. The caller frees *out (zeroed first). */
enum err index_mailbox_get(struct index_user *u, struct str name, struct index_mailbox *out);
enum err index_mailbox_get_id(struct index_user *u, uint32_t id, struct index_mailbox *out);
/* All in order of their names; cb returning other than OK stops and is returned. *m is borrowed. */
enum err index_mailbox_each(
	struct index_user *u, enum err (*cb)(const struct index_mailbox *m, void *arg), void *arg);
/* Subscribed names, existing or not (RFC 9051 6.3.9), in order. */
enum err index_subscription_each(
	struct index_user *u, enum err (*cb)(struct str name, void *arg), void *arg);

/* name as a client gave it, UTF-8. E_EXISTS; E_RANGE: not allowed as a name; E_TOOBIG. Missing
 * superior names are made too. special_use: 0 or one bit. *out may be NULL. */
enum err index_mailbox_create(
	struct index_user *u, struct str name, unsigned special_use, struct index_mailbox *out);
/* E_NOTFOUND; E_ACCESS: INBOX; E_EXISTS: it has children (only its messages could go). */
enum err index_mailbox_delete(struct index_user *u, struct str name);
/* With all inferior names. INBOX: its messages move to the new mailbox (RFC 9051 6.3.6). */
enum err index_mailbox_rename(struct index_user *u, struct str from, struct str to);
enum err index_subscribe(struct index_user *u, struct str name, int on);

/*
 * Names of the keyword bits: *names gets *count heap strings in bit order; index_names_free. An
 * empty one is of a bit that no keyword has.
 */
enum err index_mailbox_keywords(
	struct index_user *u, uint32_t mailbox, char ***names, size_t *count);
/*
 * Changes when bits that no message has any more were given back, so that they may have other names
 * than before; names that are kept are to be read anew then. Cheap.
 */
enum err index_mailbox_keywords_epoch(struct index_user *u, uint32_t mailbox, uint64_t *epoch);
void index_names_free(char ***names, size_t count);

/* ---- others' mailboxes ---- */

/*
 * From now on the mailboxes on which others have given the user rights are among his: by names
 * below the settings imap_namespace_other and imap_namespace_public, with ids of their own, for all
 * functions here. What he may not do is E_ACCESS, checked by the service. \Seen is his own in them,
 * nothing is \Recent, and they have no special use. An own mailbox that has such a name goes
 * before.
 */
void index_share(struct index_user *u);
int index_mailbox_is_shared(uint32_t mailbox);
/*
 * Whose it is: *owner is borrowed until index_close, or NULL for an own mailbox, of which nothing
 * more is said. *rights: what the user may do there (enum right of mail/rights.h) as of now.
 */
enum err index_guest_rights(
	struct index_user *u, uint32_t mailbox, const char **owner, unsigned *rights);

/* ---- reading messages ---- */

struct index_message {
	uint32_t uid;
	uint64_t modseq;
	unsigned flags; /* enum index_flag */
	struct index_keywords keywords;
	int64_t internal_date; /* seconds; 0 until index_message_facts */
	int64_t save_date;
	uint64_t size; /* RFC822.SIZE: with CRLF; UINT64_MAX until index_message_facts */
	uint64_t disk_size; /* bytes of the file */
	unsigned char email_id[16], thread_id[16];
	struct str file; /* name without the info part; borrowed from the read transaction */
};

/*
 * A read transaction: a consistent snapshot. Keep it short (a command, not longer); nested calls
 * count. Functions that read begin one by themselves when there is none. What is marked borrowed
 * lives until the matching end.
 */
enum err index_read_begin(struct index_user *u);
void index_read_end(struct index_user *u);

/* E_NOTFOUND when expunged. *out borrows from the transaction: call inside begin/end. */
enum err index_message_get(
	struct index_user *u, uint32_t mailbox, uint32_t uid, struct index_message *out);
/* Those with first <= UID <= last, rising, inside one transaction. */
enum err index_message_each(struct index_user *u, uint32_t mailbox, uint32_t first, uint32_t last,
	enum err (*cb)(const struct index_message *m, void *arg), void *arg);
/*
 * Completes m's size and internal date. Both are there for what Roost delivered; a message that was
 * adopted from another program's Maildir may have to be looked up in the file system, once.
 */
enum err index_message_facts(struct index_user *u, uint32_t mailbox, struct index_message *m);
/*
 * Completes m's email id and thread id, which a message that another program left in the Maildir
 * may not have yet: it is read then. E_NOTFOUND: message or file gone.
 */
enum err index_message_ids(struct index_user *u, uint32_t mailbox, struct index_message *m);
/* The cache record of a message if there is one already. E_NOTFOUND: none. */
enum err index_cache_peek(struct index_user *u, uint32_t mailbox, uint32_t uid, struct str *out);
/*
 * The cache record (mail/cache.h) of a message, borrowed from the transaction. If there is none the
 * message is parsed here, and the record offered to the service for the next reader; *out then
 * lives in *scratch. E_NOTFOUND: message or file gone.
 */
enum err index_cache_get(
	struct index_user *u, uint32_t mailbox, uint32_t uid, struct buf *scratch, struct str *out);

/*
 * The stored cache records of a mailbox in rising order of UIDs, several times faster than
 * index_cache_get: begin, get and end inside one read transaction. UIDs have to rise; *out is
 * borrowed from the transaction and not checked yet (mail/cache.h does that at each look).
 * E_NOTFOUND: there is no record yet; index_cache_get makes one.
 */
struct index_cache_walk;
enum err index_cache_walk_begin(
	struct index_user *u, uint32_t mailbox, struct index_cache_walk **out);
enum err index_cache_walk_get(struct index_cache_walk *w, uint32_t uid, struct str *out);
void index_cache_walk_end(struct index_cache_walk **w);

/* A message's contents, decompressed, in memory (mmap where possible). */
struct index_content {
	const char *p;
	size_t len;
	int crlf; /* 1: the file has CRLF lines throughout: what is stored is what is sent */
	int fd; /* the open file when p maps it as it is (sendfile is possible), else -1 */
	void *priv;
};
/* E_NOTFOUND when the message is gone. The caller closes it. Not tied to a transaction. */
enum err index_content_open(
	struct index_user *u, uint32_t mailbox, uint32_t uid, struct index_content *out);
void index_content_close(struct index_content *c);
/* The file as it is stored, maybe compressed, open for reading; the caller closes *fd. E_NOTFOUND.
 */
enum err index_content_file(struct index_user *u, uint32_t mailbox, uint32_t uid, int *fd);
/*
 * Says that the message will be opened soon. When one of the last was not in memory the kernel is
 * asked to read it, so that several come from the disk at once; else nothing is done.
 */
void index_content_prefetch(struct index_user *u, uint32_t mailbox, uint32_t uid);

/* ---- a view: what one client believes of its selected mailbox ---- */

struct index_view;
struct index_view_events { /* any may be NULL */
	/* Message number seq (as of now, after earlier expunges) is gone. */
	void (*expunged)(uint32_t seq, uint32_t uid, void *arg);
	void (*changed)(uint32_t seq, const struct index_message *m, void *arg);
	void (*exists)(uint32_t count, void *arg); /* once, last, if the count grew */
	/* Now and then among many: no transaction is open, so that a peer may be waited for. */
	void (*pause)(void *arg);
};
enum err index_view_open(struct index_user *u, uint32_t mailbox, struct index_view **out);
void index_view_close(struct index_view **v);
/*
 * Catches up with the mailbox. Without expunges those stay in the view, to be told by a later call
 * (RFC 9051 7.5.1: not during FETCH, STORE, SEARCH). E_NOTFOUND: the mailbox was deleted.
 */
enum err index_view_sync(
	struct index_view *v, int with_expunges, const struct index_view_events *events, void *arg);
uint32_t index_view_count(const struct index_view *v);
uint32_t index_view_uid(const struct index_view *v, uint32_t seq); /* 1..count, else 0 */
uint32_t index_view_seq(const struct index_view *v, uint32_t uid); /* 0: not in the view */
/* First seq with UID >= uid; count + 1 if none. */
uint32_t index_view_lower(const struct index_view *v, uint32_t uid);
uint64_t index_view_modseq(const struct index_view *v); /* all up to here has been told */
/* Records what the client was told otherwise (untagged FETCH of its own STORE), so that sync does
 * not repeat it. */
void index_view_told(struct index_view *v, uint32_t uid, uint64_t modseq);

/*
 * What happened in the mailbox behind the mod-sequence since, for clients that were away. *out is
 * freed first; the caller frees it also after an error.
 */
/* UIDs that exist and have a higher mod-sequence; new ones are among them. */
enum err index_changed_since(
	struct index_user *u, uint32_t mailbox, uint64_t since, struct numset *out);
/*
 * UIDs that were expunged. *complete is 0, and *out empty, when the log does not go back so far, or
 * since is above the mailbox's own mod-sequence, which then was rebuilt: any UID below UIDNEXT that
 * does not exist may have been expunged since.
 */
enum err index_vanished_since(
	struct index_user *u, uint32_t mailbox, uint64_t since, struct numset *out, int *complete);
/*
 * For a session that goes to sleep: what the view is, appended to *out. E_STATE: something was told
 * that no sync has accounted for yet; E_TOOBIG: over INDEX_VIEW_KEPT_MAX bytes, or messages.
 */
enum { INDEX_VIEW_KEPT_MAX = 64 * 1024, INDEX_VIEW_KEPT_MESSAGES_MAX = 4 * 1000 * 1000 };
enum err index_view_keep(const struct index_view *v, struct buf *out);
/*
 * The view again, of the same mailbox under its present id; the next sync tells what happened
 * meanwhile. E_PROTO: kept is not what index_view_keep wrote.
 */
enum err index_view_reopen(
	struct index_user *u, uint32_t mailbox, struct str kept, struct index_view **out);
/* Mod-sequence up to which the view has read the mailbox: where index_sleep_token's bearer begins.
 */
uint64_t index_view_read_modseq(const struct index_view *v);

/* ---- changing messages ---- */

/*
 * Messages on their way in: written to tmp/ of the folder in the stored line ends, parsed on the
 * way, synced, and then committed together: all or none (MULTIAPPEND).
 */
struct index_append;
/* As a size_hint: the quota is checked at the end only. */
#define INDEX_APPEND_UNCHECKED UINT64_MAX
/* mailbox: where it will go. E_NOTFOUND. size_hint: bytes with CRLF, 0 unknown. E_QUOTA as
 * index_quota_check. */
enum err index_append_create(
	struct index_user *u, uint32_t mailbox, uint64_t size_hint, struct index_append **out);
/* Any pieces; CRLF or LF. The first error sticks. */
enum err index_append_write(struct index_append *a, const void *p, size_t len);
/*
 * The same bytes for another user or mailbox: hard link to the first, else a copy. a must be
 * finished and not committed yet. Errors as index_append_create.
 */
enum err index_append_link(
	struct index_user *u, uint32_t mailbox, struct index_append *a, struct index_append **out);
/* End of the message: all is written. The fsync (mail_fsync) is index_append_commit's. */
enum err index_append_finish(struct index_append *a);
/* The email id (struct index_message) of a finished message. */
void index_append_email_id(const struct index_append *a, unsigned char out[16]);
struct index_append_info {
	unsigned flags;
	const char *const *keywords; /* names; may be NULL */
	size_t keyword_count;
	int64_t internal_date; /* 0: now */
};
/*
 * Gives n finished messages (of one user and mailbox) UIDs, in order. OK means on disk.
 * *uidvalidity and uids[n] are set. E_QUOTA, E_NOTFOUND (mailbox gone). They stay the caller's to
 * free in either case.
 */
enum err index_append_commit(struct index_user *u, struct index_append *const *a,
	const struct index_append_info *info, size_t n, uint32_t *uidvalidity, uint32_t *uids);
/*
 * Commits one message in place of another: the message uid of the mailbox from is expunged, both
 * or neither (RFC 8508). E_NOTFOUND: that message or the mailbox is gone; others as above.
 */
enum err index_append_replace(struct index_user *u, uint32_t from, uint32_t uid,
	struct index_append *a, const struct index_append_info *info, uint32_t *uidvalidity,
	uint32_t *new_uid);
/* Removes the tmp file unless committed. */
void index_append_free(struct index_append **a);

enum index_store_op { INDEX_STORE_ADD, INDEX_STORE_REMOVE, INDEX_STORE_REPLACE };
/*
 * Changes flags and keywords of the UIDs that exist. unchanged_since: skip messages with a higher
 * mod-sequence, put them into *conflicts (UINT64_MAX: no condition; conflicts may be NULL).
 * E_TOOBIG: too many keywords. *modseq: of the change, which no other has; 0: nothing was changed.
 */
enum err index_store(struct index_user *u, uint32_t mailbox, const struct numset *uids,
	enum index_store_op op, unsigned flags, const char *const *keywords, size_t keyword_count,
	uint64_t unchanged_since, struct numset *conflicts, uint64_t *modseq);
/* Removes those of uids (NULL: all) that have \Deleted; with force all of uids. *expunged may be
 * NULL. */
enum err index_expunge(struct index_user *u, uint32_t mailbox, const struct numset *uids, int force,
	struct numset *expunged);
/*
 * Copies or moves, all or none. src[i] became dst[i]; both are freed by the caller. E_NOTFOUND: no
 * such destination; E_QUOTA. how: INDEX_COPY_MOVE or 0, and flags that the new messages do not get.
 */
enum {
	INDEX_COPY_MOVE = 1,
	INDEX_COPY_KEYWORDS = INDEX_FLAGS_ALL + 1, /* beside flags: all keywords */
};
#define INDEX_COPY_WITHOUT(flags) ((unsigned)(flags) << 8)
struct index_copied {
	uint32_t uidvalidity;
	struct numset src, dst;
};
enum err index_copy(struct index_user *u, uint32_t from, uint32_t to, const struct numset *uids,
	unsigned how, struct index_copied *out);
/* Makes the caller the one who sees messages from *first on as \Recent (RFC 3501 2.3.2). */
enum err index_claim_recent(struct index_user *u, uint32_t mailbox, uint32_t *first);

/* ---- annotations (RFC 5464) ---- */

/*
 * Entries of a mailbox, or of the server: that is, of this user's account. Their names begin with
 * "/private/" or "/shared/" and are case-insensitive: they are kept in lower case. A value is any
 * bytes, also none; NIL is an entry that is not there. They survive a rebuild of the index, follow
 * a mailbox that is renamed (INBOX keeps them and the new mailbox gets a copy, RFC 5464 section
 * 4.1), and go with one that is deleted.
 */
enum { INDEX_METADATA_SERVER = 0 }; /* in the place of a mailbox */

struct index_metadata {
	struct str name, value;
	int is_nil; /* remove it */
};
/* E_NOTFOUND: NIL (or no such mailbox); E_RANGE: no entry can be called so. */
enum err index_metadata_get(
	struct index_user *u, uint32_t mailbox, struct str name, struct buf *value);
/* All in the order of their names; cb returning other than OK stops and is returned. */
enum err index_metadata_each(struct index_user *u, uint32_t mailbox,
	enum err (*cb)(struct str name, struct str value, void *arg), void *arg);
/*
 * All or none. E_RANGE: a bad name; E_TOOBIG: a value is over INDEX_METADATA_VALUE_MAX ([METADATA
 * MAXSIZE]); E_QUOTA: too many, or too much together ([METADATA TOOMANY]); E_NOTFOUND.
 */
enum err index_metadata_set(
	struct index_user *u, uint32_t mailbox, const struct index_metadata *list, size_t count);
/*
 * Of the last change of a mailbox's (or the server's) annotations, 0: none since the index was
 * made. Who watches is told of such a change as of any other of the mailbox (the server's: as of
 * the tree), and sees by this number that it was one. Compare with !=.
 */
enum err index_metadata_modseq(struct index_user *u, uint32_t mailbox, uint64_t *modseq);

/* ---- rights (RFC 4314) ---- */

/*
 * What is stored, no more: who an identifier is, what rights mean together, and that the owner has
 * all of them is the caller's to know. An identifier with a leading "-" takes rights away. Rights
 * are letters a..z and digits, in that order, each once. They survive and follow as annotations do,
 * but stay with INBOX alone when that is renamed.
 */
enum index_acl_op {
	INDEX_ACL_REPLACE, /* the rights may be none: the identifier is listed all the same */
	INDEX_ACL_ADD,
	INDEX_ACL_REMOVE, /* an identifier without any right left is removed */
	INDEX_ACL_DELETE, /* the identifier; rights are ignored */
};
/* In the order of the identifiers' bytes; none: nothing was set. */
enum err index_acl_each(struct index_user *u, uint32_t mailbox,
	enum err (*cb)(struct str identifier, struct str rights, void *arg), void *arg);
/* E_NOTFOUND: nothing is set for identifier (or no such mailbox). */
enum err index_acl_get(struct index_user *u, uint32_t mailbox, struct str identifier,
	char rights[INDEX_ACL_RIGHTS_SIZE]);
/*
 * E_RANGE: a bad identifier (empty, controls, no UTF-8) or rights that are none; E_TOOBIG: a long
 * identifier; E_QUOTA: INDEX_ACL_COUNT_MAX; E_NOTFOUND: no such mailbox. An identifier that is not
 * there is removed with OK. The mailbox's watchers are told.
 */
enum err index_acl_set(struct index_user *u, uint32_t mailbox, struct str identifier,
	enum index_acl_op op, struct str rights);

/* ---- URLs with an authorization (RFC 4467) ---- */

enum { INDEX_URL_TOKEN_SIZE = 67 }; /* in hex, with a NUL */
/*
 * The token of a rump URL (mail/imap_url.h) of the user's own, by the INTERNAL mechanism; m: the
 * mailbox that it is of. That gets an access key when the user has none for it, each user another.
 * Keys survive a rebuild, follow a mailbox that is renamed, and go with one that is deleted.
 * E_RANGE: no such URL, or another user's; E_NOTFOUND: no such mailbox; E_QUOTA: too many keys. Of
 * another's mailbox: E_ACCESS: the user may not read it; E_UNSUPPORTED: only as one of a group.
 */
enum err index_url_token(struct index_user *u, const struct index_mailbox *m, struct str rump,
	char token[INDEX_URL_TOKEN_SIZE]);
/*
 * The message of a URL with its token, whoever's it is, as if the owner of the URL read it. The
 * caller closes *out. E_AUTH: whatever is wrong with the URL, or who may use it.
 */
enum err index_url_open(struct index_user *u, struct str url, struct index_content *out);
/* A new access key of the user's for a mailbox; NULL: all keys are removed. E_NOTFOUND, E_QUOTA. */
enum err index_url_reset(struct index_user *u, const struct index_mailbox *m);
/* Of the last index_url_reset of a mailbox, 0: none since the index was made; its watchers are told
 * of one. */
enum err index_url_key_modseq(struct index_user *u, uint32_t mailbox, uint64_t *modseq);

/* ---- news ---- */

/* Lets the service look for changes by other programs; cheap when there are none. */
enum err index_refresh(struct index_user *u, uint32_t mailbox);
/* The same for folders that come and go, before they are listed. */
enum err index_refresh_tree(struct index_user *u);
/* Asks to be told of changes of this mailbox, 0: of all, or on = 0: no longer. */
enum err index_watch(struct index_user *u, uint32_t mailbox, int on);
/* Becomes readable when news is waiting; -1 while not connected; good until it is asked for again.
 * What changed before index_watch returned is found by a sync behind it. */
int index_watch_fd(struct index_user *u);
/* Takes the waiting news without blocking; *changed says whether any watched mailbox changed.
 * E_TEMPFAIL: the service went away; call index_watch again (connects anew). */
enum err index_watch_read(struct index_user *u, int *changed);

/*
 * Which mailboxes all those notices were of since this was last asked: *mailboxes is freed first,
 * the caller frees it; *tree: folders, subscriptions or annotations of the server may have changed,
 * or everything may have (the service has a new index).
 */
void index_watch_changed(struct index_user *u, struct numset *mailboxes, int *tree);

/*
 * Lets its bearer hear that this mailbox changed, and nothing else, when this process is gone
 * (run/index-sleep in index_proto.h). Appended to *token. E_NOTFOUND.
 */
enum err index_sleep_token(struct index_user *u, uint32_t mailbox, struct buf *token);

/* ---- quota: see the manual's chapter for what counts ---- */

struct index_quota {
	uint64_t bytes, bytes_limit, messages, messages_limit; /* limit 0: none */
};
/* The user's own. */
enum err index_quota_get(struct index_user *u, struct index_quota *out);
/*
 * Before a message is taken in: E_QUOTA when it cannot fit into the mailbox whatever becomes of its
 * line ends; OK is no promise. size_hint: bytes with CRLF, 0 unknown. E_NOTFOUND.
 */
enum err index_quota_check(struct index_user *u, uint32_t mailbox, uint64_t size_hint);
/*
 * Quota roots (RFC 9208 section 3.2) with the resources STORAGE and MESSAGE: one of the user for
 * all mailboxes that count, one for each mailbox with a limit of its own. Names are UTF-8.
 */
#define INDEX_QUOTA_ROOT_USER "User quota"
#define INDEX_QUOTA_ROOT_MAILBOX "Mailbox quota: " /* followed by the mailbox's name */
enum { INDEX_QUOTA_ROOTS_MAX = 2 };
struct index_quota_roots {
	struct index_quota_root {
		char *name;
		struct index_quota use;
	} items[INDEX_QUOTA_ROOTS_MAX];
	size_t count;
};
/* Those of a mailbox (GETQUOTAROOT); none when it does not count. The caller frees *out. */
enum err index_quota_roots(struct index_user *u, uint32_t mailbox, struct index_quota_roots *out);
void index_quota_roots_free(struct index_quota_roots *r);
/* One by its name (GETQUOTA). E_NOTFOUND: there is no such root. */
enum err index_quota_root_get(struct index_user *u, struct str name, struct index_quota *out);
/* The rules that hold for the user, those for all first (lib/quota_rules.h); the caller frees it.
 */
enum err index_quota_rules(struct index_user *u, char **out);

#endif
