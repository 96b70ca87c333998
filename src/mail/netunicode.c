/* SPDX-License-Identifier: MIT */
#include "mail/netunicode.h"

#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

static int
is_forbidden(utf8proc_int32_t point)
{
	return point < 0x20 || (point >= 0x7f && point <= 0x9f) || point == 0x2028 ||
	       point == 0x2029;
}

static int
has_forbidden(struct str text)
{
	const utf8proc_uint8_t *p = (const utf8proc_uint8_t *)text.p;
	utf8proc_ssize_t left = (utf8proc_ssize_t)text.len;

	while (left > 0) {
		utf8proc_int32_t point;
		utf8proc_ssize_t n = utf8proc_iterate(p, left, &point);

		if (n <= 0 || is_forbidden(point))
			return 1;
		p += n;
		left -= n;
	}
	return 0;
}

int
netunicode_is_name(struct str text)
{
	utf8proc_uint8_t *composed = NULL;
	utf8proc_ssize_t n;
	int same;

	if (has_forbidden(text))
		return 0;
	n = utf8proc_map((const utf8proc_uint8_t *)text.p, (utf8proc_ssize_t)text.len, &composed,
		UTF8PROC_STABLE | UTF8PROC_COMPOSE);
	same = n >= 0 && (size_t)n == text.len && memcmp(composed, text.p, text.len) == 0;
	free(composed);
	return same;
}
