/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MAIL_WORD_MATCH_H
#define ROOST_MAIL_WORD_MATCH_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/str.h"
#include "mail/words.h"

/*
 * A search by words: whether the terms (mail/words.h) of a text are the words of a query, and how
 * well. roost-fts asks this of the terms that it keeps, a search without an index of those of the
 * message at hand, so that both say the same.
 *
 * Case and accents are folded: marks that are drawn above, below or through a letter go, and
 * letters that do not decompose become what they are typed as (ss, O, L, AE). Vowel signs stay. A
 * term is one of a query's words when it is the same word, begins with it, or is another form of it
 * in one of the languages of the setting fts_languages; for FUZZY (RFC 6203) also when few letters
 * differ: one in a word of four letters or more, two in one of eight or more, neither the first
 * letter nor in a word with digits. In scripts that write without blanks two neighbours are a word.
 */
enum {
	WORD_MATCH_MAX = WORDS_RUNS_MAX, /* words of a query; those behind are no condition */
	WORD_MATCH_EXACT = 100, /* levels: the same word */
	WORD_MATCH_FOLDED = 95, /* but for its accents */
	WORD_MATCH_STEM = 85, /* another form of it */
	WORD_MATCH_ONE_EDIT = 50,
	WORD_MATCH_TWO_EDITS = 30, /* in between: it begins so, the more of it the better */
	WORD_MATCH_STEM_SHARED = 3, /* letters at the beginning that forms of a word share */
};

/*
 * Whether two terms, folded and with their marks, are forms of one word. Asked of words that begin
 * alike only.
 */
typedef int word_match_same_fn(struct str word, struct str term, void *ctx);

struct word_match_word {
	char text[WORDS_TERM_MAX + 4]; /* the term of the query */
	size_t len;
	int paired; /* of a script without blanks: the two or, single, one that contains it */
	int single;
	uint32_t letters[WORDS_TERM_MAX + 4]; /* without accents */
	size_t count;
	unsigned edits; /* that it may be off by */
};

struct word_match {
	struct word_match_word words[WORD_MATCH_MAX];
	size_t count; /* 0: there is no word in it, and the string itself has to be looked for */
	int fuzzy;
	word_match_same_fn *same; /* NULL: forms are words of their own */
	void *same_ctx;
};

/* folded: with casemap_fold. Nothing is borrowed or has to be freed. */
void word_match_init(struct word_match *m, struct str folded, int fuzzy);
/* How well the term is word i: 1 to WORD_MATCH_EXACT; 0: it is not. */
unsigned word_match_level(const struct word_match *m, size_t i, struct str term);
/* A first look that costs little: 0: word_match_level of it is 0. */
static inline int
word_match_may(const struct word_match *m, size_t i, struct str term)
{
	const struct word_match_word *w = &m->words[i];
	unsigned char c = term.len ? (unsigned char)term.p[0] : 0;

	return w->paired || c >= 0x80 || c == w->letters[0];
}

/* Appends the letters of a term as they are compared, in UTF-8. */
void word_match_plain(struct str term, struct buf *out);

/*
 * Words are worth less where a key looks beside what is most telling: TEXT in anything but the
 * header.
 */
unsigned word_match_beside(unsigned level);
/*
 * The relevancy (RFC 6203 section 4) of a text with these best levels of count words: 1 to 100; 0:
 * some word is not there, and the text does not match.
 */
unsigned word_match_score(const unsigned char *levels, size_t count);

#endif
