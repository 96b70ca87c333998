/* SPDX-License-Identifier: MIT */
#include "mail/words.h"

#include <string.h>
#include <utf8proc.h>

#include "mail/utf8.h"

enum { NO_RUN, WORD_RUN, PAIR_RUN };

/* Scripts that are written without blanks between words. */
static int
is_spaceless(uint32_t c)
{
	static const struct {
		uint32_t first, last;
	} blocks[] = {
		{0x0e00, 0x0fff}, /* Thai, Lao, Tibetan */
		{0x1000, 0x109f}, /* Myanmar */
		{0x1780, 0x17ff}, /* Khmer */
		{0x2e80, 0x2fdf}, /* radicals */
		{0x3005, 0x3007},
		{0x3021, 0x312f}, /* Kana with its marks, Bopomofo */
		{0x31a0, 0x31bf},
		{0x31f0, 0x31ff},
		{0x3400, 0x4dbf},
		{0x4e00, 0xa4cf}, /* Han, Yi */
		{0xaa60, 0xaa7f},
		{0xf900, 0xfaff},
		{0x1b000, 0x1b16f},
		{0x20000, 0x3ffff},
	};

	for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++)
		if (c >= blocks[i].first && c <= blocks[i].last)
			return 1;
	return 0;
}

static int
kind_of(uint32_t c)
{
	if (c < 0x80)
		return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')
			       ? WORD_RUN
			       : NO_RUN;
	if (c >= 0xe00 && is_spaceless(c))
		return PAIR_RUN;
	switch (utf8proc_category((utf8proc_int32_t)c)) {
	case UTF8PROC_CATEGORY_LU:
	case UTF8PROC_CATEGORY_LL:
	case UTF8PROC_CATEGORY_LT:
	case UTF8PROC_CATEGORY_LM:
	case UTF8PROC_CATEGORY_LO:
	case UTF8PROC_CATEGORY_MN:
	case UTF8PROC_CATEGORY_MC:
	case UTF8PROC_CATEGORY_ME:
	case UTF8PROC_CATEGORY_ND:
	case UTF8PROC_CATEGORY_NL:
	case UTF8PROC_CATEGORY_NO:
		return WORD_RUN;
	case UTF8PROC_CATEGORY_SO:
		return PAIR_RUN;
	default:
		return NO_RUN;
	}
}

/* The next character and its kind; what is ill-formed has none. Returns its bytes. */
static size_t
next_char(struct str s, size_t at, int *kind, int *bad)
{
	uint32_t point;
	size_t used;

	*kind = NO_RUN;
	if (utf8_next((const unsigned char *)s.p + at, s.len - at, &point, &used) == UTF8_GOOD)
		*kind = kind_of(point);
	else
		*bad = 1;
	return used;
}

/* ---- terms ---- */

void
words_begin(struct words *w, int (*term)(struct str term, void *ctx), void *ctx)
{
	memset(w, 0, offsetof(struct words, run));
	w->term = term;
	w->ctx = ctx;
}

static void
give(struct words *w, size_t from, size_t len)
{
	if (len && !w->ended)
		w->ended = !w->term(str_make(w->run + from, len), w->ctx);
}

static void
run_end(struct words *w)
{
	if (w->kind == WORD_RUN)
		give(w, 0, w->len);
	else if (w->kind == PAIR_RUN && !w->paired)
		give(w, 0, w->len);
	w->kind = NO_RUN;
	w->paired = 0;
	w->len = w->last = 0;
}

static void
word_add(struct words *w, const char *p, size_t len)
{
	memcpy(w->run + w->len, p, len);
	w->len += len;
	if (w->len <= WORDS_TERM_MAX)
		return;
	give(w, 0, WORDS_TERM_MAX);
	w->len -= WORDS_STEP;
	memmove(w->run, w->run + WORDS_STEP, w->len);
}

/* run holds the last character. */
static void
pair_add(struct words *w, const char *p, size_t len)
{
	size_t before = w->len;

	memcpy(w->run + before, p, len);
	if (before) {
		give(w, 0, before + len);
		w->paired = 1;
		memcpy(w->run, p, len);
	}
	w->len = len;
}

int
words_feed(struct words *w, struct str s)
{
	size_t at = 0;
	int bad = 0;

	while (at < s.len && !w->ended) {
		int kind;
		size_t used = next_char(s, at, &kind, &bad);

		if (kind != w->kind)
			run_end(w);
		w->kind = kind;
		if (kind == WORD_RUN)
			word_add(w, s.p + at, used);
		else if (kind == PAIR_RUN)
			pair_add(w, s.p + at, used);
		at += used;
	}
	return !w->ended;
}

