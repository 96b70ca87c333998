/* SPDX-License-Identifier: MIT */
#include "mail/word_match.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
	struct word_match match;
	unsigned char levels[WORD_MATCH_MAX];
};

static int
on_term(struct str term, void *ctx)
{
	struct seen *s = ctx;

	for (size_t i = 0; i < s->match.count; i++) {
		unsigned level = word_match_level(&s->match, i, term);

		if (level > WORD_MATCH_EXACT || (level && !word_match_may(&s->match, i, term)))
			abort();
		if (level > s->levels[i])
			s->levels[i] = (unsigned char)level;
	}
	return 1;
}

static unsigned
score_of(struct str text, struct str needle, int fuzzy)
{
	static struct seen seen;
	struct words w;

	memset(seen.levels, 0, sizeof(seen.levels));
	word_match_init(&seen.match, needle, fuzzy);
	words_begin(&w, on_term, &seen);
	words_feed(&w, text);
	words_end(&w);
	return word_match_score(seen.levels, seen.match.count);
}

/* A needle, a NUL, a text: what is found by words is found by FUZZY but for short beginnings. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str needle = str_make((const char *)data, size), text;

	needle.len = str_find(needle, 0, '\0');
	if (needle.len == size || needle.len == 0)
		return 0;
	text = str_make(needle.p + needle.len + 1, size - needle.len - 1);
	if (score_of(text, needle, 0) > 100 || score_of(text, needle, 1) > 100)
		abort();
	/* Every text has its own words. */
	if (score_of(needle, needle, 0) != 100 || score_of(needle, needle, 1) != 100)
		abort();
	return 0;
}
