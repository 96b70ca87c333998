/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MAIL_UTF8_H
#define ROOST_MAIL_UTF8_H

/* UTF-8 one character at a time (RFC 3629), for src/mail and the MTA's forms of addresses. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "lib/buf.h"

enum utf8_result { UTF8_GOOD, UTF8_BAD, UTF8_SHORT };

enum { UTF8_REPLACEMENT = 0xfffd };

/*
 * Looks at len >= 1 bytes. GOOD: *point is the character, *used its bytes. BAD: *used bytes can
 * never be part of one. SHORT: all len bytes are a good beginning of one.
 */
static inline enum utf8_result
utf8_next(const unsigned char *p, size_t len, uint32_t *point, size_t *used)
{
	unsigned char c = p[0], lo = 0x80, hi = 0xbf;
	size_t need;

	*used = 1;
	if (c < 0x80) {
		*point = c;
		return UTF8_GOOD;
	}
	if (c >= 0xc2 && c <= 0xdf) {
		need = 1;
		*point = c & 0x1f;
	} else if (c >= 0xe0 && c <= 0xef) {
		need = 2;
		*point = c & 0x0f;
		lo = c == 0xe0 ? 0xa0 : lo;
		hi = c == 0xed ? 0x9f : hi;
	} else if (c >= 0xf0 && c <= 0xf4) {
		need = 3;
		*point = c & 0x07;
		lo = c == 0xf0 ? 0x90 : lo;
		hi = c == 0xf4 ? 0x8f : hi;
	} else {
		return UTF8_BAD;
	}
	for (size_t i = 1; i <= need; i++) {
		if (i == len)
			return UTF8_SHORT;
		if (p[i] < lo || p[i] > hi)
			return UTF8_BAD;
		lo = 0x80;
		hi = 0xbf;
		*point = *point << 6 | (p[i] & 0x3f);
		*used = i + 1;
	}
	return UTF8_GOOD;
}

/* How many bytes at the beginning are below 0x80. */
static inline size_t
utf8_ascii_len(const char *p, size_t len)
{
	size_t i = 0;

	for (; i + 8 <= len; i += 8) {
		uint64_t eight;

		memcpy(&eight, p + i, 8);
		if (eight & 0x8080808080808080)
			break;
	}
	while (i < len && (unsigned char)p[i] < 0x80)
		i++;
	return i;
}

/* Bytes of the UTF-8 form of a point, at most 4, written to out. */
static inline size_t
utf8_put(uint32_t point, char out[4])
{
	if (point < 0x80) {
		out[0] = (char)point;
		return 1;
	}
	if (point < 0x800) {
		out[0] = (char)(0xc0 | point >> 6);
		out[1] = (char)(0x80 | (point & 0x3f));
		return 2;
	}
	if (point < 0x10000) {
		out[0] = (char)(0xe0 | point >> 12);
		out[1] = (char)(0x80 | (point >> 6 & 0x3f));
		out[2] = (char)(0x80 | (point & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | point >> 18);
	out[1] = (char)(0x80 | (point >> 12 & 0x3f));
	out[2] = (char)(0x80 | (point >> 6 & 0x3f));
	out[3] = (char)(0x80 | (point & 0x3f));
	return 4;
}

/* Appends a point; a surrogate or what lies beyond Unicode as U+FFFD. */
static inline enum err
utf8_add(struct buf *out, uint32_t point)
{
	char bytes[4];

	if ((point >= 0xd800 && point <= 0xdfff) || point > 0x10ffff)
		point = UTF8_REPLACEMENT;
	return buf_add(out, bytes, utf8_put(point, bytes));
}

/* Adds well-formed UTF-8; when it does not fit, as many whole characters as do, and E_TOOBIG. */
static inline enum err
utf8_add_fitting(struct buf *out, const char *p, size_t len)
{
	size_t room = !out->max ? SIZE_MAX : out->len < out->max ? out->max - out->len : 0;

	if (!len)
		return OK;
	if (len <= room)
		return buf_add(out, p, len);
	while (room && (p[room] & 0xc0) == 0x80)
		room--;
	buf_add(out, p, room);
	out->err = E_TOOBIG;
	return E_TOOBIG;
}

#endif
