/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_DEFERRED_H
#define ROOST_MTA_DEFERRED_H

#include <stddef.h>
#include <stdint.h>

#include "mta-lite/queue_store.h"

/*
 * When which deferred message is due: all that is in memory of one that waits. Everything else is
 * in its file, whose mtime is the time of its next try.
 *
 * Of many only the earliest are known, at most DEFERRED_MAX; the others are in the directory, and
 * are read when these are used up. So memory does not grow with the queue.
 *
 * An entry may be out of date (the message was taken out another way, or deferred anew), and one
 * message may have two: whoever takes it looks at the file. Pure: no I/O, no clock.
 */
struct deferred;

enum { DEFERRED_MAX = 8192 };

struct deferred *deferred_create(void);
void deferred_free(struct deferred **d);
/*
 * when: Unix time; DEFERRED_NOW: at once, whatever the file says. Those are all kept, however many,
 * until they are taken.
 */
enum { DEFERRED_NOW = 0 };
void deferred_add(struct deferred *d, const char *id, int64_t when);
/* The time of the earliest entry, or when the directory is to be read. 0: nothing waits. */
int deferred_first(const struct deferred *d, int64_t *when);
/* Takes the earliest entry out. 0: there is none. */
int deferred_take(struct deferred *d, char id[QUEUE_ID_SIZE], int64_t *when);
/*
 * The known ones are used up, and there are more: to be called when deferred_first's time has come,
 * and answered with deferred_reread.
 */
int deferred_wants_directory(const struct deferred *d);
/* Forgets what has a time; the caller adds all that is in the directory. */
void deferred_reread(struct deferred *d);
/* The directory could not be read: again then. */
void deferred_reread_at(struct deferred *d, int64_t when);
/* Forgets what is DEFERRED_NOW: all that is in the directory is added so. */
void deferred_hurry_anew(struct deferred *d);

#endif
