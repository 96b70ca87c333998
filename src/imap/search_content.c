/* SPDX-License-Identifier: MIT */
#include "imap/search.h"

#include <string.h>

#include "imap/search_words.h"
#include "mail/casemap.h"
#include "mail/message_text.h"

enum { STREAMS = MESSAGE_TEXT_HTML + 1 };

struct content_scan;

/* The terms of one stream, made as those of the index are. */
struct content_stream {
	struct content_scan *scan;
	enum message_text_stream stream;
	struct words words;
};

/*
 * A message is read once, whatever the number of keys. Each text (a field, a body) goes through a
 * window: the folded piece behind the end of the one before, so that what lies across the seam is
 * found too.
 */
struct content_scan {
	struct search_key *const *texts;
	size_t count, open; /* open: not found yet, or not as well as might be */
	size_t keep; /* bytes of a window that a needle could still begin in */
	int by_words; /* some key is */
	struct buf plain, html; /* windows */
	struct content_stream streams[STREAMS];
};

static struct buf *
window_of(struct content_scan *cs, enum message_text_stream stream)
{
	return stream == MESSAGE_TEXT_HTML ? &cs->html : &cs->plain;
}

static int
is_looked_at(const struct search_key *key, enum message_text_stream stream)
{
	return stream != MESSAGE_TEXT_HEADER || key->kind != SEARCH_BODY;
}

static void
look_in(struct content_scan *cs, enum message_text_stream stream, struct str text)
{
	for (size_t i = 0; i < cs->count; i++) {
		struct search_key *key = cs->texts[i];

		if (key->words || key->found || !is_looked_at(key, stream))
			continue;
		if (str_find_str(text, buf_str(&key->needle)) < text.len) {
			key->found = 1;
			cs->open--;
		}
	}
}

/* What a FUZZY key finds better later makes it more relevant: it stays open to the end. */
static int
on_term(struct str term, void *ctx)
{
	struct content_stream *s = ctx;
	struct content_scan *cs = s->scan;

	for (size_t i = 0; i < cs->count; i++) {
		struct search_key *key = cs->texts[i];
		int beside = key->kind == SEARCH_TEXT && s->stream != MESSAGE_TEXT_HEADER;

		if (!key->words || !is_looked_at(key, s->stream) || (key->found && !key->fuzzy))
			continue;
		search_words_take(key->words, term, beside);
		if (!key->fuzzy && search_words_score(key->words)) {
			key->found = 1;
			cs->open--;
		}
	}
	return cs->open != 0;
}

static int
on_piece(enum message_text_stream stream, struct str utf8, void *ctx)
{
	struct content_scan *cs = ctx;
	struct buf *window = window_of(cs, stream);
	size_t before = window->len;

	casemap_fold(utf8, window);
	if (cs->by_words)
		(void)words_feed(&cs->streams[stream].words,
			str_make(window->p + before, window->len - before));
	look_in(cs, stream, buf_str(window));
	if (window->len > cs->keep)
		buf_consume(window, window->len - cs->keep);
	return cs->open != 0;
}

static void
on_end(enum message_text_stream stream, void *ctx)
{
	struct content_scan *cs = ctx;

	if (cs->by_words)
		(void)words_end(&cs->streams[stream].words);
	buf_reset(window_of(cs, stream));
}

static void
key_begin(struct content_scan *cs, struct search_key *key)
{
	/* The empty string is in every message. */
	key->found = key->needle.len == 0;
	key->score = 0;
	cs->open += !key->found;
	if (key->words) {
		search_words_reset(key->words);
		cs->by_words = 1;
	} else if (key->needle.len > cs->keep + 1) {
		cs->keep = key->needle.len - 1;
	}
}

static void
key_end(struct search_key *key)
{
	if (!key->words)
		return;
	key->score = search_words_score(key->words);
	key->found = key->score != 0;
}

void
search_content_scan(struct search_key *const *texts, size_t count, struct str content)
{
	struct content_scan cs = {.texts = texts, .count = count};
	struct message_text_sink sink = {.piece = on_piece, .end = on_end, .ctx = &cs};
	int has_text = 0;

	for (size_t i = 0; i < count; i++) {
		key_begin(&cs, texts[i]);
		has_text |= texts[i]->kind == SEARCH_TEXT;
	}
	for (int i = 0; i < STREAMS; i++) {
		cs.streams[i].scan = &cs;
		cs.streams[i].stream = (enum message_text_stream)i;
		words_begin(&cs.streams[i].words, on_term, &cs.streams[i]);
	}
	if (cs.open)
		message_text_walk(content, has_text, &sink);
	for (size_t i = 0; i < count; i++)
		key_end(texts[i]);
	buf_free(&cs.plain);
	buf_free(&cs.html);
}
