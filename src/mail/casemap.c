/* SPDX-License-Identifier: MIT */
#include "mail/casemap.h"

#include <utf8proc.h>

#include "mail/utf8.h"

enum { DECOMPOSED_MAX = 64 };

/*
 * RFC 5051 section 2: each character is mapped to its titlecase (the simple mapping of the Unicode
 * database), then decomposed fully (compatibility mappings too, which is what makes full-width
 * letters and ligatures equal to the plain ones), and combining marks keep the order they have.
 */
static enum err
fold_point(uint32_t point, struct buf *out)
{
	utf8proc_int32_t parts[DECOMPOSED_MAX];
	utf8proc_ssize_t n;
	int last_class = 0;
	enum err e = OK;

	n = utf8proc_decompose_char(utf8proc_totitle((utf8proc_int32_t)point), parts,
		DECOMPOSED_MAX, UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT, &last_class);
	if (n < 0 || n > DECOMPOSED_MAX)
		return utf8_add(out, point);
	for (utf8proc_ssize_t i = 0; i < n && !e; i++)
		e = utf8_add(out, (uint32_t)parts[i]);
	return e;
}

enum err
casemap_fold(struct str s, struct buf *out)
{
	size_t i = 0, start = out->len;
	enum err e = OK;

	while (!e && i < s.len) {
		size_t ascii = i, used;
		uint32_t point;

		while (ascii < s.len && (unsigned char)s.p[ascii] < 0x80)
			ascii++;
		if (ascii > i) {
			e = buf_reserve(out, ascii - i);
			for (; !e && i < ascii; i++)
				out->p[out->len++] = str_upper(s.p[i]);
			continue;
		}
		if (utf8_next((const unsigned char *)s.p + i, s.len - i, &point, &used) !=
			UTF8_GOOD) {
			/* Step (1)(b): the original string is used. */
			out->len = start;
			return buf_add_str(out, s);
		}
		e = fold_point(point, out);
		i += used;
	}
	return e;
}
