/* SPDX-License-Identifier: MIT */
#include "mail/word_match.h"

#include <string.h>
#include <utf8proc.h>

#include "mail/utf8.h"

enum {
	LETTERS_MAX = WORDS_TERM_MAX + 4,
	/* Combining classes below are of marks that are part of the letter (Indic, kana). */
	ACCENT_CLASS_MIN = 10,
	FUZZY_PREFIX_MIN = 2, /* letters: shorter ones begin too many words */
	ONE_EDIT_MIN = 4,
	TWO_EDITS_MIN = 8,
	PREFIX_LEVEL_MIN = 30,
	PREFIX_LEVEL_RANGE = 50,
	/* The least mean of levels, which is relevancy 1. */
	SCORE_MEAN_MIN = 26,
};

/* ---- letters without accents ---- */

static int
is_accent(uint32_t c)
{
	const utf8proc_property_t *p;

	if (c < 0x300)
		return 0;
	p = utf8proc_get_property((utf8proc_int32_t)c);
	return p->category == UTF8PROC_CATEGORY_MN && p->combining_class >= ACCENT_CLASS_MIN;
}

/* Letters that Unicode does not decompose, as they stand after casemap_fold. */
static const char *
typed_as(uint32_t c)
{
	switch (c) {
	case 0xc6:
		return "AE";
	case 0xd0:
	case 0x110:
		return "D";
	case 0xd8:
		return "O";
	case 0xde:
		return "TH";
	case 0xdf:
	case 0x1e9e:
		return "SS";
	case 0x126:
		return "H";
	case 0x131:
		return "I";
	case 0x141:
		return "L";
	case 0x152:
		return "OE";
	case 0x166:
		return "T";
	default:
		return NULL;
	}
}

/*
 * The letters of a term. Of a long word a term may begin or end within a character: such bytes
 * stand for themselves. No more than there are bytes.
 */
static size_t
letters_of(struct str term, uint32_t out[LETTERS_MAX])
{
	size_t n = 0, at = 0;

	while (at < term.len && n < LETTERS_MAX) {
		uint32_t c = (unsigned char)term.p[at];
		size_t used = 1;
		const char *typed;

		if (c >= 0x80 && utf8_next((const unsigned char *)term.p + at, term.len - at, &c,
					 &used) != UTF8_GOOD)
			c = (unsigned char)term.p[at];
		at += used;
		typed = c >= 0xc0 && used > 1 ? typed_as(c) : NULL;
		if (typed)
			while (*typed && n < LETTERS_MAX)
				out[n++] = (unsigned char)*typed++;
		else if (!is_accent(c))
			out[n++] = c;
	}
	return n;
}

/* ---- the query ---- */

static unsigned
edits_of(const struct word_match_word *w)
{
	for (size_t i = 0; i < w->count; i++)
		if (w->letters[i] >= '0' && w->letters[i] <= '9')
			return 0;
	return w->count >= TWO_EDITS_MIN ? 2 : w->count >= ONE_EDIT_MIN ? 1 : 0;
}

static int
is_single(struct str term)
{
	size_t used;
	uint32_t c;

	return utf8_next((const unsigned char *)term.p, term.len, &c, &used) == UTF8_GOOD &&
	       used == term.len;
}

static int
on_term(struct str term, void *ctx)
{
	struct word_match *m = ctx;
	struct word_match_word *w = &m->words[m->count];

	*w = (struct word_match_word){.len = term.len};
	memcpy(w->text, term.p, term.len);
	w->paired = words_term_is_paired(term);
	w->single = w->paired && is_single(term);
	w->count = letters_of(term, w->letters);
	w->edits = m->fuzzy && !w->paired ? edits_of(w) : 0;
	/* A mark alone is no word. */
	m->count += w->paired || w->count > 0;
	return m->count < WORD_MATCH_MAX;
}

void
word_match_init(struct word_match *m, struct str folded, int fuzzy)
{
	struct words words;

	memset(m, 0, sizeof(*m));
	m->fuzzy = fuzzy;
	words_begin(&words, on_term, m);
	(void)words_feed(&words, folded);
	(void)words_end(&words);
}

/* ---- matching ---- */

static size_t
min3(size_t a, size_t b, size_t c)
{
	size_t m = a < b ? a : b;

	return m < c ? m : c;
}

