/* SPDX-License-Identifier: MIT */
#include "imap/seqset.h"

#include <stdlib.h>

#include "lib/mem.h"

/* One number, or "*" as largest. *star tells; at an empty mailbox that is 0. */
static enum err
number_take(struct str text, size_t *at, uint32_t largest, uint32_t *out, int *star)
{
	size_t start = *at;
	enum err e;

	*star = 0;
	if (start < text.len && text.p[start] == '*') {
		++*at;
		*star = 1;
		*out = largest;
		return OK;
	}
	while (*at < text.len && str_is_digit(text.p[*at]))
		++*at;
	e = str_to_u32(str_make(text.p + start, *at - start), out);
	if (!e && *out == 0)
		e = E_PARSE;
	if (e)
		*at = start;
	return e;
}

/* One item; *some is 0 if it stands for nothing: only stars, in an empty mailbox. */
static enum err
item_take(struct str text, size_t *at, uint32_t largest, struct numset_range *r, int *some)
{
	int star, star2;
	enum err e = number_take(text, at, largest, &r->first, &star);

	if (e)
		return e;
	r->last = r->first;
	if (*at < text.len && text.p[*at] == ':') {
		++*at;
		e = number_take(text, at, largest, &r->last, &star2);
		if (e)
			return e;
		if (r->first == 0)
			r->first = r->last;
		else if (r->last == 0)
			r->last = r->first;
	}
	if (r->first > r->last)
		*r = (struct numset_range){r->last, r->first};
	*some = r->first != 0;
	return OK;
}

static int
range_compare(const void *a, const void *b)
{
	const struct numset_range *x = a, *y = b;

	return (x->first > y->first) - (x->first < y->first);
}

enum err
imap_seqset_parse(struct str text, uint32_t largest, struct numset *out, size_t *at)
{
	struct numset_range *ranges = NULL;
	size_t n = 0, cap = 0, items = 0, here = 0;
	int some;
	enum err e;

	numset_free(out);
	for (;;) {
		if (items++ >= IMAP_SEQSET_ITEMS_MAX) {
			e = E_TOOBIG;
			goto out;
		}
		if (n == cap) {
			cap = cap ? cap * 2 : 8;
			ranges = mem_realloc(ranges, cap, sizeof(*ranges));
		}
		e = item_take(text, &here, largest, &ranges[n], &some);
		if (e)
			goto out;
		n += some != 0;
		if (here == text.len)
			break;
		if (text.p[here] != ',') {
			e = E_PARSE;
			goto out;
		}
		here++;
	}
	/* numset_add_range is fast only in rising order. */
	if (n > 1)
		qsort(ranges, n, sizeof(*ranges), range_compare);
	for (size_t i = 0; i < n; i++)
		numset_add_range(out, ranges[i].first, ranges[i].last);
out:
	free(ranges);
	if (e && at)
		*at = here;
	return e;
}
