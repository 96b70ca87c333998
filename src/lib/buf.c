/* SPDX-License-Identifier: MIT */
#include "lib/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"

enum { BUF_MIN_CAP = 64 };

void
buf_free(struct buf *b)
{
	free(b->p);
	*b = BUF_INIT(b->max);
}

void
buf_reset(struct buf *b)
{
	b->len = 0;
	b->err = OK;
}

enum err
buf_reserve(struct buf *b, size_t len)
{
	size_t max = b->max ? b->max : SIZE_MAX - 1;
	size_t cap;

	if (b->len > max || len > max - b->len) {
		b->err = E_TOOBIG;
		return E_TOOBIG;
	}
	/* One byte more than asked for, so that buf_cstr always has room for its NUL. */
	if (b->len + len < b->cap)
		return OK;
	cap = b->cap ? b->cap : BUF_MIN_CAP;
	while (cap <= b->len + len) {
		if (cap > SIZE_MAX / 2) {
			cap = b->len + len + 1;
			break;
		}
		cap *= 2;
	}
	b->p = mem_realloc(b->p, cap, 1);
	b->cap = cap;
	return OK;
}

enum err
buf_add(struct buf *b, const void *p, size_t len)
{
	enum err e = buf_reserve(b, len);

	if (e)
		return e;
	if (len)
		memcpy(b->p + b->len, p, len);
	b->len += len;
	return OK;
}

enum err
buf_add_char(struct buf *b, char c)
{
	return buf_add(b, &c, 1);
}

enum err
buf_add_cstr(struct buf *b, const char *s)
{
	return buf_add(b, s, strlen(s));
}

enum err
buf_add_str(struct buf *b, struct str s)
{
	return buf_add(b, s.p, s.len);
}

enum err
buf_add_buf(struct buf *b, const struct buf *other)
{
	return buf_add(b, other->p, other->len);
}

enum err
buf_add_u64(struct buf *b, uint64_t n)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + n % 10);
		n /= 10;
	} while (n);
	return buf_add(b, digits + at, sizeof(digits) - at);
}

enum err
buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
	va_list again;
	int need;
	enum err e;

	va_copy(again, ap);
	need = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (need < 0)
		return E_RANGE;
	e = buf_reserve(b, (size_t)need);
	if (e)
		return e;
	vsnprintf(b->p + b->len, (size_t)need + 1, fmt, ap);
	b->len += (size_t)need;
	return OK;
}

enum err
buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	enum err e;

	va_start(ap, fmt);
	e = buf_vprintf(b, fmt, ap);
	va_end(ap);
	return e;
}

void
buf_consume(struct buf *b, size_t len)
{
	if (len >= b->len) {
		b->len = 0;
		return;
	}
	memmove(b->p, b->p + len, b->len - len);
	b->len -= len;
}

void
buf_truncate(struct buf *b, size_t len)
{
	if (len < b->len)
		b->len = len;
}

void
buf_wipe(struct buf *b)
{
	if (b->p)
		explicit_bzero(b->p, b->cap);
	buf_reset(b);
}

struct str
buf_str(const struct buf *b)
{
	return str_make(b->p, b->len);
}

const char *
buf_cstr(struct buf *b)
{
	if (!b->p) {
		b->p = mem_alloc(BUF_MIN_CAP);
		b->cap = BUF_MIN_CAP;
	}
	b->p[b->len] = '\0'; /* buf_reserve keeps one byte spare */
	return b->p;
}

char *
buf_steal(struct buf *b)
{
	char *p;

	buf_cstr(b);
	p = b->p;
	*b = BUF_INIT(b->max);
	return p;
}