/*
 * Letters left out, put in, another, or two neighbours that changed places (optimal string
 * alignment); max + 1: more than max.
 */
static unsigned
edits_between(const uint32_t *a, size_t an, const uint32_t *b, size_t bn, unsigned max)
{
	size_t rows[3][LETTERS_MAX + 1], *before = rows[0], *last = rows[1], *now = rows[2];

	if (an > bn + max || bn > an + max)
		return max + 1;
	for (size_t j = 0; j <= bn; j++)
		last[j] = j;
	for (size_t i = 1; i <= an; i++) {
		size_t best = now[0] = i, *spare;

		for (size_t j = 1; j <= bn; j++) {
			size_t cost = a[i - 1] != b[j - 1];

			now[j] = min3(last[j] + 1, now[j - 1] + 1, last[j - 1] + cost);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
				before[j - 2] + 1 < now[j])
				now[j] = before[j - 2] + 1;
			best = now[j] < best ? now[j] : best;
		}
		/* A change of places reaches back two rows, and costs one. */
		if (best > (size_t)max + 1)
			return max + 1;
		spare = before;
		before = last;
		last = now;
		now = spare;
	}
	return last[bn] > max ? max + 1 : (unsigned)last[bn];
}

static int
begins_alike(const uint32_t *a, size_t an, const uint32_t *b, size_t bn)
{
	return an >= WORD_MATCH_STEM_SHARED && bn >= WORD_MATCH_STEM_SHARED &&
	       memcmp(a, b, WORD_MATCH_STEM_SHARED * sizeof(*a)) == 0;
}

static unsigned
level_of_word(const struct word_match *m, const struct word_match_word *w, struct str term)
{
	uint32_t letters[LETTERS_MAX];
	size_t n = letters_of(term, letters);
	size_t shared = w->count < n ? w->count : n;
	int begins;

	if (!n || letters[0] != w->letters[0])
		return 0;
	begins = n >= w->count && memcmp(letters, w->letters, shared * sizeof(*letters)) == 0;
	if (begins && n == w->count)
		return WORD_MATCH_FOLDED;
	if (begins && !m->fuzzy)
		return WORD_MATCH_EXACT;
	if (m->same && begins_alike(letters, n, w->letters, w->count) &&
		m->same(str_make(w->text, w->len), term, m->same_ctx))
		return WORD_MATCH_STEM;
	if (begins && w->count >= FUZZY_PREFIX_MIN)
		return PREFIX_LEVEL_MIN + (unsigned)(PREFIX_LEVEL_RANGE * w->count / n);
	if (!w->edits)
		return 0;
	switch (edits_between(w->letters, w->count, letters, n, w->edits)) {
	case 1:
		return WORD_MATCH_ONE_EDIT;
	case 2:
		return w->edits == 2 ? WORD_MATCH_TWO_EDITS : 0;
	default:
		return 0;
	}
}

unsigned
word_match_level(const struct word_match *m, size_t i, struct str term)
{
	const struct word_match_word *w = &m->words[i];
	struct str text = str_make(w->text, w->len);

	if (str_equal(term, text))
		return WORD_MATCH_EXACT;
	if (w->paired)
		return w->single && str_find_str(term, text) < term.len ? WORD_MATCH_EXACT : 0;
	return level_of_word(m, w, term);
}

void
word_match_plain(struct str term, struct buf *out)
{
	uint32_t letters[LETTERS_MAX];
	size_t n = letters_of(term, letters);

	for (size_t i = 0; i < n; i++)
		(void)utf8_add(out, letters[i]);
}

unsigned
word_match_beside(unsigned level)
{
	return level * 9 / 10;
}

unsigned
word_match_score(const unsigned char *levels, size_t count)
{
	unsigned sum = 0, mean;

	for (size_t i = 0; i < count; i++) {
		if (!levels[i])
			return 0;
		sum += levels[i];
	}
	mean = count ? sum / (unsigned)count : WORD_MATCH_EXACT;
	if (mean < SCORE_MEAN_MIN)
		mean = SCORE_MEAN_MIN;
	return 1 + (mean - SCORE_MEAN_MIN) * 99 / (WORD_MATCH_EXACT - SCORE_MEAN_MIN);
}
