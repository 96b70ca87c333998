/* SPDX-License-Identifier: MIT */
#ifndef ROOST_FTS_STEM_H
#define ROOST_FTS_STEM_H

#include <stddef.h>

#include "lib/conf.h"
#include "lib/str.h"

/* Forms of a word, by Snowball's stemmers of the languages of the setting fts_languages. */
struct fts_stemmer;

/*
 * languages: Snowball's names ("english") or ISO 639's ("en"); those that are not known are said in
 * the log and passed over. NULL: there is none.
 */
struct fts_stemmer *fts_stemmer_create(const struct conf_list *languages);
void fts_stemmer_free(struct fts_stemmer **s);
/*
 * Whether two words, folded with casemap_fold, have the same stem in one of the languages, but for
 * its accents. A word_match_same_fn; ctx: a struct fts_stemmer. Long words have no other forms.
 */
int fts_stemmer_same(struct str word, struct str other, void *ctx);

#endif
