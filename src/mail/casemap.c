/* SPDX-License-Identifier: MIT */
#include "mail/casemap.h"

#include <string.h>
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

/* ASCII to capitals, eight bytes at a time: all that a search reads goes through here. */
static void
upper_ascii(const char *from, size_t len, char *to)
{
	const uint64_t ones = 0x0101010101010101;
	size_t i = 0;

	for (; i + 8 <= len; i += 8) {
		uint64_t w, from_a, behind_z;

		memcpy(&w, from + i, 8);
		/* The high bit of each byte says so; none carries into the next. */
		from_a = w + (0x80 - 'a') * ones;
		behind_z = w + (0x7f - 'z') * ones;
		w ^= (from_a & ~behind_z & 0x80 * ones) >> 2;
		memcpy(to + i, &w, 8);
	}
	for (; i < len; i++)
		to[i] = str_upper(from[i]);
}

enum err
casemap_fold(struct str s, struct buf *out)
{
	size_t i = 0, start = out->len;
	enum err e = OK;

	while (!e && i < s.len) {
		size_t ascii = utf8_ascii_len(s.p + i, s.len - i), used;
		uint32_t point;

		if (ascii) {
			e = buf_reserve(out, ascii);
			if (e)
				break;
			upper_ascii(s.p + i, ascii, out->p + out->len);
			out->len += ascii;
			i += ascii;
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
