/* SPDX-License-Identifier: MIT */
#include "lib/str.h"

#include <string.h>

#include "lib/mem.h"

struct str
str_of(const char *cstr)
{
	return (struct str){cstr, cstr ? strlen(cstr) : 0};
}

struct str
str_make(const char *p, size_t len)
{
	return (struct str){p, len};
}

int
str_equal(struct str a, struct str b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

int
str_equal_i(struct str a, struct str b)
{
	if (a.len != b.len)
		return 0;
	for (size_t i = 0; i < a.len; i++)
		if (str_lower(a.p[i]) != str_lower(b.p[i]))
			return 0;
	return 1;
}

int
str_is(struct str a, const char *cstr)
{
	return str_equal(a, str_of(cstr));
}

int
str_is_i(struct str a, const char *cstr)
{
	return str_equal_i(a, str_of(cstr));
}

int
str_starts_i(struct str s, const char *prefix)
{
	size_t len = strlen(prefix);

	return s.len >= len && str_equal_i(str_make(s.p, len), str_make(prefix, len));
}

int
str_ends_i(struct str s, const char *suffix)
{
	size_t len = strlen(suffix);

	return s.len >= len && str_equal_i(str_make(s.p + s.len - len, len), str_make(suffix, len));
}

int
str_compare(struct str a, struct str b)
{
	size_t len = a.len < b.len ? a.len : b.len;
	int c = len ? memcmp(a.p, b.p, len) : 0;

	if (c)
		return c;
	return (a.len > b.len) - (a.len < b.len);
}

size_t
str_find(struct str s, size_t from, char c)
{
	const char *hit;

	if (from >= s.len)
		return s.len;
	hit = memchr(s.p + from, c, s.len - from);
	return hit ? (size_t)(hit - s.p) : s.len;
}

size_t
str_find_str(struct str s, struct str needle)
{
	const char *hit;

	if (needle.len == 0)
		return 0;
	if (s.len < needle.len)
		return s.len;
	hit = memmem(s.p, s.len, needle.p, needle.len);
	return hit ? (size_t)(hit - s.p) : s.len;
}

struct str
str_trim(struct str s)
{
	while (s.len && str_is_space(s.p[0])) {
		s.p++;
		s.len--;
	}
	while (s.len && str_is_space(s.p[s.len - 1]))
		s.len--;
	return s;
}

struct str
str_split(struct str *s, char sep)
{
	size_t at = str_find(*s, 0, sep);
	struct str head = {s->p, at};

	if (at == s->len)
		*s = (struct str){NULL, 0};
	else
		*s = (struct str){s->p + at + 1, s->len - at - 1};
	return head;
}

enum err
str_to_u64(struct str s, uint64_t *out)
{
	uint64_t n = 0;

	if (s.len == 0)
		return E_PARSE;
	for (size_t i = 0; i < s.len; i++)
		if (!str_is_digit(s.p[i]))
			return E_PARSE;
	for (size_t i = 0; i < s.len; i++) {
		unsigned digit = (unsigned)(s.p[i] - '0');

		if (n > (UINT64_MAX - digit) / 10)
			return E_RANGE;
		n = n * 10 + digit;
	}
	*out = n;
	return OK;
}

enum err
str_to_u32(struct str s, uint32_t *out)
{
	uint64_t n;
	enum err e = str_to_u64(s, &n);

	if (e)
		return e;
	if (n > UINT32_MAX)
		return E_RANGE;
	*out = (uint32_t)n;
	return OK;
}

int
str_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

int
str_is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

int
str_is_alnum(char c)
{
	return str_is_alpha(c) || str_is_digit(c);
}

int
str_is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

char
str_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

char
str_upper(char c)
{
	return c >= 'a' && c <= 'z' ? (char)(c - ('a' - 'A')) : c;
}

int
str_is_ascii(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.p[i] >= 0x80)
			return 0;
	return 1;
}

int
str_is_utf8(struct str s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t i = 0;

	while (i < s.len) {
		unsigned char c = p[i];
		uint32_t point;
		size_t more;

		if (c < 0x80) {
			i++;
			continue;
		}
		if (c >= 0xc2 && c <= 0xdf) {
			more = 1;
			point = c & 0x1f;
		} else if (c >= 0xe0 && c <= 0xef) {
			more = 2;
			point = c & 0x0f;
		} else if (c >= 0xf0 && c <= 0xf4) {
			more = 3;
			point = c & 0x07;
		} else {
			return 0;
		}
		if (more >= s.len - i)
			return 0;
		for (size_t k = 1; k <= more; k++) {
			if ((p[i + k] & 0xc0) != 0x80)
				return 0;
			point = point << 6 | (p[i + k] & 0x3f);
		}
		/* Overlong forms, surrogates, and what lies beyond Unicode. */
		if ((more == 2 && point < 0x800) || (more == 3 && point < 0x10000) ||
			(point >= 0xd800 && point <= 0xdfff) || point > 0x10ffff)
			return 0;
		i += more + 1;
	}
	return 1;
}

int
str_has_control(struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c < 0x20 || c == 0x7f)
			return 1;
	}
	return 0;
}

int
str_equal_secret(struct str a, struct str b)
{
	volatile unsigned char diff = a.len != b.len;

	for (size_t i = 0; i < a.len; i++)
		diff |= (unsigned char)(a.p[i] ^ (b.len ? b.p[i % b.len] : 0));
	return diff == 0;
}

char *
str_dup(struct str s)
{
	return mem_strndup(s.p, s.len);
}
