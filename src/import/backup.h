/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMPORT_BACKUP_H
#define ROOST_IMPORT_BACKUP_H

#include <stddef.h>
#include <stdint.h>

#include "ctl/ctl_tool.h"
#include "lib/err.h"
#include "lib/str.h"

/*
 * A backup is a directory with a date for its name:
 *
 *   DIR/20261121T014821Z/roost-backup         says that it is complete; made last
 *                        directory.json       domains, users, aliases, without passwords
 *                        mail/DOMAIN/LOCAL/manifest
 *                                          Maildir/   by itself a Maildir++ as Roost and others
 *                                                     read it; cur alone holds messages
 *
 * and is called *.unfinished until it is on disk as a whole.
 */

#define BACKUP_UNFINISHED ".unfinished"
#define BACKUP_MARK "roost-backup"
#define BACKUP_MANIFEST "manifest"

enum { BACKUP_HASH_TEXT = 65 };

/* ---- manifest: what a user's copy is made of ---- */

/*
 *   roost-backup-user 1
 *   F <UIDVALIDITY> <UIDNEXT> <folder's directory, "." for INBOX>
 *   M <UID> <bytes of the file> <SHA-256 of it> <name in cur>       of the folder above, rising
 */
struct manifest_message {
	uint32_t uid;
	uint64_t size;
	struct str hash, name;
};
struct manifest_folder {
	uint32_t uidvalidity, uidnext;
	struct str dir; /* "" for INBOX */
	struct manifest_message *messages;
	size_t count;
};
struct manifest {
	char *text;
	size_t len;
	struct manifest_folder *folders;
	size_t folder_count;
	struct manifest_message *messages;
};
/* E_NOTFOUND; E_CORRUPT: it does not hold together. *out is zeroed first; the caller frees it. */
enum err manifest_load(const char *path, struct manifest *out);
void manifest_free(struct manifest *m);
/* NULL: not there. */
const struct manifest_folder *manifest_folder_find(const struct manifest *m, struct str dir);
const struct manifest_message *manifest_message_find(const struct manifest_folder *f, uint32_t uid);

/* SHA-256 of the rest of a file, in hexadecimal, and its bytes. to >= 0: they are copied there. */
enum err backup_hash_copy(int from, int to, char hash[BACKUP_HASH_TEXT], uint64_t *size);

/* ---- making one ---- */

struct backup {
	struct tool *tool;
	char *stage; /* the directory that is being filled */
	char *previous; /* the backup to link to, or NULL */
	uint64_t users, messages, linked, bytes, failed;
	int is_terminal;
	int64_t shown_ms;
	int line_open;
};
/* One user. Errors of a user are said and counted; E_NOSPACE, E_IO end the backup. */
enum err backup_user(struct backup *b, const char *address);
/* Removes a tree; what is not there is fine. */
enum err backup_remove_tree(const char *path);

/* The newest finished backup in dir, on the heap, or NULL. name: that one. */
char *backup_find(const char *dir, const char *name);

/* ---- verbs ---- */

enum err backup_run(struct tool *t, int argc, char **argv);
enum err restore_run(struct tool *t, int argc, char **argv);
/* path: a finished backup. Prints what is wrong. E_NOTFOUND: something is. */
enum err backup_verify(struct tool *t, const char *path);

#endif
