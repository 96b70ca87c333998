/* SPDX-License-Identifier: MIT */
#ifndef ROOST_INDEX_SCHEMA_H
#define ROOST_INDEX_SCHEMA_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <lmdb.h>

#include "index/index_client.h"
#include "lib/buf.h"
#include "lib/conf.h"
#include "lib/err.h"
#include "lib/str.h"

/*
 * The LMDB environment of one user: what roost-index writes and sessions read. Disposable: whatever
 * does not decode is E_CORRUPT and leads to a rebuild from the Maildir, never to a crash.
 *
 * Numbers in keys are big-endian, so that LMDB's order is the numeric one; values are in the
 * machine's byte order (an index never leaves its machine).
 */

enum { INDEX_SCHEMA_VERSION = 5 };

enum index_db {
	/* "state" -> index_state; "rules" -> the quota's rules as text; u8 enum index_meta, u32
	   mailbox -> u64 */
	INDEX_DB_META,
	INDEX_DB_MAILBOX, /* u32 mailbox -> mailbox record */
	INDEX_DB_MAILBOX_NAME, /* name in UTF-8 ("INBOX" in capitals) -> u32 mailbox */
	INDEX_DB_SUBSCRIPTION, /* name in UTF-8 -> nothing */
	INDEX_DB_KEYWORD, /* u32 mailbox, u8 bit -> keyword's name */
	INDEX_DB_MESSAGE, /* u32 mailbox, u32 uid -> message record */
	INDEX_DB_CHANGE, /* u32 mailbox, u64 modseq, u32 uid -> u8 enum index_change */
	INDEX_DB_CACHE, /* u32 mailbox, u32 uid -> cache record (mail/cache.h), opaque here */
	INDEX_DB_PENDING, /* u32 mailbox, u32 uid -> nothing: the file's name is to be brought up to
			     date */
	INDEX_DB_COUNT
};

/* Numbers of a mailbox beside its record, absent when zero; none is the first letter of another
 * key. */
enum index_meta {
	INDEX_META_ENTRIES = 'm', /* modseq of the last change of its annotations */
	INDEX_META_KEYWORDS = 'k', /* modseq when bits of keywords were last given back */
	INDEX_META_URL_KEY = 'u', /* modseq when its access key (RFC 4467) was last reset */
	/* Of a guest's index (core_guest.h): his rights, and the owner's modseq up to which it
	   follows. */
	INDEX_META_RIGHTS = 'G',
	INDEX_META_FOLLOWED = 'F',
};

/* ---- keys ---- */

enum { INDEX_KEY_MAX = 16 };
struct index_key {
	unsigned char p[INDEX_KEY_MAX];
	size_t len;
};
struct index_key index_key_u32(uint32_t mailbox);
struct index_key index_key_meta(enum index_meta what, uint32_t mailbox);
struct index_key index_key_keyword(uint32_t mailbox, unsigned bit);
struct index_key index_key_message(uint32_t mailbox, uint32_t uid); /* cache and pending too */
struct index_key index_key_change(uint32_t mailbox, uint64_t modseq, uint32_t uid);
MDB_val index_key_val(struct index_key *k); /* borrows *k */
enum err index_key_get_u32(const MDB_val *v, uint32_t *mailbox); /* E_CORRUPT, as the others */
enum err index_key_get_keyword(const MDB_val *v, uint32_t *mailbox, unsigned *bit);
enum err index_key_get_message(const MDB_val *v, uint32_t *mailbox, uint32_t *uid);
enum err index_key_get_change(const MDB_val *v, uint32_t *mailbox, uint64_t *modseq, uint32_t *uid);

/* ---- meta "state" ---- */

struct index_state {
	uint32_t version; /* INDEX_SCHEMA_VERSION */
	uint64_t modseq; /* the last one given */
	uint32_t next_mailbox;
	uint32_t last_uidvalidity; /* never goes back */
	uint64_t messages, bytes; /* all mailboxes, bytes of the files (S= of their names) */
	uint64_t ignored_messages, ignored_bytes; /* of these, what the quota does not count */
	uint64_t unparsed; /* messages without an email id: their content was never looked at */
	uint64_t messages_limit, bytes_limit; /* 0: none; as the last ticket said */
	uint64_t grace_bytes; /* by which the last message may exceed bytes_limit */
	int64_t quota_issued; /* when that ticket was made, in seconds: an older one changes nothing
			       */
	int64_t tree_mtime_ns; /* of the Maildir's directory when the folders were last listed */
};
void index_state_encode(const struct index_state *s, struct buf *out);
enum err index_state_decode(const MDB_val *v, struct index_state *out);

/* ---- mailbox ---- */

