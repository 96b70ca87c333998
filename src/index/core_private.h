/* SPDX-License-Identifier: MIT */
#ifndef ROOST_INDEX_CORE_PRIVATE_H
#define ROOST_INDEX_CORE_PRIVATE_H

#include <dirent.h>
#include <sys/types.h>

#include "index/entry_file.h"
#include "index/core_files.h"
#include "index/core_name.h"
#include "index/index_core.h"
#include "index/maildir_name.h"
#include "lib/quota_rules.h"

/* What the core_*.c files share. */

enum {
	CORE_MODSEQ_CHUNK = 1 << 20, /* the same for mod-sequences */
	CORE_VANISHED_MAX = 100000, /* vanished entries kept per mailbox */
	CORE_FULL_LOOK_S = 600, /* a folder is read anew at least this often */
	CORE_RENAMES_PER_STEP = 256,
	CORE_UNPARSED_LOOK = 20000, /* records looked at in one step */
	CORE_UNLINKS_PER_STEP = 512,
	CORE_PURGE_EVERY_S = 3600,
	CORE_SYNC_DIRS_MAX = 256, /* that wait for an answer; more are synced at once */
	CORE_TEXT_FILE_MAX = 16 << 20, /* of our small files in a folder */
};

/* Where roostctl fsck puts what is no message. */
#define CORE_LOST_DIR "..roost-lost"
/* Expunged messages that are kept: core_expunged.h. */
#define CORE_EXPUNGED_DIR "..roost-expunged"
#define CORE_EXPUNGED_INBOX "INBOX"
#define CORE_EXPUNGED_KEYWORDS "keywords"
#define CORE_EXPUNGED_PURGED "purged"

/* What is remembered of a mailbox while the core is open. */
struct core_box_memory {
	uint32_t id;
	int64_t full_look_s; /* monotonic, of the last full look; 0: none yet */
	int new_uncertain; /* new/ was changed by us since it was read */
	int unsynced; /* files were renamed or removed, and nothing waits for that on disk */
	int uidlist_check, uidlist_tries; /* see core_uidlist.h */
	int64_t look_end_us, look_cost_us; /* of the last look at new/: its end, how long it took */
};

struct core_sync_dir {
	dev_t dev;
	ino_t ino;
	int fd;
};

enum core_batch_state { CORE_BATCH_NONE, CORE_BATCH_OPEN, CORE_BATCH_DONE };
enum { CORE_BATCH_FDS = 5 };

struct index_core {
	char *maildir, *index_dir, *host, *boot_id;
	char *damage_path; /* core_damage.c */
	char **default_mailboxes;
	uint64_t map_size;
	uint64_t unfold_max; /* bytes that a compressed file may unfold to */
	int fsync;
	int64_t expunge_keep_s; /* 0: expunged messages are gone */
	int64_t purge_look_ms; /* monotonic, of the last look at them; 0: none yet */
	void (*on_change)(uint32_t mailbox, uint64_t modseq, void *arg);
	void *arg;
	int maildir_fd;
	struct index_env *env;
	struct index_state state; /* as committed */
	int building; /* nobody sees the index yet, and what is half made is thrown away */
	int sync_together; /* while many folders are taken over: one sync at the end */
	int clean_marked; /* the file "clean" exists: to be removed before the first change */
	uint64_t modseq_floor; /* that INBOX's roost-uidvalidity has; 0: none */
	uint64_t counter; /* for unique names */
	int64_t quota_bytes_delta, quota_messages_delta; /* not in maildirsize yet */
	int quota_file_stale; /* maildirsize is to be written anew */
	int sizes_count; /* there is a limit of bytes: no message counts as 0 for a while */
	char *rules_text;
	struct quota_rules rules;
	struct core_sync_dir *sync;
	size_t sync_count, sync_cap;
	int sync_errno; /* of a sync that was done at once and failed; 0: none */
	struct core_box_memory *memory;
	size_t memory_count, memory_cap;
	/* By mailbox: places in memory, from 1; 0: free. A power of two, at most half of it used.
	 */
	uint32_t *memory_slots;
	size_t memory_slot_count;
	/* core_batch.h: the directories that it changed, until they are on disk. */
	enum core_batch_state batch;
	int batch_fds[CORE_BATCH_FDS];
	size_t batch_fd_count;
	char *deleted_dir; /* a folder being removed, or NULL */
	int more_deleted; /* look for others */
	int tree_half_made; /* a folder was, at the last look */
	int64_t skipped_mtime_ns; /* of the Maildir when its odd folders were logged last */
};

