/* SPDX-License-Identifier: MIT */
#ifndef ROOST_INDEX_CLIENT_VIEW_H
#define ROOST_INDEX_CLIENT_VIEW_H

#include "index/client_private.h"

/* Between client_view.c and client_view_keep.c. */

/* What the client was told by other means than a sync. */
struct told {
	uint32_t uid;
	uint64_t modseq;
};

struct index_view {
	struct index_user *u;
	uint32_t mailbox;
	uint32_t *uids; /* rising; the client's message numbers are the places in it, from 1 */
	size_t count, cap;
	uint64_t modseq; /* the change log was read up to here */
	uint64_t told_modseq; /* all up to here was told: behind modseq while expunges wait */
	struct numset gone; /* vanished, but not told yet: still in uids */
	struct told *told;
	size_t told_count, told_cap;
};

#endif
