/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_QUEUE_STORE_H
#define ROOST_MTA_QUEUE_STORE_H

#include "lib/conf.h"
#include "mta-lite/queue_file.h"
#include "mta-lite/spool.h"

/* The queue's directories. A message's file has its id as name and lies in one of them. */
enum queue_dir {
	QUEUE_INCOMING, /* complete and promised; qmgr has not looked at it */
	QUEUE_ACTIVE, /* qmgr is at it */
	QUEUE_DEFERRED, /* waits for its next try */
	QUEUE_HOLD, /* waits for the administrator */
	QUEUE_CORRUPT, /* unreadable; kept for inspection */
	QUEUE_DIR_COUNT,
};
/* "incoming" ... */
const char *queue_dir_name(enum queue_dir dir);
/* queue_dir/NAME on the heap; the caller frees it. */
char *queue_dir_path(const struct config *conf, enum queue_dir dir);

/* Makes the directories that are missing. Errors are logged. */
enum err queue_store_init(const struct config *conf);
/* mkdir -p for the user who owns the queue. */
enum err queue_store_make_dir(const struct config *conf, const char *path);
/* A new id: upper-case hex digits of the time and of random. */
void queue_id_make(char out[QUEUE_ID_SIZE]);
/* Whether s can be an id: 1 to 23 upper-case hex digits. Nothing else is ever made a path. */
int queue_id_valid(struct str s);

/*
 * Writes a message (q with id, envelope and recipients; head and then the spool's content) into
 * incoming. OK: file and directory entry are on disk. Any error: nothing is left behind; logged.
 */
enum err queue_store_create(const struct config *conf, const struct queue_entry *q, struct str head,
	struct spool *body);
/* Tells qmgr about a new message. A lost notice is made up for by its scans. */
void queue_store_notify(const struct config *conf, const char *id);

/*
 * For qmgr, of which only one may work on the queue: what is in active is in its hands. Waits until
 * those before it have ended, and says in the log that it does. The lock is the process's and goes
 * with it; it is not its children's. E_IO and others: logged.
 */
enum err queue_store_lock(const struct config *conf);
/* For qmgr. flags: open(2)'s. E_NOTFOUND; E_ACCESS: not a regular file. */
enum err queue_store_open(
	const struct config *conf, enum queue_dir dir, const char *id, int flags, int *fd);
enum err queue_store_move(
	const struct config *conf, enum queue_dir from, enum queue_dir to, const char *id);
/* Into DEFERRED; the file's mtime becomes the time of its next try, for the scan at start. */
enum err queue_store_defer(
	const struct config *conf, enum queue_dir from, const char *id, int64_t next_try);
/* The next try as queue_store_defer noted it. E_NOTFOUND. */
enum err queue_store_next_try(const struct config *conf, const char *id, int64_t *when);
enum err queue_store_remove(const struct config *conf, enum queue_dir dir, const char *id);
/*
 * Appends status records for the recipients whose index is in list, as one write behind the last
 * good record, and waits for the disk. q->end moves on. E_IO, E_NOSPACE.
 */
enum err queue_store_append(int fd, struct queue_entry *q, const size_t *list, size_t n, int sync);

#endif
