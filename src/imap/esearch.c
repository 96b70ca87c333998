/* SPDX-License-Identifier: MIT */
#include "imap/esearch.h"

#include <inttypes.h>
#include <stdlib.h>

#include "lib/mem.h"

static const struct {
	const char *name;
	enum esearch_item item;
} item_names[] = {
	{"MIN", ESEARCH_MIN},
	{"MAX", ESEARCH_MAX},
	{"ALL", ESEARCH_ALL},
	{"COUNT", ESEARCH_COUNT},
	{"SAVE", ESEARCH_SAVE},
	{"PARTIAL", ESEARCH_PARTIAL},
	{"CONTEXT", ESEARCH_CONTEXT},
	{"UPDATE", ESEARCH_UPDATE},
	{"RELEVANCY", ESEARCH_RELEVANCY},
};
enum { ITEM_COUNT = sizeof(item_names) / sizeof(item_names[0]) };

/* ---- parsing ---- */

/* <partial-range> (RFC 9394 section 4): "1:500", or from the end "-1:-500". */
static enum err
parse_partial(struct imap_parser *p, struct esearch_return *out)
{
	imap_parse_space(p);
	if (imap_parse_partial_range(p, &out->from_end, &out->partial_from, &out->partial_to))
		return p->err;
	out->partial_first = out->partial_from;
	out->partial_last = out->partial_to;
	if (out->partial_first > out->partial_last) {
		out->partial_first = out->partial_to;
		out->partial_last = out->partial_from;
	}
	return OK;
}

/* "(fetch-att ...)" behind UPDATE, if it is there (RFC 5465 section 7). */
static enum err
parse_update(struct imap_parser *p, struct esearch_return *out)
{
	if (!imap_parse_peek_text(p, " ("))
		return OK;
	if (out->has_fetch)
		return imap_parser_fail(p, E_PARSE, "UPDATE is there twice");
	imap_parse_space(p);
	out->has_fetch = 1;
	return fetch_plan_parse_list(p, &out->fetch);
}

static enum err
parse_item(struct imap_parser *p, struct esearch_return *out)
{
	size_t start = p->at, i = 0;
	struct str word;

	if (imap_parse_word(p, "expected a return option", &word))
		return p->err;
	while (i < ITEM_COUNT && !str_is_i(word, item_names[i].name))
		i++;
	if (i == ITEM_COUNT) {
		p->at = start;
		return imap_parser_fail(p, E_PARSE, "there is no such return option");
	}
	if (item_names[i].item == ESEARCH_PARTIAL && out->items & ESEARCH_PARTIAL)
		return imap_parser_fail(p, E_PARSE, "PARTIAL is there twice");
	out->items |= item_names[i].item;
	if (item_names[i].item == ESEARCH_UPDATE)
		return parse_update(p, out);
	return item_names[i].item == ESEARCH_PARTIAL ? parse_partial(p, out) : OK;
}

enum err
esearch_return_parse(struct imap_parser *p, struct esearch_return *out)
{
	size_t n = 0;

	*out = (struct esearch_return){0};
	if (!imap_parse_try_word(p, "RETURN"))
		return OK;
	out->given = 1;
	imap_parse_space(p);
	imap_parse_open(p);
	while (imap_parse_item(p, &n))
		if (parse_item(p, out))
			break;
	/* RFC 9394 section 3.1 */
	if (!p->err && (out->items & ESEARCH_PARTIAL) && (out->items & ESEARCH_ALL))
		return imap_parser_fail(p, E_PARSE, "PARTIAL and ALL exclude each other");
	if (!out->items)
		out->items = ESEARCH_ALL;
	return imap_parse_space(p);
}

void
esearch_return_fini(struct esearch_return *ret)
{
	fetch_plan_fini(&ret->fetch);
	ret->has_fetch = 0;
}

/* ---- the parts of a result ---- */

static uint32_t
number_of(const struct esearch_reply *r, uint32_t seq)
{
	return r->uid ? index_view_uid(r->box->view, seq) : seq;
}

/*
 * Numbers in their order, in the syntax of a set. Only rising neighbours become a range (RFC 5267
 * section 3.2).
 */
