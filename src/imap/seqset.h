/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMAP_SEQSET_H
#define ROOST_IMAP_SEQSET_H

#include "lib/err.h"
#include "lib/numset.h"
#include "lib/str.h"

struct index_view;

enum { IMAP_SEQSET_ITEMS_MAX = 65536 };

/*
 * Parses a sequence-set (RFC 3501 section 9, "sequence-set"): message numbers or UIDs.
 * largest: the number "*" stands for, 0 for an empty mailbox. Then "*" alone is nothing, and a
 * range with "*" is its other end alone. "5:*" with largest 3 is 3:5, as the RFC says for UIDs.
 * *out is freed first. Time: n log n of the items, whatever they are.
 * E_PARSE: malformed, or a 0; E_RANGE: a number over 2^32-1; E_TOOBIG: over IMAP_SEQSET_ITEMS_MAX
 * items. *at (may be NULL): the offset in text of what is wrong. *out is empty after an error.
 */
enum err imap_seqset_parse(struct str text, uint32_t largest, struct numset *out, size_t *at);

/* The message numbers of those of uids that are in the view. Work: ranges, not UIDs. */
void imap_seqset_from_uids(
	const struct index_view *v, const struct numset *uids, struct numset *seqs);
/* The UIDs of these message numbers; numbers beyond the view are left out. */
void imap_seqset_to_uids(
	const struct index_view *v, const struct numset *seqs, struct numset *uids);

#endif
