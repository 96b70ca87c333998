/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_WORDS_H
#define ROOST_MTA_WORDS_H

#include "lib/conf.h"
#include "lib/str.h"

/*
 * Cuts the next word of a list off the front of *s: words are separated by blanks and commas, and
 * braces hold together what has both in it. 1: *word is set, braces included. 0: there is none;
 * *unbalanced (may be NULL) tells whether a brace was never closed.
 */
int words_next(struct str *s, struct str *word, int *unbalanced);
/* What stands between braces, without blanks at its ends; s itself when it has none around it. */
struct str words_unbrace(struct str s);
/*
 * A setting that is a list, as one text again: people write one item a word, or all in one string
 * as in Postfix's main.cf. On the heap.
 */
char *words_join(const struct conf_list *list);
/* Whether word is one of those in such a setting, in upper or lower case. */
int words_have(const struct conf_list *list, struct str word);

#endif
