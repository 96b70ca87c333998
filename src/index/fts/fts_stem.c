/* SPDX-License-Identifier: MIT */
#include "index/fts/fts_stem.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "index/fts/xapian_shim.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "mail/casemap.h"
#include "mail/word_match.h"

enum { LANGUAGES_MAX = 16 };

/* A word is compared with many, one after the other: its stems are kept. */
struct fts_stemmer {
	struct fts_stem *stems[LANGUAGES_MAX];
	size_t count;
	char word[WORDS_TERM_MAX + 4];
	size_t word_len;
	struct buf folded[LANGUAGES_MAX]; /* its stems, without accents */
	struct buf other;
};

struct fts_stemmer *
fts_stemmer_create(const struct conf_list *languages)
{
	struct fts_stemmer *s = MEM_NEW(struct fts_stemmer);

	for (size_t i = 0; i < languages->count && s->count < LANGUAGES_MAX; i++) {
		if (fts_stem_create(languages->items[i], &s->stems[s->count]) == OK)
			s->count++;
		else
			log_event(LOGL_WARN, "fts.language unknown", "name", languages->items[i],
				NULL);
	}
	if (!s->count)
		fts_stemmer_free(&s);
	return s;
}

void
fts_stemmer_free(struct fts_stemmer **s)
{
	if (!*s)
		return;
	for (size_t i = 0; i < (*s)->count; i++) {
		fts_stem_free(&(*s)->stems[i]);
		buf_free(&(*s)->folded[i]);
	}
	buf_free(&(*s)->other);
	MEM_FREE(*s);
}

/* Snowball wants small letters, composed. */
static char *
natural(struct str folded)
{
	utf8proc_uint8_t *out = NULL;

	if (utf8proc_map((const utf8proc_uint8_t *)folded.p, (utf8proc_ssize_t)folded.len, &out,
		    UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_CASEFOLD) < 0)
		return NULL;
	return (char *)out;
}

/* In the form in which stems are compared. 0: it has none. */
static int
stem_of(struct fts_stem *stem, const char *word, struct buf *out)
{
	struct buf text = {0}, folded = {0};
	enum err e = fts_stem_word(stem, str_of(word), &text);

	e = e ? e : casemap_fold(buf_str(&text), &folded);
	buf_reset(out);
	if (!e)
		word_match_plain(buf_str(&folded), out);
	buf_free(&text);
	buf_free(&folded);
	return out->len > 0;
}

static int
keep_word(struct fts_stemmer *s, struct str word)
{
	char *text;

	if (s->word_len == word.len && memcmp(s->word, word.p, word.len) == 0)
		return 1;
	s->word_len = 0;
	text = natural(word);
	if (!text)
		return 0;
	for (size_t i = 0; i < s->count; i++)
		(void)stem_of(s->stems[i], text, &s->folded[i]);
	memcpy(s->word, word.p, word.len);
	s->word_len = word.len;
	free(text);
	return 1;
}

int
fts_stemmer_same(struct str word, struct str other, void *ctx)
{
	struct fts_stemmer *s = ctx;
	int same = 0;
	char *text;

	/* What fills a term may be a piece of something longer. */
	if (!word.len || !other.len || word.len >= WORDS_TERM_MAX || other.len >= WORDS_TERM_MAX)
		return 0;
	if (!keep_word(s, word))
		return 0;
	text = natural(other);
	for (size_t i = 0; text && i < s->count && !same; i++)
		same = s->folded[i].len && stem_of(s->stems[i], text, &s->other) &&
		       str_equal(buf_str(&s->other), buf_str(&s->folded[i]));
	free(text);
	return same;
}
