/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_ANSWERS_H
#define ROOST_AUTH_ANSWERS_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/str.h"

/*
 * Remembers answers of the directory, bounded in time and in bytes: of too many the one unused for
 * longest goes. What an answer is it does not know. One answer may rest on many rows (aliases,
 * domains, a mailbox), so that any change makes it forget all of them. For several threads.
 */
struct answers;

/* One of so many in bytes_max is the largest that is remembered. */
enum { ANSWERS_LARGEST_PART = 16 };

/* With 0 for either nothing is remembered. */
struct answers *answers_create(int64_t ttl_ms, size_t bytes_max);
void answers_free(struct answers **a);
/* For what is remembered from now on; what there is goes. */
void answers_set_limits(struct answers *a, int64_t ttl_ms, size_t bytes_max);
/*
 * To be read before the directory is asked and given to answers_add with the answer: what was read
 * before a change is not remembered after it.
 */
uint64_t answers_generation(struct answers *a);
/* 1: the answer is appended to *out, which has no bound that it could pass. */
int answers_find(struct answers *a, const char *question, int64_t now_ms, struct buf *out);
void answers_add(struct answers *a, const char *question, int64_t now_ms, uint64_t generation,
	struct str answer);
void answers_forget(struct answers *a);

struct answers_stats {
	size_t entries, bytes;
};
void answers_stats(struct answers *a, struct answers_stats *out);

#endif
