/* SPDX-License-Identifier: MIT */
#include "imap/sort.h"

#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "mail/cache.h"

/* ---- the program ---- */

static const struct {
	const char *name;
	enum mail_cache_field field; /* of a text; 0: a number */
} keys[SORT_KEYS] = {
	[SORT_ARRIVAL] = {"ARRIVAL", 0},
	[SORT_CC] = {"CC", MAIL_CACHE_CC},
	[SORT_DATE] = {"DATE", 0},
	[SORT_DISPLAYFROM] = {"DISPLAYFROM", MAIL_CACHE_FROM_DISPLAY},
	[SORT_DISPLAYTO] = {"DISPLAYTO", MAIL_CACHE_TO_DISPLAY},
	[SORT_FROM] = {"FROM", MAIL_CACHE_FROM},
	[SORT_RELEVANCY] = {"RELEVANCY", 0},
	[SORT_SIZE] = {"SIZE", 0},
	[SORT_SUBJECT] = {"SUBJECT", MAIL_CACHE_BASE_SUBJECT},
	[SORT_TO] = {"TO", MAIL_CACHE_TO},
};

static void
program_add(struct sort_program *program, enum sort_key key, int reverse)
{
	for (size_t i = 0; i < program->n; i++)
		if (program->v[i].key == key)
			return;
	program->v[program->n].key = key;
	program->v[program->n].reverse = reverse;
	program->n++;
}

static enum err
criterion_parse(struct imap_parser *p, struct sort_program *out)
{
	int reverse = imap_parse_try_word(p, "REVERSE");
	size_t start;
	struct str word;

	if (reverse)
		imap_parse_space(p);
	start = p->at;
	if (imap_parse_word(p, "expected a sort criterion", &word))
		return p->err;
	for (int key = 0; key < SORT_KEYS; key++) {
		if (str_is_i(word, keys[key].name)) {
			program_add(out, (enum sort_key)key, reverse);
			return OK;
		}
	}
	p->at = start;
	return imap_parser_fail(p, E_PARSE, "there is no such sort criterion");
}

enum err
sort_program_parse(struct imap_parser *p, struct sort_program *out)
{
	size_t n = 0;

	out->n = 0;
	imap_parse_open(p);
	while (imap_parse_item(p, &n)) {
		if (n > SORT_CRITERIA_MAX)
			return imap_parser_fail(p, E_TOOBIG, "too many sort criteria");
		if (criterion_parse(p, out))
			break;
	}
	if (!p->err && n == 0)
		return imap_parser_fail(p, E_PARSE, "expected a sort criterion");
	return p->err;
}

int
sort_program_has_relevancy(const struct sort_program *program)
{
	for (size_t i = 0; i < program->n; i++)
		if (program->v[i].key == SORT_RELEVANCY)
			return 1;
	return 0;
}

/* ---- values ---- */

/*
 * The first eight bytes of a text, or a number, so that most comparisons need no more. Rising as
 * unsigned numbers.
 */
struct value {
	uint64_t head;
	uint32_t off, len; /* the text, in sort.texts; len 0 for numbers */
};

struct sort {
	const struct search_box *box;
	const struct sort_program *program;
	struct value *values; /* program->n for each message */
	uint32_t *seqs;
	unsigned char *scores; /* or NULL */
	size_t count; /* of messages that are there */
	struct buf texts;
};

/* What is compared: one for each message. */
struct entry {
	uint64_t head; /* of the first criterion, reversed if that is */
	uint32_t n; /* place among the values */
};

static struct value
number_value(int64_t number)
{
	return (struct value){.head = (uint64_t)number ^ (uint64_t)1 << 63};
}

static enum err
text_value(struct sort *sort, struct str text, struct value *out)
{
	*out = (struct value){.off = (uint32_t)sort->texts.len, .len = (uint32_t)text.len};
	for (size_t i = 0; i < 8 && i < text.len; i++)
		out->head |= (uint64_t)(unsigned char)text.p[i] << (56 - 8 * i);
	/* What the head holds all of need not be kept, but for zeros at its end. */
	return text.len ? buf_add_str(&sort->texts, text) : OK;
}

