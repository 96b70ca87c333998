/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMAP_SEARCH_FTS_H
#define ROOST_IMAP_SEARCH_FTS_H

#include <stdint.h>

#include "imap/search.h"

/*
 * What roost-fts knows of the BODY, TEXT and HEADER keys of a plan. The one place where SEARCH,
 * SORT, THREAD, the ESEARCH command and contexts meet the full-text index. The answers are the same
 * with and without it.
 */

/*
 * Asks about those of a plan that is about to look at count messages of the mailbox. When there is
 * no answer, for whatever reason, nothing is known and the messages are read. To be freed with
 * search_fts_forget.
 */
void search_fts_ask(struct search_plan *plan, const struct search_box *box, uint64_t count);
void search_fts_forget(struct search_plan *plan);
/* SEARCH_UNKNOWN: the message has to be read. Never SEARCH_YES of a HEADER key. */
enum search_answer search_fts_answer(
	const struct search_fts_key *key, const struct index_message *m);
/* The relevancy of a message that matches a FUZZY key; 0: the message has to be read. */
unsigned search_fts_score(const struct search_fts_key *key, const struct index_message *m);

#endif