/* Copies that outlive changes in the transaction. */
struct core_box {
	struct index_mailbox_record r;
	char name[INDEX_MAILBOX_NAME_MAX + 1], dir[MAILDIR_NAME_MAX + 1];
};
struct core_message {
	struct index_message_record r;
	char name[MAILDIR_NAME_MAX + 1];
};

/* core_damage.c: from here on the thread is in the index that path belongs to; NULL: in none. */
void core_damage_watch(const char *path);

/* ---- core_tx.c: transactions ---- */

struct core_changed {
	uint32_t mailbox;
	uint64_t modseq;
};
struct core_tx {
	struct index_core *core;
	MDB_txn *txn;
	struct index_state state;
	uint64_t modseq; /* of all changes of this transaction; 0: none yet */
	struct core_changed *changed;
	size_t changed_count;
	struct buf buf;
};
typedef enum err core_step(struct core_tx *tx, void *arg);
/*
 * Runs step in a write transaction and commits when it says OK; else nothing has changed. When
 * the map is full it grows and step runs again from its beginning.
 */
enum err core_run(struct index_core *c, core_step *step, void *arg);
/* The same for reading; what step changes is an error. */
enum err core_read(struct index_core *c, core_step *step, void *arg);

uint64_t core_tx_modseq(struct core_tx *tx);
void core_tx_note(struct core_tx *tx, uint32_t mailbox);
enum err core_tx_get(struct core_tx *tx, enum index_db db, struct index_key k, MDB_val *v);
enum err core_tx_put(
	struct core_tx *tx, enum index_db db, struct index_key k, const void *p, size_t len);
/* A key that is not there is OK. */
enum err core_tx_del(struct core_tx *tx, enum index_db db, struct index_key k);
/* Removes all keys that begin with mailbox's number. */
enum err core_tx_del_mailbox(struct core_tx *tx, enum index_db db, uint32_t mailbox);
enum err core_tx_next(MDB_cursor *cur, MDB_val *k, MDB_val *v, MDB_cursor_op op);

enum err core_box_get(struct core_tx *tx, uint32_t mailbox, struct core_box *out);
enum err core_box_put(struct core_tx *tx, const struct core_box *b);
enum err core_box_find(struct core_tx *tx, struct str name, struct core_box *out);
void core_box_set_name(struct core_box *b, struct str name, struct str dir);
/* In the order of names; stops at an error. The list is on the heap, the caller frees it. */
enum err core_box_list(struct core_tx *tx, struct core_box **out, size_t *count);

enum err core_message_get(
	struct core_tx *tx, uint32_t mailbox, uint32_t uid, struct core_message *out);
void core_message_set_name(struct core_message *m, struct str name, size_t base_len);
enum err core_message_copy(const MDB_val *v, struct core_message *out);
/*
 * These keep counts, change log and totals. The caller puts the box at the end. add sets
 * m->r.modseq. change: with bump the message gets a new modseq.
 */
enum err core_message_add(
	struct core_tx *tx, struct core_box *b, uint32_t uid, struct core_message *m);
enum err core_message_change(struct core_tx *tx, struct core_box *b, uint32_t uid,
	const struct core_message *old, struct core_message *m, int bump);
enum err core_message_remove(
	struct core_tx *tx, struct core_box *b, uint32_t uid, const struct core_message *old);
enum err core_pending_put(struct core_tx *tx, uint32_t mailbox, uint32_t uid);
/* Whether the file's name says something else than the record, or not yet its UID. */
int core_message_is_stale(const struct core_message *m, uint32_t uid);

/* The counts of the mailbox and the user's totals; sign 1: it comes, -1: it goes. */
void core_message_account(
	struct core_tx *tx, struct core_box *b, const struct index_message_record *m, int sign);

/*
 * core_bulk.c: as core_message_add, for many in the rising order of their UIDs. End it in the same
 * transaction, before the box is put, whatever begin and add said.
 */
struct core_bulk_db {
	MDB_cursor *cur;
	unsigned put_flags;
};
struct core_bulk {
	struct core_bulk_db message, change, pending;
	size_t count;
};
enum err core_bulk_begin(
	struct core_tx *tx, const struct core_box *b, uint32_t first_uid, struct core_bulk *out);
/* stale: see core_message_is_stale. */
enum err core_bulk_add(struct core_tx *tx, struct core_bulk *bulk, struct core_box *b, uint32_t uid,
	struct index_message_record *r, int stale);
void core_bulk_end(struct core_bulk *bulk);

/* core_store.c: calls fn for the messages of the set (NULL: all), rising. fn may change and remove.
 */