static void
add_set(const struct esearch_reply *r, const uint32_t *seqs, size_t count, struct buf *out)
{
	for (size_t i = 0; i < count; i++) {
		uint32_t first = number_of(r, seqs[i]), last = first;

		while (i + 1 < count && number_of(r, seqs[i + 1]) == last + 1) {
			i++;
			last++;
		}
		(void)buf_add_u64(out, first);
		if (last != first) {
			(void)buf_add_char(out, ':');
			(void)buf_add_u64(out, last);
		}
		if (i + 1 < count)
			(void)buf_add_char(out, ',');
	}
}

/* The places of the PARTIAL range in a result of count: from *at on *n. */
static void
partial_places(const struct esearch_return *ret, size_t count, size_t *at, size_t *n)
{
	size_t first = ret->partial_first, last = ret->partial_last;

	*at = *n = 0;
	if (first > count)
		return;
	if (last > count)
		last = count;
	*at = ret->from_end ? count - last : first - 1;
	*n = last - first + 1;
}

/* ---- MODSEQ ---- */

/*
 * RFC 4731 section 3.2: of the messages that are returned, which are all unless only MIN, MAX or
 * PARTIAL are asked for.
 */
static enum err
highest_modseq(const struct esearch_reply *r, uint64_t *out)
{
	unsigned items = r->ret->items;
	uint32_t ends[2];
	size_t at, n, k = 0;
	uint64_t more = 0;
	enum err e = OK;

	*out = 0;
	if (r->count == 0)
		return OK;
	if (items & (ESEARCH_ALL | ESEARCH_COUNT) ||
		!(items & (ESEARCH_MIN | ESEARCH_MAX | ESEARCH_PARTIAL)))
		return search_highest_modseq(r->box, r->seqs, r->count, out);
	if (items & ESEARCH_MIN)
		ends[k++] = r->seqs[0];
	if (items & ESEARCH_MAX)
		ends[k++] = r->seqs[r->count - 1];
	for (size_t i = 0; i < k && !e; i++) {
		e = search_highest_modseq(r->box, &ends[i], 1, &more);
		*out = more > *out ? more : *out;
	}
	if (items & ESEARCH_PARTIAL && !e) {
		partial_places(r->ret, r->count, &at, &n);
		e = search_highest_modseq(r->box, r->seqs + at, n, &more);
		*out = more > *out ? more : *out;
	}
	return e;
}

/* ---- the response ---- */

static void
add_correlator(const struct esearch_reply *r, struct buf *out)
{
	(void)buf_add_cstr(out, "* ESEARCH (TAG ");
	imap_write_string(out, r->s->tag);
	if (r->mailbox) {
		(void)buf_add_cstr(out, " MAILBOX ");
		imap_write_mailbox(r->s, out, str_of(r->mailbox));
		(void)buf_printf(out, " UIDVALIDITY %" PRIu32, r->uidvalidity);
	}
	(void)buf_add_cstr(out, r->uid ? ") UID" : ")");
}

static void
add_partial(const struct esearch_reply *r, struct buf *out)
{
	const struct esearch_return *ret = r->ret;
	const char *sign = ret->from_end ? "-" : "";
	size_t at, n;

	partial_places(ret, r->count, &at, &n);
	(void)buf_printf(out, " PARTIAL (%s%" PRIu32 ":%s%" PRIu32 " ", sign, ret->partial_from,
		sign, ret->partial_to);
	if (n)
		add_set(r, r->seqs + at, n, out);
	else
		(void)buf_add_cstr(out, "NIL");
	(void)buf_add_char(out, ')');
}

static void
add_relevancy(const struct esearch_reply *r, struct buf *out)
{
	size_t at = 0, n = r->count;

	if (r->ret->items & ESEARCH_PARTIAL)
		partial_places(r->ret, r->count, &at, &n);
	if (!n || !r->scores)
		return;
	(void)buf_add_cstr(out, " RELEVANCY (");
	for (size_t i = at; i < at + n; i++) {
		if (i > at)
			(void)buf_add_char(out, ' ');
		(void)buf_add_u64(out, r->scores[i]);
	}
	(void)buf_add_char(out, ')');
}