static enum err
value_of(struct sort *sort, enum sort_key key, size_t n, const struct index_message *m,
	const struct str fields[MAIL_CACHE_FIELDS], struct value *out)
{
	int64_t date = 0;
	enum err e = OK;

	switch (key) {
	case SORT_ARRIVAL:
		*out = number_value(m->internal_date);
		return OK;
	case SORT_SIZE:
		*out = (struct value){.head = m->size};
		return OK;
	case SORT_RELEVANCY:
		*out = (struct value){.head = sort->scores ? 100 - sort->scores[n] : 0};
		return OK;
	case SORT_DATE:
		e = search_sent_date(sort->box, m, fields[MAIL_CACHE_SENT_DATE], &date);
		*out = number_value(date);
		return e;
	default:
		return text_value(sort, fields[keys[key].field], out);
	}
}

static enum err
add_values(size_t n, const struct index_message *m, struct str record, void *ctx)
{
	struct sort *sort = ctx;
	struct str fields[MAIL_CACHE_FIELDS];
	struct value *v = sort->values + sort->count * sort->program->n;
	enum err e = OK;

	(void)mail_cache_fields(record, fields);
	for (size_t i = 0; i < sort->program->n && !e; i++)
		e = value_of(sort, sort->program->v[i].key, n, m, fields, &v[i]);
	/* The numbers stay in step with the values when a message is gone. */
	if (sort->scores)
		sort->scores[sort->count] = sort->scores[n];
	sort->seqs[sort->count++] = sort->seqs[n];
	return e;
}

/* ---- sorting ---- */

static int
compare_values(const struct sort *sort, const struct value *a, const struct value *b)
{
	size_t n = a->len < b->len ? a->len : b->len;
	int c;

	if (a->head != b->head)
		return a->head < b->head ? -1 : 1;
	c = n ? memcmp(sort->texts.p + a->off, sort->texts.p + b->off, n) : 0;
	return c ? c : (a->len > b->len) - (a->len < b->len);
}

static int
compare_entries(const void *x, const void *y, void *ctx)
{
	const struct sort *sort = ctx;
	const struct entry *p = x, *q = y;
	size_t k = sort->program->n;

	if (p->head != q->head)
		return p->head < q->head ? -1 : 1;
	for (size_t i = 0; i < k; i++) {
		int c = compare_values(
			sort, &sort->values[p->n * k + i], &sort->values[q->n * k + i]);

		if (c)
			return sort->program->v[i].reverse ? -c : c;
	}
	/* RFC 5256: what is equal stays in the mailbox's order. */
	return (p->n > q->n) - (p->n < q->n);
}

static void
sort_values(struct sort *sort)
{
	struct entry *entries = mem_alloc((sort->count + 1) * sizeof(*entries));
	uint32_t *seqs = mem_alloc((sort->count + 1) * sizeof(*seqs));
	unsigned char *scores = sort->scores ? mem_alloc(sort->count + 1) : NULL;
	uint64_t flip = sort->program->v[0].reverse ? UINT64_MAX : 0;

	for (size_t i = 0; i < sort->count; i++)
		entries[i] =
			(struct entry){sort->values[i * sort->program->n].head ^ flip, (uint32_t)i};
	qsort_r(entries, sort->count, sizeof(*entries), compare_entries, sort);
	for (size_t i = 0; i < sort->count; i++)
		seqs[i] = sort->seqs[entries[i].n];
	memcpy(sort->seqs, seqs, sort->count * sizeof(*seqs));
	for (size_t i = 0; scores && i < sort->count; i++)
		scores[i] = sort->scores[entries[i].n];
	if (scores)
		memcpy(sort->scores, scores, sort->count);
	free(scores);
	free(entries);
	free(seqs);
}

enum err
sort_run(const struct search_box *box, const struct sort_program *program,
	struct imap_progress *progress, uint32_t *seqs, unsigned char *scores, size_t *count)
{
	struct sort sort = {.box = box,
		.program = program,
		.seqs = seqs,
		.scores = scores,
		.texts = BUF_INIT(SORT_TEXT_MAX)};
	struct search_each each = {
		.box = box,
		.seqs = seqs,
		.count = *count,
		.progress = progress,
		.visit = add_values,
		.ctx = &sort,
	};
	enum err e;

	if (*count == 0)
		return OK;
	for (size_t i = 0; i < program->n; i++) {
		enum sort_key key = program->v[i].key;

		each.with_facts |= key == SORT_ARRIVAL || key == SORT_SIZE;
		each.with_record |=
			key != SORT_ARRIVAL && key != SORT_SIZE && key != SORT_RELEVANCY;
	}
	sort.values = mem_realloc(NULL, *count, program->n * sizeof(*sort.values));
	e = search_each(&each);
	if (!e) {
		sort_values(&sort);
		*count = sort.count;
	}
	free(sort.values);
	buf_free(&sort.texts);
	return e;
}
