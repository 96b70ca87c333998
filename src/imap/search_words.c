/* SPDX-License-Identifier: MIT */
#include "imap/search_words.h"

#include <stdlib.h>
#include <string.h>

#include "index/fts/fts_client.h"
#include "lib/mem.h"

int
search_is_by_words(const struct config *conf)
{
	return conf->fts_search && strcmp(conf->fts_search, "words") == 0;
}

struct search_words *
search_words_create(struct str folded, int fuzzy)
{
	struct search_words *w = MEM_NEW(struct search_words);

	word_match_init(&w->match, folded, fuzzy);
	if (!w->match.count)
		MEM_FREE(w);
	return w;
}

/* ---- one text ---- */

void
search_words_reset(struct search_words *w)
{
	memset(w->levels, 0, sizeof(w->levels));
}

void
search_words_take(struct search_words *w, struct str term, int beside)
{
	unsigned most = beside ? word_match_beside(WORD_MATCH_EXACT) : WORD_MATCH_EXACT;

	for (size_t i = 0; i < w->match.count; i++) {
		unsigned level;

		if (w->levels[i] >= most || !word_match_may(&w->match, i, term))
			continue;
		level = word_match_level(&w->match, i, term);
		level = beside ? word_match_beside(level) : level;
		if (level > w->levels[i])
			w->levels[i] = (unsigned char)level;
	}
}

unsigned
search_words_score(const struct search_words *w)
{
	return word_match_score(w->levels, w->match.count);
}

static int
on_term(struct str term, void *ctx)
{
	search_words_take(ctx, term, 0);
	return 1;
}

unsigned
search_words_of(struct search_words *w, struct str folded)
{
	struct words words;

	search_words_reset(w);
	words_begin(&words, on_term, w);
	(void)words_feed(&words, folded);
	(void)words_end(&words);
	return search_words_score(w);
}

/* ---- forms of a word ---- */

enum { SLOTS = 1 << 14, PAIRS_MAX = SLOTS / 2 };

/* What roost-fts has said of pairs of words. */
struct search_stems {
	struct fts_client *fts; /* borrowed */
	struct buf text; /* '0' or '1', the word, a line end, the other, a line end */
	uint32_t slots[SLOTS]; /* places in text, plus 1; 0: free */
	size_t count;
};

void
search_stems_free(struct search_stems **stems)
{
	if (*stems)
		buf_free(&(*stems)->text);
	MEM_FREE(*stems);
}

static size_t
hash_of(struct str s, size_t h)
{
	for (size_t i = 0; i < s.len; i++)
		h = (h ^ (unsigned char)s.p[i]) * 0x100000001b3;
	return h;
}

static int
is_pair(const struct search_stems *st, size_t at, struct str word, struct str term)
{
	const char *p = st->text.p + at + 1;

	return st->text.len - at > word.len + term.len + 2 && memcmp(p, word.p, word.len) == 0 &&
	       p[word.len] == '\n' && memcmp(p + word.len + 1, term.p, term.len) == 0 &&
	       p[word.len + 1 + term.len] == '\n';
}

static int
same_stem(struct str word, struct str term, void *ctx)
{
	struct search_stems *st = ctx;
	size_t h = hash_of(term, hash_of(word, 0xcbf29ce484222325)), at;
	int same = 0;

	for (at = (h ^ h >> 29) & (SLOTS - 1); st->slots[at]; at = (at + 1) & (SLOTS - 1))
		if (is_pair(st, st->slots[at] - 1, word, term))
			return st->text.p[st->slots[at] - 1] == '1';
	/* What could not be asked may be answered later. */
	if (fts_client_same_stem(st->fts, word, term, &same))
		return 0;
	if (st->count == PAIRS_MAX) {
		memset(st->slots, 0, sizeof(st->slots));
		buf_reset(&st->text);
		st->count = 0;
		at = (h ^ h >> 29) & (SLOTS - 1);
	}
	st->slots[at] = (uint32_t)st->text.len + 1;
	st->count++;
	(void)buf_add_char(&st->text, same ? '1' : '0');
	(void)buf_add_str(&st->text, word);
	(void)buf_add_char(&st->text, '\n');
	(void)buf_add_str(&st->text, term);
	(void)buf_add_char(&st->text, '\n');
	return same;
}

static void
bind_key(struct search_key *key, struct search_stems *st)
{
	if (!key->words)
		return;
	key->words->match.same = st ? same_stem : NULL;
	key->words->match.same_ctx = st;
}

void
search_stems_bind(struct search_plan *plan, const struct search_box *box)
{
	int wanted = box->fts && fts_client_has_languages(box->fts);

	if (wanted && !plan->stems)
		plan->stems = MEM_NEW(struct search_stems);
	if (plan->stems)
		plan->stems->fts = box->fts;
	for (size_t i = 0; i < plan->text_count; i++)
		bind_key(plan->texts[i], wanted ? plan->stems : NULL);
	for (size_t i = 0; i < plan->header_count; i++)
		bind_key(plan->headers[i], wanted ? plan->stems : NULL);
}