struct index_mailbox_record {
	uint32_t id;
	uint32_t uidvalidity, uidnext;
	uint32_t messages, unseen, deleted, recent_from;
	uint32_t unparsed; /* see index_state */
	uint32_t special_use; /* one bit of enum index_special_use, or 0 */
	uint64_t highest_modseq;
	uint64_t size_bytes; /* sum of the CRLF sizes, of the file's size where that is not known
				yet */
	uint64_t disk_bytes; /* sum of the files' sizes */
	/*
	 * vanished entries of the change log are complete from here on (exclusive): whoever knows
	 * the mailbox only up to an older modseq compares all UIDs instead.
	 */
	uint64_t vanished_floor;
	uint32_t vanished; /* vanished entries in the log */
	uint32_t uid_floor; /* UIDs below may be given without writing roost-uidvalidity */
	int64_t new_mtime_ns,
		cur_mtime_ns; /* of the directories, at the last full look; 0: look again */
	unsigned char object_id[16];
	/* What the quota's rules make of it (lib/quota_rules.h). */
	uint32_t quota_ignore; /* 1: does not count */
	uint64_t quota_more_bytes, quota_more_messages; /* on top of the user's limits */
	uint64_t quota_max_bytes, quota_max_messages; /* of this mailbox alone; 0: none */
	struct str name; /* UTF-8; borrowed */
	struct str dir; /* below the Maildir: "" for INBOX, ".Sent", ".A.B"; borrowed */
};
void index_mailbox_encode(const struct index_mailbox_record *m, struct buf *out);
enum err index_mailbox_decode(const MDB_val *v, struct index_mailbox_record *out);

/*
 * Whether so much more may come into the mailbox: OK or E_QUOTA. moved: it is in one of the user's
 * mailboxes now that counts, so that only a limit of the mailbox itself can stand against it.
 */
enum err index_quota_fits(const struct index_state *s, const struct index_mailbox_record *m,
	uint64_t bytes, uint64_t messages, int moved);

/* ---- message ---- */

#define INDEX_SIZE_UNKNOWN UINT64_MAX

struct index_message_record {
	uint64_t modseq;
	unsigned flags; /* enum index_flag */
	int in_new; /* the file is in new/, else in cur/ */
	struct index_keywords keywords;
	int64_t internal_date; /* seconds; 0: not looked up yet, it is the file's mtime */
	int64_t save_date;
	uint64_t size; /* CRLF; INDEX_SIZE_UNKNOWN: read the file */
	uint64_t disk_size; /* bytes of the file */
	unsigned char email_id[16], thread_id[16]; /* zeros: not known yet */
	struct str name; /* as the file is called on disk now, info part too; borrowed */
	size_t base_len; /* of name, without the info part (":2,S") */
};
void index_message_encode(const struct index_message_record *m, struct buf *out);
enum err index_message_decode(const MDB_val *v, struct index_message_record *out);
/* Appends "DIR/cur/NAME" ("cur/NAME" for INBOX): where the file was when the record was written. */
void index_message_path(struct str dir, const struct index_message_record *m, struct buf *out);
/*
 * Appends where the file will be once its pending rename is done: try it when the first is not
 * there, then ask with LOCATE.
 */
void index_message_wanted_path(
	struct str dir, const struct index_message_record *m, uint32_t uid, struct buf *out);
/* Appends the base that the name of the message's file is to have: with its UID. */
void index_message_wanted_base(const struct index_message_record *m, uint32_t uid, struct buf *out);

/* Whether nobody has parsed it yet. */
int index_message_is_unparsed(const struct index_message_record *m);

/* ---- change ---- */

enum index_change {
	INDEX_CHANGE_CHANGED = 1, /* exists and has this modseq (new messages too) */
	INDEX_CHANGE_VANISHED = 2,
};

/* ---- the environment ---- */

struct index_env {
	MDB_env *env;
	MDB_dbi dbi[INDEX_DB_COUNT];
	int writable;
	dev_t lock_dev; /* of lock.mdb as it was opened */
	ino_t lock_ino;
};
/*
 * dir exists. Read-only (MDB_RDONLY | MDB_NOTLS): E_NOTFOUND when there is no index yet; E_CORRUPT.
 * Writable (MDB_NOSYNC | MDB_NOTLS): made when missing; map_size is the setting index_map_size.
 * One process must open an environment only once at a time.
 */
enum err index_env_open(const char *dir, int writable, uint64_t map_size, struct index_env **out);
void index_env_close(struct index_env **e);
/*
 * Another number for each file that an environment of a user ever had; the same in all processes
 * that have it open. 0: it cannot be had.
 */
uint64_t index_env_generation(const struct index_env *e);
/* Of the file that lies there. */
uint64_t index_env_generation_at(const char *dir);
/* Whether the files below dir are others than those that are open here, or gone. */
int index_env_is_replaced(const struct index_env *e, const char *dir);
/*
 * Begins a transaction; adopts a map that another process has grown (MDB_MAP_RESIZED), for which no
 * other transaction of this process may be open then.
 */
enum err index_env_begin(struct index_env *e, int write, MDB_txn **out);
/* Doubles the map; no transaction of this process may be open. E_NOSPACE: address space. */
enum err index_env_grow(struct index_env *e);
/*
 * The err for LMDB's code; logs all but OK and E_NOTFOUND. E_STATE: the map is full; the writer
 * grows it and does the transaction again.
 */
enum err index_err_of_mdb(int rc, const char *what);

/* ---- paths ---- */

/*
 * Where a user's mail and index are: home/Maildir and home/index; with the setting index_dir
 * INDEX_DIR/<home below mail_dir>/index. Heap strings, the caller frees them. E_RANGE: home is not
 * an absolute path below mail_dir, or has ".." in it.
 */
enum err index_paths(const struct config *conf, const char *home, char **maildir, char **index_dir);

#endif
