/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LIB_NUMSET_H
#define ROOST_LIB_NUMSET_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/err.h"

/*
 * A set of 32-bit numbers as sorted, disjoint, non-adjacent ranges: UIDs or message numbers.
 * A zeroed struct is the empty set.
 */
struct numset_range {
	uint32_t first, last; /* first <= last */
};
struct numset {
	struct numset_range *ranges;
	size_t count, cap;
};

void numset_free(struct numset *s);
/* Appending in rising order is O(1); otherwise O(number of ranges). first <= last. */
void numset_add(struct numset *s, uint32_t n);
void numset_add_range(struct numset *s, uint32_t first, uint32_t last);
void numset_remove_range(struct numset *s, uint32_t first, uint32_t last);
/* Leaves the n highest numbers. */
void numset_keep_last(struct numset *s, uint64_t n);
int numset_contains(const struct numset *s, uint32_t n);
int numset_is_empty(const struct numset *s);
uint64_t numset_size(const struct numset *s);
void numset_copy(struct numset *dst, const struct numset *src); /* dst is freed first */
/* What is in a and in b, or in a and not in b. *out is another set and is freed first. Work:
 * ranges. */
void numset_intersect(const struct numset *a, const struct numset *b, struct numset *out);
void numset_subtract(const struct numset *a, const struct numset *b, struct numset *out);
/* "1:3,7,9:12" as IMAP writes it; nothing for the empty set. */
enum err numset_format(const struct numset *s, struct buf *out);
/* The same back: digits, ":" and "," only (no "*"), 1..2^32-1. E_PARSE, E_RANGE. */
enum err numset_parse(struct str text, struct numset *out);
/*
 * For keeping: a byte or two for each range, appended to *out. And back, from the whole of bytes:
 * E_PROTO: this is not what numset_pack writes. *out is zeroed first; the caller frees it.
 */
void numset_pack(const struct numset *s, struct buf *out);
enum err numset_unpack(struct str bytes, struct numset *out);

#endif
