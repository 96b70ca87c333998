/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMAP_SEARCH_WORDS_H
#define ROOST_IMAP_SEARCH_WORDS_H

#include "imap/search.h"
#include "lib/conf.h"
#include "mail/word_match.h"

/*
 * Keys that are searched by words: those behind FUZZY (RFC 6203), and all with fts_search = words.
 * All the words must be in the message: of BODY and TEXT anywhere in what the key looks at, of
 * HEADER in one field.
 */
struct search_words {
	struct word_match match;
	unsigned char levels[WORD_MATCH_MAX]; /* of the text at hand, the best so far */
};

/* The setting fts_search. */
int search_is_by_words(const struct config *conf);
/* NULL: there is no word in the needle. The caller frees it with free(3). */
struct search_words *search_words_create(struct str folded, int fuzzy);

/* A term of the text at hand; level as word_match_level gives it, or its word_match_beside. */
void search_words_take(struct search_words *w, struct str term, int beside);
void search_words_reset(struct search_words *w);
/* 0: some word is missing; else the relevancy. */
unsigned search_words_score(const struct search_words *w);
/* The same of one text, folded. */
unsigned search_words_of(struct search_words *w, struct str folded);

/*
 * To be called when the plan is about to run: forms of a word are asked of roost-fts, which has the
 * languages, once for each pair of words. While it does not answer, forms are words of their own.
 */
void search_stems_bind(struct search_plan *plan, const struct search_box *box);
void search_stems_free(struct search_stems **stems);

#endif
