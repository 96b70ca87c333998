/* SPDX-License-Identifier: MIT */
#include "lib/numset.h"

#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"

void
numset_free(struct numset *s)
{
	free(s->ranges);
	*s = (struct numset){0};
}

/* Index of the first range whose last >= n, or count. */
static size_t
lower_range(const struct numset *s, uint32_t n)
{
	size_t lo = 0, hi = s->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (s->ranges[mid].last < n)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static void
insert_range(struct numset *s, size_t at, struct numset_range r)
{
	if (s->count == s->cap) {
		s->cap = s->cap ? s->cap * 2 : 8;
		s->ranges = mem_realloc(s->ranges, s->cap, sizeof(*s->ranges));
	}
	memmove(s->ranges + at + 1, s->ranges + at, (s->count - at) * sizeof(*s->ranges));
	s->ranges[at] = r;
	s->count++;
}

static void
delete_ranges(struct numset *s, size_t at, size_t n)
{
	memmove(s->ranges + at, s->ranges + at + n, (s->count - at - n) * sizeof(*s->ranges));
	s->count -= n;
}

void
numset_add(struct numset *s, uint32_t n)
{
	numset_add_range(s, n, n);
}

void
numset_add_range(struct numset *s, uint32_t first, uint32_t last)
{
	size_t at, end;

	/* The usual case: numbers come in rising order. */
	if (s->count && first > s->ranges[s->count - 1].last) {
		struct numset_range *tail = &s->ranges[s->count - 1];

		if (first == tail->last + 1) {
			tail->last = last;
			return;
		}
		insert_range(s, s->count, (struct numset_range){first, last});
		return;
	}
	/* Ranges that touch or overlap [first, last] melt into one. */
	at = lower_range(s, first ? first - 1 : 0);
	end = at;
	while (end < s->count && (last == UINT32_MAX || s->ranges[end].first <= last + 1)) {
		if (s->ranges[end].first < first)
			first = s->ranges[end].first;
		if (s->ranges[end].last > last)
			last = s->ranges[end].last;
		end++;
	}
	if (at == end) {
		insert_range(s, at, (struct numset_range){first, last});
		return;
	}
	s->ranges[at] = (struct numset_range){first, last};
	delete_ranges(s, at + 1, end - at - 1);
}

void
numset_remove_range(struct numset *s, uint32_t first, uint32_t last)
{
	size_t at = lower_range(s, first);

	while (at < s->count && s->ranges[at].first <= last) {
		struct numset_range *r = &s->ranges[at];

		if (r->first < first && r->last > last) {
			struct numset_range right = {last + 1, r->last};

			r->last = first - 1;
			insert_range(s, at + 1, right);
			return;
		}
		if (r->first < first) {
			r->last = first - 1;
			at++;
		} else if (r->last > last) {
			r->first = last + 1;
			return;
		} else {
			delete_ranges(s, at, 1);
		}
	}
}

void
numset_keep_last(struct numset *s, uint64_t n)
{
	size_t at = s->count;

	while (at > 0 && n > 0) {
		struct numset_range *r = &s->ranges[at - 1];
		uint64_t size = (uint64_t)r->last - r->first + 1;

		if (size > n)
			r->first = (uint32_t)(r->last - n + 1);
		n -= size < n ? size : n;
		at--;
	}
	if (at > 0)
		delete_ranges(s, 0, at);
}

int
numset_contains(const struct numset *s, uint32_t n)
{
	size_t at = lower_range(s, n);

	return at < s->count && s->ranges[at].first <= n;
}

int
numset_is_empty(const struct numset *s)
{
	return s->count == 0;
}

uint64_t
numset_size(const struct numset *s)
{
	uint64_t n = 0;

	for (size_t i = 0; i < s->count; i++)
		n += (uint64_t)s->ranges[i].last - s->ranges[i].first + 1;
	return n;
}

void
numset_copy(struct numset *dst, const struct numset *src)
{
	numset_free(dst);
	if (!src->count)
		return;
	dst->ranges = mem_realloc(NULL, src->count, sizeof(*dst->ranges));
	memcpy(dst->ranges, src->ranges, src->count * sizeof(*dst->ranges));
	dst->count = dst->cap = src->count;
}

void
numset_intersect(const struct numset *a, const struct numset *b, struct numset *out)
{
	size_t i = 0, k = 0;

	numset_free(out);
	while (i < a->count && k < b->count) {
		const struct numset_range *x = &a->ranges[i], *y = &b->ranges[k];
		uint32_t first = x->first > y->first ? x->first : y->first;
		uint32_t last = x->last < y->last ? x->last : y->last;

		if (first <= last)
			numset_add_range(out, first, last);
		if (x->last < y->last)
			i++;
		else
			k++;
	}
}

void
numset_subtract(const struct numset *a, const struct numset *b, struct numset *out)
{
	size_t k = 0;

	numset_free(out);
	for (size_t i = 0; i < a->count; i++) {
		uint64_t next = a->ranges[i].first, last = a->ranges[i].last;

		while (k < b->count && b->ranges[k].last < next)
			k++;
		/* The last range of b that matters here may matter for the next of a too. */
		for (size_t j = k; j < b->count && b->ranges[j].first <= last; j++) {
			if (b->ranges[j].first > next)
				numset_add_range(out, (uint32_t)next, b->ranges[j].first - 1);
			next = (uint64_t)b->ranges[j].last + 1;
			k = j;
		}
		if (next <= last)
			numset_add_range(out, (uint32_t)next, (uint32_t)last);
	}
}

enum err
numset_format(const struct numset *s, struct buf *out)
{
	for (size_t i = 0; i < s->count; i++) {
		if (i)
			buf_add_char(out, ',');
		buf_add_u64(out, s->ranges[i].first);
		if (s->ranges[i].last != s->ranges[i].first) {
			buf_add_char(out, ':');
			buf_add_u64(out, s->ranges[i].last);
		}
	}
	return out->err;
}

enum err
numset_parse(struct str text, struct numset *out)
{
	*out = (struct numset){0};
	while (text.p) {
		struct str last_text = str_split(&text, ',');
		struct str first_text = str_split(&last_text, ':');
		uint32_t first, last;
		enum err e = str_to_u32(first_text, &first);

		last = first;
		if (!e && last_text.p)
			e = str_to_u32(last_text, &last);
		if (!e && (first == 0 || last == 0))
			e = E_RANGE;
		if (e) {
			numset_free(out);
			return e;
		}
		numset_add_range(out, first < last ? first : last, first < last ? last : first);
	}
	return OK;
}

/* ---- packing: for each range its distance from the last and its length, 7 bits a byte ---- */

static void
pack_number(struct buf *out, uint32_t n)
{
	for (; n >= 0x80; n >>= 7)
		buf_add_char(out, (char)(n | 0x80));
	buf_add_char(out, (char)n);
}

static enum err
unpack_number(struct str *bytes, uint64_t *out)
{
	uint64_t n = 0;

	for (unsigned shift = 0; shift < 35; shift += 7) {
		unsigned char c;

		if (bytes->len == 0)
			return E_PROTO;
		c = (unsigned char)*bytes->p++;
		bytes->len--;
		n |= (uint64_t)(c & 0x7f) << shift;
		if (!(c & 0x80)) {
			*out = n;
			return OK;
		}
	}
	return E_PROTO;
}

void
numset_pack(const struct numset *s, struct buf *out)
{
	uint32_t from = 0;

	for (size_t i = 0; i < s->count; i++) {
		pack_number(out, s->ranges[i].first - from);
		pack_number(out, s->ranges[i].last - s->ranges[i].first);
		from = s->ranges[i].last;
	}
}

enum err
numset_unpack(struct str bytes, struct numset *out)
{
	uint64_t from = 0;

	*out = (struct numset){0};
	while (bytes.len) {
		uint64_t gap, length;
		enum err e = unpack_number(&bytes, &gap);

		e = e ? e : unpack_number(&bytes, &length);
		/* The first of all may be 0; ranges that touch would be one. */
		if (e || from + gap + length > UINT32_MAX || (out->count && gap < 2))
			return E_PROTO;
		numset_add_range(out, (uint32_t)(from + gap), (uint32_t)(from + gap + length));
		from += gap + length;
	}
	return OK;
}
