/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMAP_SCAN_H
#define ROOST_IMAP_SCAN_H

#include <stddef.h>
#include <stdint.h>

#include "imap/imap.h"
#include "index/index_client.h"
#include "lib/err.h"
#include "lib/numset.h"

/*
 * Walks the records of a set of message numbers with the index's cursor, in rounds: each is one
 * read transaction, and ends where the visitor wants it to, so that no transaction is held while a
 * client or a disk is waited for.
 */
struct imap_scan {
	struct index_user *index;
	uint32_t mailbox;
	const struct index_view *view;
	const struct numset *seqs; /* numbers in the view; borrowed */
	/*
	 * E_CANCELLED ends the round; the next one begins with the same message. Other errors end
	 * it too and are passed on.
	 */
	enum err (*visit)(uint32_t seq, const struct index_message *m, void *ctx);
	void *ctx;
	uint64_t gone; /* so many are in the view, but were expunged by somebody else */

	/* Private: ranges[range], and the next number in it. */
	size_t range;
	uint32_t next;
};

/* One round. *more: there are messages left for another. Errors are of the index or of visit. */
enum err imap_scan_round(struct imap_scan *scan, int *more);

#endif
