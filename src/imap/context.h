/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMAP_CONTEXT_H
#define ROOST_IMAP_CONTEXT_H

#include <stddef.h>
#include <stdint.h>

#include "imap/fetch.h"
#include "imap/imap.h"
#include "imap/search.h"
#include "imap/sort.h"

/*
 * Contexts (RFC 5267): searches with RETURN (UPDATE), whose results are kept, and whose changes are
 * told as ADDTO and REMOVEFROM whenever the mailbox's changes are told. They end with the
 * selection of the mailbox.
 */
enum {
	IMAP_CONTEXTS_MAX = 16, /* in one session; further ones are refused with NOUPDATE */
	IMAP_CONTEXTS_SORTED_MAX = 4, /* of which are sorted: each change sorts anew */
};

/* Whether this tag names a context: a second one is BAD (RFC 5267 section 4.3). */
int imap_context_exists(const struct imap_session *s, struct str tag);
/*
 * To be read before the search whose result imap_context_add gets: what changed since is told. It
 * is what the view has read, for a search finds no message that the view has not.
 */
uint64_t imap_context_modseq(const struct imap_session *s);
/*
 * Makes the command under way a context, or sends "* NO [NOUPDATE tag]". plan is taken over and
 * left empty, so is fetch: what is sent of messages that join when they come (no items: nothing);
 * sort NULL: in the mailbox's order. uid: UIDs are told, not message numbers. seqs: the result in
 * its order.
 */
void imap_context_add(struct imap_session *s, struct search_plan *plan,
	const struct sort_program *sort, struct fetch_plan *fetch, int uid, uint64_t modseq,
	const uint32_t *seqs, size_t count);
/*
 * Tells what changed in the results. To be called when the view has the new messages, and still has
 * those whose EXPUNGE is to follow.
 */
void imap_contexts_update(struct imap_session *s);
/* EXPUNGE of this message is about to be told: out of all results with it. */
void imap_contexts_expunged(struct imap_session *s, uint32_t seq, uint32_t uid);
void imap_contexts_free(struct imap_session *s);

/* Says of the command under way that its search is not kept up to date: NO [NOUPDATE tag]. */
void imap_context_refuse(struct imap_session *s, const char *why);

#endif
