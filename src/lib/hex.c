/* SPDX-License-Identifier: MIT */
#include "lib/hex.h"

static char *
digits_put(const void *bytes, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *p = bytes;

	for (size_t i = 0; i < len; i++) {
		*out++ = digits[p[i] >> 4];
		*out++ = digits[p[i] & 15];
	}
	return out;
}

void
hex_write(const void *bytes, size_t len, char *out)
{
	*digits_put(bytes, len, out) = '\0';
}

enum err
hex_add(const void *bytes, size_t len, struct buf *out)
{
	enum err e = buf_reserve(out, 2 * len);

	if (e)
		return e;
	(void)digits_put(bytes, len, out->p + out->len);
	out->len += 2 * len;
	return OK;
}

static int
lower_value(char c)
{
	return c >= 'A' && c <= 'F' ? -1 : hex_value(c);
}

int
hex_read(struct str text, void *out, size_t len)
{
	unsigned char *p = out;

	if (text.len != 2 * len)
		return 0;
	for (size_t i = 0; i < len; i++) {
		int high = lower_value(text.p[2 * i]), low = lower_value(text.p[2 * i + 1]);

		if (high < 0 || low < 0)
			return 0;
		p[i] = (unsigned char)((unsigned)high << 4 | (unsigned)low);
	}
	return 1;
}
