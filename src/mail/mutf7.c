/* SPDX-License-Identifier: MIT */
#include "mail/mutf7.h"

#include <string.h>

#include "mail/utf8.h"

/* RFC 3501 section 5.1.3: base64 with "," for "/". */
static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

/* Printable US-ASCII but "&" stands for itself. */
static int
is_direct(unsigned char c)
{
	return c >= 0x20 && c <= 0x7e && c != '&';
}

/* Adds one UTF-16 unit; *high is the first half of a pair that waits for its second. */
static enum err
add_unit(uint32_t unit, uint32_t *high, struct buf *out)
{
	if (*high) {
		uint32_t point = 0x10000 + ((*high & 0x3ff) << 10 | (unit & 0x3ff));

		if (unit < 0xdc00 || unit > 0xdfff)
			return E_PARSE;
		*high = 0;
		return utf8_add(out, point);
	}
	if (unit >= 0xd800 && unit <= 0xdbff) {
		*high = unit;
		return OK;
	}
	if (unit >= 0xdc00 && unit <= 0xdfff)
		return E_PARSE;
	/* What could have been written plainly must be, and controls are not for names. */
	if (unit < 0xa0)
		return E_PARSE;
	return utf8_add(out, unit);
}

/* What stands between "&" and "-": not empty. */
static enum err
decode_shifted(struct str s, struct buf *out)
{
	uint32_t bits = 0, high = 0;
	unsigned count = 0;

	for (size_t i = 0; i < s.len; i++) {
		const char *at = s.p[i] ? strchr(alphabet, s.p[i]) : NULL;

		if (!at)
			return E_PARSE;
		bits = bits << 6 | (uint32_t)(at - alphabet);
		count += 6;
		if (count >= 16) {
			enum err e = add_unit(bits >> (count - 16) & 0xffff, &high, out);

			if (e)
				return e;
			count -= 16;
		}
	}
	/* The padding is less than a character of base64, and zero. */
	return high || count >= 6 || (bits & ((1U << count) - 1)) ? E_PARSE : OK;
}

enum err
mutf7_to_utf8(struct str s, struct buf *out)
{
	size_t start = out->len, i = 0;
	enum err e = OK;
	int after_shift = 0;

	while (!e && i < s.len) {
		size_t end;

		if (s.p[i] != '&') {
			e = is_direct((unsigned char)s.p[i]) ? buf_add_char(out, s.p[i]) : E_PARSE;
			i++;
			after_shift = 0;
			continue;
		}
		end = str_find(s, i + 1, '-');
		if (end == s.len) {
			e = E_PARSE;
		} else if (end == i + 1) {
			e = buf_add_char(out, '&');
			after_shift = 0;
		} else {
			/* Two shifts in a row ("null shift") would be a second spelling. */
			e = after_shift ? E_PARSE
					: decode_shifted(str_make(s.p + i + 1, end - i - 1), out);
			after_shift = 1;
		}
		i = end + 1;
	}
	if (e)
		out->len = start;
	return e;
}

struct shift {
	uint32_t bits;
	unsigned count;
	int on;
};

static void
shift_unit(struct shift *sh, uint32_t unit, struct buf *out)
{
	if (!sh->on)
		buf_add_char(out, '&');
	sh->on = 1;
	sh->bits = (sh->bits << 16 | unit) & 0x3fffff; /* at most 4 bits wait */
	sh->count += 16;
	while (sh->count >= 6) {
		sh->count -= 6;
		buf_add_char(out, alphabet[sh->bits >> sh->count & 63]);
	}
}

static void
shift_end(struct shift *sh, struct buf *out)
{
	if (!sh->on)
		return;
	if (sh->count)
		buf_add_char(out, alphabet[sh->bits << (6 - sh->count) & 63]);
	buf_add_char(out, '-');
	*sh = (struct shift){0};
}

enum err
mutf7_from_utf8(struct str s, struct buf *out)
{
	size_t start = out->len, i = 0;
	struct shift sh = {0};
	enum err old = out->err, e = OK;

	out->err = OK;
	while (i < s.len) {
		uint32_t point;
		size_t used;

		if (utf8_next((const unsigned char *)s.p + i, s.len - i, &point, &used) !=
				UTF8_GOOD ||
			point < 0x20 || (point >= 0x7f && point < 0xa0)) {
			e = E_PARSE;
			break;
		}
		i += used;
		if (point == '&' || (point < 0x7f && is_direct((unsigned char)point))) {
			shift_end(&sh, out);
			buf_add_char(out, (char)point);
			if (point == '&')
				buf_add_char(out, '-');
		} else if (point < 0x10000) {
			shift_unit(&sh, point, out);
		} else {
			shift_unit(&sh, 0xd800 + ((point - 0x10000) >> 10), out);
			shift_unit(&sh, 0xdc00 + ((point - 0x10000) & 0x3ff), out);
		}
	}
	shift_end(&sh, out);
	if (!e)
		e = out->err;
	if (e)
		out->len = start;
	if (!out->err)
		out->err = old;
	return e;
}
