/* SPDX-License-Identifier: MIT */
#include "imap/search.h"

#include <string.h>

#include "mail/casemap.h"
#include "mail/message_text.h"

/*
 * A message is read once, whatever the number of keys. Each text (a field, a body) goes through a
 * window: the folded piece behind the end of the one before, so that what lies across the seam is
 * found too.
 */
struct content_scan {
	struct search_key *const *texts;
	size_t count, open; /* open: not found yet */
	size_t keep; /* bytes of a window that a needle could still begin in */
	struct buf plain, html; /* windows */
};

static struct buf *
window_of(struct content_scan *cs, enum message_text_stream stream)
{
	return stream == MESSAGE_TEXT_HTML ? &cs->html : &cs->plain;
}

static void
look_in(struct content_scan *cs, enum message_text_stream stream, struct str text)
{
	for (size_t i = 0; i < cs->count; i++) {
		struct search_key *key = cs->texts[i];

		if (key->found || (stream == MESSAGE_TEXT_HEADER && key->kind == SEARCH_BODY))
			continue;
		if (str_find_str(text, buf_str(&key->needle)) < text.len) {
			key->found = 1;
			cs->open--;
		}
	}
}

static int
on_piece(enum message_text_stream stream, struct str utf8, void *ctx)
{
	struct content_scan *cs = ctx;
	struct buf *window = window_of(cs, stream);

	casemap_fold(utf8, window);
	look_in(cs, stream, buf_str(window));
	if (window->len > cs->keep)
		buf_consume(window, window->len - cs->keep);
	return cs->open != 0;
}

static void
on_end(enum message_text_stream stream, void *ctx)
{
	buf_reset(window_of(ctx, stream));
}

void
search_content_scan(struct search_key *const *texts, size_t count, struct str content)
{
	struct content_scan cs = {.texts = texts, .count = count};
	struct message_text_sink sink = {.piece = on_piece, .end = on_end, .ctx = &cs};
	int has_text = 0;

	for (size_t i = 0; i < count; i++) {
		/* The empty string is in every message. */
		texts[i]->found = texts[i]->needle.len == 0;
		cs.open += !texts[i]->found;
		has_text |= texts[i]->kind == SEARCH_TEXT;
		if (texts[i]->needle.len > cs.keep + 1)
			cs.keep = texts[i]->needle.len - 1;
	}
	if (cs.open)
		message_text_walk(content, has_text, &sink);
	buf_free(&cs.plain);
	buf_free(&cs.html);
}