static void
add_items(const struct esearch_reply *r, struct buf *out)
{
	unsigned items = r->ret->items;

	if (items & ESEARCH_MIN && r->count)
		(void)buf_printf(out, " MIN %" PRIu32, number_of(r, r->seqs[0]));
	if (items & ESEARCH_MAX && r->count)
		(void)buf_printf(out, " MAX %" PRIu32, number_of(r, r->seqs[r->count - 1]));
	if (items & ESEARCH_COUNT)
		(void)buf_printf(out, " COUNT %zu", r->count);
	if (items & ESEARCH_ALL && r->count) {
		(void)buf_add_cstr(out, " ALL ");
		add_set(r, r->seqs, r->count, out);
	}
	if (items & ESEARCH_PARTIAL)
		add_partial(r, out);
	if (items & ESEARCH_RELEVANCY)
		add_relevancy(r, out);
}

enum err
esearch_send(const struct esearch_reply *r)
{
	struct buf out = BUF_INIT(0);
	uint64_t modseq = 0;
	enum err e = OK;

	/* SAVE alone asks for no response (RFC 5182 section 1). */
	if (r->ret->items == ESEARCH_SAVE)
		return OK;
	if (r->plan->has_modseq)
		e = highest_modseq(r, &modseq);
	if (e)
		return e;
	add_correlator(r, &out);
	add_items(r, &out);
	if (modseq)
		(void)buf_printf(&out, " MODSEQ %" PRIu64, modseq);
	(void)buf_add_cstr(&out, "\r\n");
	(void)stream_write_str(r->s->client, buf_str(&out));
	buf_free(&out);
	return OK;
}

enum err
esearch_send_as(const struct esearch_reply *r, const char *word)
{
	struct buf out = BUF_INIT(0);
	uint64_t modseq = 0;
	enum err e = OK;

	if (r->ret->given)
		return esearch_send(r);
	if (r->plan->has_modseq)
		e = search_highest_modseq(r->box, r->seqs, r->count, &modseq);
	if (e)
		return e;
	(void)buf_printf(&out, "* %s", word);
	for (size_t i = 0; i < r->count; i++) {
		(void)buf_add_char(&out, ' ');
		(void)buf_add_u64(
			&out, r->uid ? index_view_uid(r->s->view, r->seqs[i]) : r->seqs[i]);
	}
	if (modseq)
		(void)buf_printf(&out, " (MODSEQ %" PRIu64 ")", modseq);
	(void)buf_add_cstr(&out, "\r\n");
	(void)stream_write_str(r->s->client, buf_str(&out));
	buf_free(&out);
	return OK;
}

/* ---- the saved result ---- */

static int
compare_numbers(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void
save(struct imap_session *s, const uint32_t *seqs, size_t count)
{
	uint32_t *rising = mem_alloc((count + 1) * sizeof(*rising));

	/* SORT's results do not rise; numset is fast only if they do. */
	for (size_t i = 0; i < count; i++)
		rising[i] = seqs[i];
	qsort(rising, count, sizeof(*rising), compare_numbers);
	for (size_t i = 0; i < count; i++)
		numset_add(&s->saved, index_view_uid(s->view, rising[i]));
	free(rising);
}

void
esearch_save(struct imap_session *s, const struct esearch_return *ret, const uint32_t *seqs,
	size_t count)
{
	unsigned items = ret->items;
	size_t at, n;

	if (!(items & ESEARCH_SAVE))
		return;
	numset_free(&s->saved);
	if (items & (ESEARCH_ALL | ESEARCH_COUNT) ||
		!(items & (ESEARCH_MIN | ESEARCH_MAX | ESEARCH_PARTIAL))) {
		save(s, seqs, count);
		return;
	}
	if (items & ESEARCH_PARTIAL) {
		partial_places(ret, count, &at, &n);
		save(s, seqs + at, n);
	}
	if (items & ESEARCH_MIN && count)
		save(s, seqs, 1);
	if (items & ESEARCH_MAX && count)
		save(s, seqs + count - 1, 1);
}

void
esearch_save_failed(struct imap_session *s, const struct esearch_return *ret)
{
	if (ret->items & ESEARCH_SAVE)
		numset_free(&s->saved);
}