int
words_end(struct words *w)
{
	run_end(w);
	return !w->ended;
}

int
words_term_is_paired(struct str term)
{
	int kind = NO_RUN, bad = 0;

	if (term.len)
		(void)next_char(term, 0, &kind, &bad);
	return kind == PAIR_RUN;
}

/* ---- what is looked for ---- */

/* A run of the needle, as it stands there. */
struct found_run {
	struct str text;
	int kind;
	int at_begin, at_end; /* of the needle: the text may go on there */
};

static void
query_add(struct words_query *q, enum words_how how, struct str text)
{
	if (q->count == WORDS_RUNS_MAX) {
		q->exact = 0;
		return;
	}
	q->runs[q->count].how = how;
	q->runs[q->count].text = text;
	q->count++;
}

static struct str
first_bytes(struct str s)
{
	return str_make(s.p, s.len < WORDS_SURE ? s.len : WORDS_SURE);
}

static struct str
last_bytes(struct str s)
{
	return s.len < WORDS_SURE ? s : str_make(s.p + s.len - WORDS_SURE, WORDS_SURE);
}

static void
query_word(struct words_query *q, const struct found_run *run)
{
	struct str text = run->text;

	if (run->at_begin && run->at_end)
		query_add(q, WORDS_CONTAINS, first_bytes(text));
	else if (run->at_begin)
		query_add(q, WORDS_ENDS, last_bytes(text));
	else if (run->at_end || text.len > WORDS_TERM_MAX)
		query_add(q, WORDS_BEGINS, first_bytes(text));
	else
		query_add(q, WORDS_IS, text);
	q->exact = q->exact && text.len <= WORDS_SURE;
}

/* Returns the characters in it. */
static size_t
query_pairs(struct words_query *q, struct str text)
{
	size_t chars = 0, before = 0, at = 0;
	int kind, bad = 0;

	while (at < text.len) {
		size_t used = next_char(text, at, &kind, &bad);

		if (chars++)
			query_add(q, WORDS_IS, str_make(text.p + before, at + used - before));
		before = at;
		at += used;
	}
	if (chars == 1)
		query_add(q, WORDS_CONTAINS, text);
	return chars;
}

/* The next run at or behind *at; 0: there is none. *bad: something is no UTF-8. */
static int
next_run(struct str s, size_t *at, struct found_run *out, int *bad)
{
	size_t begin, used;
	int kind = NO_RUN;

	while (*at < s.len) {
		used = next_char(s, *at, &kind, bad);
		if (kind != NO_RUN)
			break;
		*at += used;
	}
	begin = *at;
	out->kind = kind;
	while (*at < s.len) {
		used = next_char(s, *at, &kind, bad);
		if (kind != out->kind)
			break;
		*at += used;
	}
	out->text = str_make(s.p + begin, *at - begin);
	out->at_begin = begin == 0;
	out->at_end = *at == s.len;
	return out->text.len > 0;
}

void
words_query_init(struct words_query *q, struct str folded)
{
	struct found_run run;
	size_t at = 0;
	int bad = 0;

	memset(q, 0, sizeof(*q));
	buf_add_str(&q->bytes, folded);
	folded = buf_str(&q->bytes);
	q->exact = 1;
	while (next_run(folded, &at, &run, &bad)) {
		if (run.kind == WORD_RUN)
			query_word(q, &run);
		else if (query_pairs(q, run.text) > 2)
			q->exact = 0;
		/* Beside others its place in the text would matter. */
		q->exact = q->exact && run.at_begin && run.at_end;
	}
	if (bad)
		q->count = 0;
	q->exact = q->exact && q->count > 0;
}

void
words_query_fini(struct words_query *q)
{
	buf_free(&q->bytes);
	q->count = 0;
}

int
words_query_meets(const struct words_query *q, size_t i, struct str term)
{
	struct str text = q->runs[i].text;

	if (term.len < text.len)
		return 0;
	switch (q->runs[i].how) {
	case WORDS_IS:
		return str_equal(term, text);
	case WORDS_BEGINS:
		return memcmp(term.p, text.p, text.len) == 0;
	case WORDS_ENDS:
		return memcmp(term.p + term.len - text.len, text.p, text.len) == 0;
	default:
		return str_find_str(term, text) < term.len;
	}
}
