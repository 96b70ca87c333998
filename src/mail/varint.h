/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MAIL_VARINT_H
#define ROOST_MAIL_VARINT_H

/* Private to src/mail: numbers in the cache record, seven bits a byte, the lowest first. */

#include <stdint.h>

#include "lib/buf.h"
#include "lib/str.h"

enum { VARINT_MAX_BYTES = 10 };

static inline enum err
varint_add(struct buf *out, uint64_t n)
{
	char bytes[VARINT_MAX_BYTES];
	size_t len = 0;

	while (n >= 0x80) {
		bytes[len++] = (char)(n | 0x80);
		n >>= 7;
	}
	bytes[len++] = (char)n;
	return buf_add(out, bytes, len);
}

/* 1 and the number, cut off *s; 0 when there is none. */
static inline int
varint_take(struct str *s, uint64_t *out)
{
	uint64_t n = 0;

	for (size_t i = 0; i < s->len && i < VARINT_MAX_BYTES; i++) {
		unsigned char c = (unsigned char)s->p[i];

		if (i == VARINT_MAX_BYTES - 1 && c > 1)
			return 0;
		n |= (uint64_t)(c & 0x7f) << (7 * i);
		if (c < 0x80) {
			s->p += i + 1;
			s->len -= i + 1;
			*out = n;
			return 1;
		}
	}
	return 0;
}

#endif
