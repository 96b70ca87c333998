/* SPDX-License-Identifier: MIT */
#include "index/fts/fts_terms.h"

#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "mail/casemap.h"
#include "mail/charset.h"
#include "mail/message_text.h"
#include "mail/words.h"

enum { SLOTS_MIN = 1 << 10, TEXT_PIECE = 32 << 10 };

void
fts_terms_free(struct fts_terms *t)
{
	buf_free(&t->bytes);
	free(t->list);
	free(t->ends);
	free(t->slots);
	*t = (struct fts_terms){0};
}

void
fts_terms_reset(struct fts_terms *t)
{
	buf_reset(&t->bytes);
	if (t->slots)
		memset(t->slots, 0, t->slot_count * sizeof(*t->slots));
	t->count = 0;
	t->incomplete = 0;
}

/* ---- the set ---- */

static struct str
term_at(const struct fts_terms *t, size_t n)
{
	size_t begin = n ? t->ends[n - 1] : 0;

	return str_make(t->bytes.p + begin, t->ends[n] - begin);
}

static size_t
hash_of(char letter, struct str term)
{
	uint64_t h = 0xcbf29ce484222325 ^ (unsigned char)letter;

	for (size_t i = 0; i < term.len; i++)
		h = (h ^ (unsigned char)term.p[i]) * 0x100000001b3;
	return (size_t)(h ^ h >> 29);
}

static uint32_t *
slot_of(struct fts_terms *t, char letter, struct str term)
{
	size_t at = hash_of(letter, term) & (t->slot_count - 1);

	for (;; at = (at + 1) & (t->slot_count - 1)) {
		struct str have;

		if (!t->slots[at])
			return &t->slots[at];
		have = term_at(t, t->slots[at] - 1);
		if (have.len == term.len + 1 && have.p[0] == letter &&
			memcmp(have.p + 1, term.p, term.len) == 0)
			return &t->slots[at];
	}
}

static void
table_grow(struct fts_terms *t)
{
	t->slot_count = t->slot_count ? 2 * t->slot_count : SLOTS_MIN;
	free(t->slots);
	t->slots = mem_zalloc(t->slot_count * sizeof(*t->slots));
	for (size_t i = 0; i < t->count; i++) {
		struct str have = term_at(t, i);

		*slot_of(t, have.p[0], str_make(have.p + 1, have.len - 1)) = (uint32_t)i + 1;
	}
}

/* 0: no more fit. */
static int
add_term(struct fts_terms *t, enum fts_class class, struct str term)
{
	char letter = fts_class_letter(class);
	uint32_t *slot;

	if (2 * t->count >= t->slot_count)
		table_grow(t);
	slot = slot_of(t, letter, term);
	if (*slot)
		return 1;
	if (t->count == FTS_TERMS_MAX || t->bytes.len + term.len + 1 > FTS_TERMS_BYTES_MAX) {
		t->incomplete = 1;
		return 0;
	}
	if (t->count == t->cap) {
		t->cap = t->cap ? 2 * t->cap : 512;
		t->ends = mem_realloc(t->ends, t->cap, sizeof(*t->ends));
	}
	(void)buf_add_char(&t->bytes, letter);
	(void)buf_add_str(&t->bytes, term);
	t->ends[t->count] = (uint32_t)t->bytes.len;
	*slot = (uint32_t)++t->count;
	return 1;
}

/* ---- a message ---- */

struct collect {
	struct fts_terms *terms;
	struct words words[MESSAGE_TEXT_HTML + 1];
	struct buf folded;
	void (*other)(const struct mime_part *part, struct str body, void *ctx);
	void *ctx;
};

static int
on_body_term(struct str term, void *ctx)
{
	return add_term(ctx, FTS_BODY, term);
}

static int
on_header_term(struct str term, void *ctx)
{
	return add_term(ctx, FTS_HEADER, term);
}

static int
on_attached_term(struct str term, void *ctx)
{
	return add_term(ctx, FTS_ATTACHED, term);
}

static int
on_piece(enum message_text_stream stream, struct str utf8, void *ctx)
{
	struct collect *c = ctx;

	buf_reset(&c->folded);
	casemap_fold(utf8, &c->folded);
	return words_feed(&c->words[stream], buf_str(&c->folded));
}

static void
on_end(enum message_text_stream stream, void *ctx)
{
	struct collect *c = ctx;

	(void)words_end(&c->words[stream]);
}

static int
on_other(const struct mime_part *part, struct str body, void *ctx)
{
	struct collect *c = ctx;

	c->other(part, body, c->ctx);
	return !c->terms->incomplete;
}

void
fts_terms_add_message(struct fts_terms *t, struct str content,
	void (*other)(const struct mime_part *part, struct str body, void *ctx), void *ctx)
{
	struct collect c = {.terms = t, .other = other, .ctx = ctx};
	struct message_text_sink sink = {
		.piece = on_piece, .end = on_end, .other = other ? on_other : NULL, .ctx = &c};

	words_begin(&c.words[MESSAGE_TEXT_HEADER], on_header_term, t);
	words_begin(&c.words[MESSAGE_TEXT_PLAIN], on_body_term, t);
	words_begin(&c.words[MESSAGE_TEXT_HTML], on_body_term, t);
	message_text_walk(content, 1, &sink);
	buf_free(&c.folded);
}

void
fts_terms_add_text(struct fts_terms *t, enum fts_class class, struct str utf8)
{
	static int (*const add[FTS_CLASSES])(struct str, void *) = {
		on_body_term, on_header_term, on_attached_term};
	struct charset_conv *conv = charset_conv_create(STR("utf-8"));
	struct buf clean = {0}, folded = {0};
	struct words words;
	int more = 1;

	words_begin(&words, add[class], t);
	while (utf8.len && more) {
		size_t n = utf8.len < TEXT_PIECE ? utf8.len : TEXT_PIECE;

		buf_reset(&clean);
		buf_reset(&folded);
		charset_conv_feed(conv, utf8.p, n, &clean);
		casemap_fold(buf_str(&clean), &folded);
		more = words_feed(&words, buf_str(&folded));
		utf8 = str_make(utf8.p + n, utf8.len - n);
	}
	(void)words_end(&words);
	charset_conv_free(&conv);
	buf_free(&clean);
	buf_free(&folded);
}

/* ---- the list ---- */

static int
compare_terms(const void *a, const void *b)
{
	return str_compare(*(const struct str *)a, *(const struct str *)b);
}

void
fts_terms_finish(struct fts_terms *t)
{
	t->list = mem_realloc(t->list, t->count + 1, sizeof(*t->list));
	for (size_t i = 0; i < t->count; i++)
		t->list[i] = term_at(t, i);
	/* As Xapian keeps them: each finds its place at the end of what it has. */
	qsort(t->list, t->count, sizeof(*t->list), compare_terms);
}
