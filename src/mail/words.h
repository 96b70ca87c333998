/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MAIL_WORDS_H
#define ROOST_MAIL_WORDS_H

#include <stddef.h>

#include "lib/buf.h"
#include "lib/str.h"

/*
 * Text as terms of an index, so that the index answers what a search for a substring would.
 *
 * Text is folded first (mail/casemap.h). A run is the longest row of letters, marks and digits.
 * Scripts that write without blanks (Han, Kana, Thai, Lao, Tibetan, Myanmar, Khmer) and symbols
 * make runs of their own. To which of these a character belongs depends on the character alone, so
 * that a piece of a text has the boundaries of the text. Terms are
 *   - a run, when it has at most WORDS_TERM_MAX bytes;
 *   - of a longer one, pieces of WORDS_TERM_MAX bytes, one each WORDS_STEP bytes, so that any row
 *     of WORDS_SURE bytes of the run stands whole in one of them;
 *   - of a run without blanks, each two neighbours, or its one character.
 * A term has no byte below 0x21.
 */
enum { WORDS_TERM_MAX = 60, WORDS_STEP = 30, WORDS_SURE = 31, WORDS_RUNS_MAX = 32 };

struct words {
	/* Of words_begin; a zero ends the text early: no more terms are given. */
	int (*term)(struct str term, void *ctx);
	void *ctx;
	int kind; /* of the run that is under way; 0: none */
	int ended;
	int paired; /* a run without blanks has given a term */
	size_t len, last; /* bytes in run; where its last character begins */
	char run[WORDS_TERM_MAX + 4];
};

/* The struct may be used for one text after the other, each ended with words_end. */
void words_begin(struct words *w, int (*term)(struct str term, void *ctx), void *ctx);
/*
 * A piece of folded UTF-8 that ends between two characters; bytes that are not well-formed part
 * words. 0: the callback has had enough.
 */
int words_feed(struct words *w, struct str folded);
int words_end(struct words *w);
/* Whether the first character of a term is of a script without blanks, or a symbol. */
int words_term_is_paired(struct str term);

/* ---- what is looked for ---- */

enum words_how { WORDS_CONTAINS, WORDS_BEGINS, WORDS_ENDS, WORDS_IS };

/*
 * A needle as conditions on terms: a text that contains the needle has, for each run, a term that
 * does with the run's text as "how" says.
 */
struct words_query {
	struct {
		enum words_how how;
		struct str text; /* in bytes */
	} runs[WORDS_RUNS_MAX];
	size_t count; /* 0: terms tell nothing of this needle */
	int exact; /* a text that meets the conditions contains the needle */
	struct buf bytes;
};

/* folded: of at most a command's length. The caller calls words_query_fini. */
void words_query_init(struct words_query *q, struct str folded);
void words_query_fini(struct words_query *q);
/* Whether the term meets run i. */
int words_query_meets(const struct words_query *q, size_t i, struct str term);

#endif
