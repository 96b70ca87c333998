/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMAP_THREAD_BUILD_H
#define ROOST_IMAP_THREAD_BUILD_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"

/*
 * The algorithms of THREAD (RFC 5256 section 3), apart from where the messages come from. Texts are
 * kept as 128-bit hashes: memory is some
 * 120 bytes for each message and for each id that is named.
 */
enum thread_algorithm {
	THREAD_ORDEREDSUBJECT,
	THREAD_REFERENCES,
	/*
	 * As REFERENCES, but threads are not joined by their subjects, and stand in the order in
	 * which the latest message of each arrived (draft-ietf-morg-inthread section 4).
	 */
	THREAD_REFS,
};

enum {
	THREAD_IDS_A_MESSAGE = 32, /* ids named, on the average over all messages */
	THREAD_IDS_MIN = 1 << 20, /* and so many in any case */
	/*
	 * A chain of parents is followed so far to see whether a link would close a loop; a link
	 * that would need more is not made. Answers that arrived in their order need none of it.
	 */
	THREAD_DEPTH_MAX = 4096,
};

struct thread_message {
	uint32_t number; /* what is written for it, rising from message to message, >= 1 */
	int64_t date; /* sent, or the internal date (RFC 5256 section 2.2) */
	int64_t arrival; /* the internal date; for THREAD_REFS alone */
	struct str message_id; /* normalized; empty: none */
	struct str references; /* see mail_cache_reference_next */
	struct str base_subject; /* folded */
	int is_reply; /* or a forward: something was taken off the subject */
};

struct thread_builder;
struct thread_builder *thread_builder_create(enum thread_algorithm algorithm);
void thread_builder_free(struct thread_builder **b);
/* E_TOOBIG: over the bound on ids. */
enum err thread_builder_add(struct thread_builder *b, const struct thread_message *m);
/* After the last message: appends the thread lists, "(2)(3 6 (4 23)(44 7 96))". E_TOOBIG. */
enum err thread_builder_write(struct thread_builder *b, struct buf *out);

#endif