typedef enum err core_message_fn(
	struct core_tx *tx, struct core_box *b, uint32_t uid, struct core_message *m, void *arg);
enum err core_each(struct core_tx *tx, struct core_box *b, const struct numset *uids,
	core_message_fn *fn, void *arg);
/* core_append.c: the name of a message that comes in: sets name, save_date and in_new. */
void core_final_name(struct index_core *c, uint32_t uid, struct core_message *m);

/*
 * core_copy.c: a hard link, or where there can be none a copy, in the directory of a folder.
 * E_NOTFOUND: src is not there.
 */
enum err core_copy_link(struct index_core *c, int src_dir, const char *src, const char *folder,
	int dst_dir, const char *dst);
/*
 * A copy of a file in another directory, synced, with its times; by way of tmp_dir, under the same
 * name.
 */
enum err core_copy_bytes(struct index_core *c, int src_dir, const char *src, int tmp_dir,
	int dst_dir, const char *dst);
/* core_pending.c: renames that are waiting, a step of them. 1: there were some. */
int core_rename_step(struct index_core *c);

/* ---- core_dir.c: directories ---- */

enum core_sub { CORE_NEW, CORE_CUR, CORE_TMP, CORE_TOP };
/* Opens a folder's directory; *fd is the caller's. */
enum err core_dir_open(struct index_core *c, const char *dir, enum core_sub sub, int *fd);
/* Remembers that the directory must be synced before the next answer; takes nothing over. */
void core_sync_note(struct index_core *c, int fd);
int64_t core_dir_mtime_ns(int fd);
/* The same without opening it; 0 when it cannot be had. */
int64_t core_dir_mtime_at(struct index_core *c, const char *dir, enum core_sub sub);
/* Bytes that the directory's own entries take; 0 when it cannot be had. */
int64_t core_dir_size_at(struct index_core *c, const char *dir, enum core_sub sub);
/* Heap path of a file in a folder; file may be NULL. */
char *core_dir_path(struct index_core *c, const char *dir, const char *file);
/* Makes a folder with new, cur, tmp (and maildirfolder unless it is INBOX). Existing parts stay. */
enum err core_dir_make(struct index_core *c, const char *dir);
/* Made when there is none yet. Holds until the next call. */
struct core_box_memory *core_memory(struct index_core *c, uint32_t mailbox);
int64_t core_now_s(void);
/*
 * The times of files tick every few milliseconds only: what happened within the same tick as the
 * last look does not show, so a time as fresh as that is not to be believed.
 */
int core_time_is_fresh(int64_t mtime_ns);

/*
 * Around changes of ours in a folder: afterwards its recorded times are those that our change left,
 * so that it is not read anew for that, unless somebody else had changed it before.
 */
struct core_touch {
	int fd[2]; /* new, cur; -1: not opened */
	int clean[2];
};
enum err core_touch_begin(struct index_core *c, const struct core_box *b, int with_new,
	int with_cur, struct core_touch *t);
void core_touch_end(struct index_core *c, struct core_touch *t, struct core_box *b);
void core_touch_close(struct core_touch *t);

/* ---- core_folder.c: the small text files of a folder ---- */

struct core_uid_file {
	uint32_t uidvalidity, next_uid, mailbox_id;
	unsigned char object_id[16];
	/* INBOX's file: no mailbox of the user had a higher UIDVALIDITY, now gone; 0: not said. */
	uint32_t last_uidvalidity;
	/* INBOX's file: no mod-sequence above it was ever given; 0: not said. */
	uint64_t modseq_floor;
};
/* E_NOTFOUND: none; E_CORRUPT: not usable. */
enum err core_uid_file_read(struct index_core *c, const char *dir, struct core_uid_file *out);
enum err core_uid_file_write(struct index_core *c, const char *dir, const struct core_uid_file *f);
/* Makes room for n more UIDs: raises the floor on disk when needed. Changes b, not the index. */
enum err core_uid_reserve(struct index_core *c, struct core_box *b, size_t n);
/* Before mod-sequences up to modseq are given: raises their floor on disk when needed. */
enum err core_modseq_reserve(struct index_core *c, uint64_t modseq);
/* Writes a text file of the folder so that a crash leaves the old or the new one. */
enum err core_text_write(struct index_core *c, const char *dir, const char *file, struct str text);
/* The same for what changes often: it is on disk before the next answer, not before this returns.
 */
enum err core_text_write_soon(
	struct index_core *c, const char *dir, const char *file, struct str text);
enum err core_text_read(struct index_core *c, const char *dir, const char *file, struct buf *out);

/* ---- core_metadata.c: files of names and values (entry_file.h) ---- */

