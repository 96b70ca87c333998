/* SPDX-License-Identifier: MIT */
#include "mail/part.h"

#include <stdlib.h>

#include "lib/mem.h"
#include "mail/varint.h"

void
part_table_from_message(const struct mime_message *m, struct part_table *out)
{
	uint32_t parents[PART_DEPTH_MAX] = {0}; /* the table index of the open part of each depth */

	out->v = mem_alloc(m->part_count * sizeof(*out->v));
	out->n = 0;
	for (const struct mime_part *p = m->root; p; p = mime_part_next(p)) {
		struct part_entry *e = &out->v[out->n];

		parents[p->depth % PART_DEPTH_MAX] = (uint32_t)out->n;
		*e = (struct part_entry){
			.parent = p->depth ? parents[(p->depth - 1) % PART_DEPTH_MAX] : 0,
			.number = p->number,
			.kind = p->kind,
			.encoding = p->encoding,
			.header_off = p->header_off,
			.header_len = p->header_len,
			.header_bare_lf = p->header_bare_lf,
			.body_len = p->body_len,
			.body_bare_lf = p->body_bare_lf,
			.body_lines = p->body_lines,
		};
		out->n++;
	}
}

void
part_table_free(struct part_table *t)
{
	free(t->v);
	*t = (struct part_table){0};
}

/*
 * The number of entries, then for each: its parent's distance back, number, kind, encoding, the
 * header's distance from the parent's header, lengths, counts; all as varints.
 */
enum err
part_table_write(const struct part_table *t, struct buf *out)
{
	varint_add(out, t->n);
	for (size_t i = 0; i < t->n; i++) {
		const struct part_entry *e = &t->v[i];

		varint_add(out, i - e->parent);
		varint_add(out, e->number);
		varint_add(out, (unsigned)e->kind);
		varint_add(out, (unsigned)e->encoding);
		varint_add(out, e->header_off - t->v[e->parent].header_off);
		varint_add(out, e->header_len);
		varint_add(out, e->header_bare_lf);
		varint_add(out, e->body_len);
		varint_add(out, e->body_bare_lf);
		varint_add(out, e->body_lines);
	}
	return out->err;
}

/* Whether [off, off + len) lies within a part of the table. No sum overflows: all are below 2^62.
 */
static int
fits(const struct part_entry *parent, const struct part_entry *e)
{
	uint64_t parent_end = parent->header_off + parent->header_len + parent->body_len;

	return e->header_off >= parent->header_off + parent->header_len &&
	       e->header_off + e->header_len + e->body_len <= parent_end;
}

enum { SIZE_LIMIT_BITS = 60 };

static int
entry_is_sound(const struct part_table *t, const struct part_entry *e)
{
	const uint64_t limit = (uint64_t)1 << SIZE_LIMIT_BITS;

	if ((unsigned)e->kind > MIME_MESSAGE || (unsigned)e->encoding > MAIL_ENCODING_UNKNOWN ||
		!e->number || e->header_off >= limit || e->header_len >= limit ||
		e->body_len >= limit || e->header_bare_lf > e->header_len ||
		e->body_bare_lf > e->body_len || e->body_lines > e->body_len)
		return 0;
	if (t->n == 0)
		return e->header_off == 0;
	return t->v[e->parent].kind != MIME_LEAF && fits(&t->v[e->parent], e);
}

static enum err
entry_read(struct str *bytes, const struct part_table *t, struct part_entry *e)
{
	uint64_t n[10];
	size_t i = t->n;

	for (size_t k = 0; k < sizeof(n) / sizeof(n[0]); k++)
		if (!varint_take(bytes, &n[k]))
			return E_CORRUPT;
	if (n[0] > i || (i && !n[0]) || n[1] > UINT32_MAX || n[2] > UINT8_MAX || n[3] > UINT8_MAX)
		return E_CORRUPT;
	*e = (struct part_entry){
		.parent = (uint32_t)(i - n[0]),
		.number = (uint32_t)n[1],
		.kind = (enum mime_kind)n[2],
		.encoding = (enum mail_encoding)n[3],
		.header_off = n[4],
		.header_len = n[5],
		.header_bare_lf = n[6],
		.body_len = n[7],
		.body_bare_lf = n[8],
		.body_lines = n[9],
	};
	if (n[4] >> SIZE_LIMIT_BITS)
		return E_CORRUPT;
	if (i)
		e->header_off += t->v[e->parent].header_off;
	return entry_is_sound(t, e) ? OK : E_CORRUPT;
}

enum err
part_table_read(struct str bytes, struct part_table *out)
{
	uint64_t n;

	*out = (struct part_table){0};
	/* Ten varints of an entry are ten bytes at least: no room is made for what cannot be there.
	 */
	if (!varint_take(&bytes, &n) || !n || n > PART_TABLE_MAX || n > bytes.len / 10)
		return E_CORRUPT;
	out->v = mem_alloc((size_t)n * sizeof(*out->v));
	while (out->n < n) {
		if (entry_read(&bytes, out, &out->v[out->n])) {
			part_table_free(out);
			return E_CORRUPT;
		}
		out->n++;
	}
	return OK;
}
