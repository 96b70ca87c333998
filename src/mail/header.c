/* SPDX-License-Identifier: MIT */
#include "mail/header.h"

#include <string.h>

/* Length of the line at pos with its line end. */
static size_t
line_len(struct str block, size_t pos)
{
	const char *lf = memchr(block.p + pos, '\n', block.len - pos);

	return lf ? (size_t)(lf - (block.p + pos)) + 1 : block.len - pos;
}

static int
line_is_empty(struct str block, size_t pos, size_t len)
{
	return (len == 1 && block.p[pos] == '\n') ||
	       (len == 2 && block.p[pos] == '\r' && block.p[pos + 1] == '\n');
}

int
header_next(struct header_iter *it, struct header_field *out)
{
	struct str b = it->block;
	size_t pos = it->pos, end, colon, name_end, first;

	if (pos >= b.len)
		return 0;
	first = line_len(b, pos);
	if (line_is_empty(b, pos, first))
		return 0;
	end = pos + first;
	while (end < b.len && (b.p[end] == ' ' || b.p[end] == '\t'))
		end += line_len(b, end);
	*out = (struct header_field){.off = pos, .len = end - pos};
	it->pos = end;

	/* The colon must stand in the first line: a folded name would hide the field from others.
	 */
	colon = str_find(str_make(b.p + pos, first), 0, ':');
	if (end > pos && b.p[end - 1] == '\n') {
		end--;
		if (end > pos && b.p[end - 1] == '\r')
			end--;
	}
	if (colon == first) {
		out->value = str_make(b.p + pos, end - pos);
		return 1;
	}
	name_end = pos + colon;
	while (name_end > pos && (b.p[name_end - 1] == ' ' || b.p[name_end - 1] == '\t'))
		name_end--;
	out->name = str_make(b.p + pos, name_end - pos);
	out->value = str_make(b.p + pos + colon + 1, end - (pos + colon + 1));
	return 1;
}

int
header_find(struct str block, struct str name, struct header_field *out)
{
	struct header_iter it = HEADER_ITER(block);

	while (header_next(&it, out))
		if (str_equal_i(out->name, name))
			return 1;
	return 0;
}

size_t
header_block_len(struct str block)
{
	size_t pos = 0;

	while (pos < block.len) {
		size_t len = line_len(block, pos);

		pos += len;
		if (line_is_empty(block, pos - len, len))
			break;
	}
	return pos;
}

enum err
header_unfold(struct str value, struct buf *out)
{
	enum err e;
	char *q;

	value = str_trim(value);
	e = buf_reserve(out, value.len);
	if (e)
		return e;
	if (!value.len)
		return OK;
	q = out->p + out->len;
	for (size_t i = 0; i < value.len; i++) {
		char c = value.p[i];

		if (c == '\n')
			continue;
		if (c == '\r') {
			if (i + 1 < value.len && value.p[i + 1] == '\n')
				continue;
			c = ' ';
		}
		*q++ = c ? c : ' ';
	}
	out->len = (size_t)(q - out->p);
	return OK;
}
