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
 * An entry may be out of date (the message was taken out another way, or deferred anew): whoever
 * takes it looks at the file. Pure: no I/O, no clock.
 */
struct deferred;

struct deferred *deferred_create(void);
void deferred_free(struct deferred **d);
/* when: Unix time; DEFERRED_NOW: at once, whatever the file says. */
enum { DEFERRED_NOW = 0 };
void deferred_add(struct deferred *d, const char *id, int64_t when);
/* The earliest entry. 0: there is none. */
int deferred_first(const struct deferred *d, int64_t *when);
/* Takes the earliest entry out. 0: there is none. */
int deferred_take(struct deferred *d, char id[QUEUE_ID_SIZE], int64_t *when);
/* Makes all entries due. */
void deferred_hurry(struct deferred *d);
size_t deferred_count(const struct deferred *d);

#endif