/* No file: an empty list. A file that is none of ours is renamed to FILE.bad. */
enum err core_entries_read(
	struct index_core *c, const char *dir, const char *file, struct entry_list *out);
enum err core_entries_write(
	struct index_core *c, const char *dir, const char *file, const struct entry_list *l);
enum err core_entries_copy(
	struct index_core *c, const char *from, const char *to, const char *file);

/* core_urlauth.c: the mailbox is gone, and with it its access key. */
void core_url_forget(struct index_core *c, const struct core_box *box);

/* core_keywords.c */
/*
 * Bits for names; with make, new ones are given bits (and the folder's file is written before).
 * E_TOOBIG: more than INDEX_KEYWORDS_MAX; E_RANGE: no keyword. Without make unknown names are left
 * out.
 */
enum err core_keywords_resolve(struct core_tx *tx, const struct core_box *b,
	const struct str *names, size_t n, int make, struct index_keywords *out);
/*
 * For a caller that got E_TOOBIG: gives back the bits that no message of the mailbox has. Returns
 * whether there were any: then it is worth trying again.
 */
int core_keywords_reclaim(struct index_core *c, uint32_t mailbox);
enum err core_keywords_get(struct core_tx *tx, uint32_t mailbox,
	char names[INDEX_KEYWORDS_MAX][INDEX_KEYWORD_LEN_MAX + 1]);
/* Reads the folder's file into the index. */
enum err core_keywords_load(struct core_tx *tx, const struct core_box *b);
/* roost-keywords-more: all of the index into the file; and back for messages that have nothing yet.
 */
enum err core_keywords_more_write(struct core_tx *tx, const struct core_box *b);
/* What belongs into the two files. */
enum err core_keywords_format(struct core_tx *tx, const struct core_box *b, struct buf *out);
enum err core_keywords_more_format(struct core_tx *tx, const struct core_box *b, struct buf *out);
enum err core_keywords_more_load(struct core_tx *tx, struct core_box *b);
int core_keywords_has_more(const struct index_keywords *k);
int core_keyword_is_valid(struct str s);

/* ---- core_tree.c ---- */

/* Takes a folder that is on disk into the index. */
enum err core_tree_adopt(
	struct core_tx *tx, const char *name, const char *dir, struct core_box *out);
enum err core_tree_forget(struct core_tx *tx, const struct core_box *b);
/* The folder has another name already: now the mailbox has. Sets b's. */
enum err core_box_rename(struct core_tx *tx, struct core_box *b, const char *name, const char *dir);
/* Compares the folders on disk with the index. force: even if the directory looks unchanged. */
enum err core_tree_look(struct index_core *c, int force);
enum err core_subscriptions_load(struct core_tx *tx);
enum err core_subscriptions_write(struct core_tx *tx);
enum err core_subscriptions_format(struct core_tx *tx, struct buf *out);
enum err core_special_use_load(struct core_tx *tx, int *found);
enum err core_special_use_write(struct core_tx *tx);

/* ---- core_scan.c ---- */

enum err core_scan(struct index_core *c, uint32_t mailbox, int force);
/* What a full look would find; nothing is changed. */
struct core_scan_counts {
	size_t added, changed, gone;
};
enum err core_scan_count(struct index_core *c, uint32_t mailbox, struct core_scan_counts *out);

/* ---- core_gzip.c ---- */

/*
 * What S= of a message file's name says: its bytes, before it was compressed if it is a gzip file.
 * mtime_s: of the file. E_NOTFOUND: no regular file, or none at all.
 */
enum err core_file_size(
	struct index_core *c, int dirfd, const char *name, uint64_t *bytes, int64_t *mtime_s);

/* ---- core_quota.c ---- */

/* What the rules say of a mailbox of this name, into its record. */
void core_quota_box_rules(struct core_tx *tx, struct index_mailbox_record *m);
/* The same for one that is in the index and counted; the caller puts it. */
void core_quota_box_again(struct core_tx *tx, struct core_box *b);
enum err core_quota_check(struct index_core *c, const struct core_box *b, uint64_t bytes,
	uint64_t messages, int moved);
/* What counts, of the state. */
uint64_t core_quota_bytes(const struct index_state *s);
uint64_t core_quota_messages(const struct index_state *s);
/* Takes over rules that can be read. */
void core_quota_rules_set(struct index_core *c, const char *rules);
/* Whether a limit of bytes stands against anything: sets sizes_count. bytes: the user's, 0: none.
 */
void core_quota_sizes_look(struct index_core *c, uint64_t bytes);
void core_quota_flush(struct index_core *c);

#endif
