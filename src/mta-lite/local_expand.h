/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_LOCAL_EXPAND_H
#define ROOST_MTA_LOCAL_EXPAND_H

#include "mta-lite/queue_file.h"
#include "mta-lite/rcpt_lookup.h"

/*
 * What stands behind an alias of this machine, all the way down; or what a user wants done with his
 * mail (forward.h).
 */

enum { LOCAL_DEPTH_MAX = 50 }; /* aliases in aliases, files in files */

struct local_expansion {
	/*
	 * Recipients without repetitions: addresses, targets, aliases with an owner of their own,
	 * other users with a .forward.
	 */
	struct queue_entry out;
	char *owner; /* owner-NAME@domain: who hears of failures; NULL: the sender */
	unsigned loops; /* ways that led back and were left out */
};

/*
 * address: of a local domain. OK: *x is set, with a recipient that nobody has as one that has
 * failed; none at all when the alias leads only to itself. Of what is no alias any more the
 * directory decides. Else *why says what is wrong now: to be tried again later. The caller frees *x
 * in any case.
 */
enum err local_expand(const struct rcpt_lookup *l, const char *address, struct local_expansion *x,
	struct buf *why);
void local_expansion_free(struct local_expansion *x);

#endif
