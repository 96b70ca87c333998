/* SPDX-License-Identifier: MIT */
#include "mta-lite/dsn.h"

#include <string.h>

#include "lib/hex.h"
#include "mail/utf8.h"

/* RFC 3461 section 4: those of xtext are upper-case. */
static int
xtext_hex_value(char c)
{
	return c >= 'a' ? -1 : hex_value(c);
}

/* utf8: bytes over 0x7f may be hidden in it, too. */
static enum err
xtext_decode(struct str text, int utf8, struct buf *out)
{
	size_t i;

	for (i = 0; i < text.len; i++) {
		int c = (unsigned char)text.p[i];

		if (c <= ' ' || c > '~' || c == '=')
			return E_PARSE;
		if (c == '+') {
			int high, low;

			if (text.len - i < 3)
				return E_PARSE;
			high = xtext_hex_value(text.p[i + 1]);
			low = xtext_hex_value(text.p[i + 2]);
			if (high < 0 || low < 0)
				return E_PARSE;
			c = high << 4 | low;
			i += 2;
			if (c < ' ' || c == 0x7f || (c > '~' && !utf8))
				return E_PARSE;
		}
		if (buf_add_char(out, (char)c))
			return E_TOOBIG;
	}
	return OK;
}

enum err
dsn_xtext_decode(struct str text, struct buf *out)
{
	return xtext_decode(text, 0, out);
}

void
dsn_xtext_encode(struct str text, struct buf *out)
{
	size_t i;

	for (i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.p[i];

		if (c <= ' ' || c > '~' || c == '+' || c == '=')
			buf_printf(out, "+%02X", c);
		else
			buf_add_char(out, (char)c);
	}
}

enum err
dsn_ret_parse(struct str text, enum dsn_ret *out)
{
	if (str_is_i(text, "FULL"))
		*out = DSN_RET_FULL;
	else if (str_is_i(text, "HDRS"))
		*out = DSN_RET_HDRS;
	else
		return E_PARSE;
	return OK;
}

enum err
dsn_notify_parse(struct str text, unsigned *out)
{
	unsigned set = 0;

	if (str_is_i(text, "NEVER")) {
		*out = DSN_NOTIFY_NEVER;
		return OK;
	}
	while (text.p) {
		struct str word = str_split(&text, ',');

		if (str_is_i(word, "SUCCESS"))
			set |= DSN_NOTIFY_SUCCESS;
		else if (str_is_i(word, "FAILURE"))
			set |= DSN_NOTIFY_FAILURE;
		else if (str_is_i(word, "DELAY"))
			set |= DSN_NOTIFY_DELAY;
		else
			return E_PARSE;
	}
	if (set == 0)
		return E_PARSE;
	*out = set;
	return OK;
}

void
dsn_notify_format(unsigned notify, struct buf *out)
{
	static const struct {
		unsigned bit;
		const char *word;
	} words[] = {
		{DSN_NOTIFY_NEVER, "NEVER"},
		{DSN_NOTIFY_SUCCESS, "SUCCESS"},
		{DSN_NOTIFY_FAILURE, "FAILURE"},
		{DSN_NOTIFY_DELAY, "DELAY"},
	};
	const char *comma = "";
	size_t i;

	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (notify & words[i].bit) {
			buf_printf(out, "%s%s", comma, words[i].word);
			comma = ",";
		}
	}
}

/*
 * RFC 6533 section 3, EmbeddedUnicodeChar: the character that a "\x{HEXPOINT}" at the front of s
 * stands for, and its length. 0: it is none, or stands for what needs no such form.
 */
static uint32_t
embedded_char(struct str s, size_t *len)
{
	size_t end = str_find(s, 0, '}'), digits, i;
	uint32_t c = 0;

	if (end == s.len || end < 5 || end > 9 || memcmp(s.p, "\\x{", 3) != 0)
		return 0;
	digits = end - 3;
	for (i = 3; i < end; i++) {
		int v = hex_value(s.p[i]);

		if (v < 0 || (v == 0 && i == 3 && digits > 2))
			return 0;
		c = c << 4 | (uint32_t)v;
	}
	*len = end + 1;
	/* Controls are in the grammar, and must not get into an envelope. */
	if (c < 0x7f)
		return c && strchr(" +=\\", (int)c) ? c : 0;
	return c == 0x7f || (c >= 0xd800 && c < 0xe000) || c > 0x10ffff ? 0 : c;
}

/* utf-8-addr-xtext, utf-8-addr-unitext. */
static enum err
unitext_decode(struct str text, struct buf *out)
{
	size_t i, len;

	if (!str_is_utf8(text))
		return E_PARSE;
	for (i = 0; i < text.len; i += len) {
		char c = text.p[i];

		len = 1;
		if (c == '\\') {
			uint32_t u = embedded_char(str_make(text.p + i, text.len - i), &len);

			if (u == 0)
				return E_PARSE;
			(void)utf8_add(out, u);
		} else if ((c >= 0 && c <= ' ') || c == 0x7f || c == '+' || c == '=') {
			return E_PARSE;
		} else {
			buf_add_char(out, c);
		}
	}
	return out->err ? E_TOOBIG : OK;
}

void
dsn_unitext_encode(struct str text, const char *special, int utf8, struct buf *out)
{
	size_t i, used;

	for (i = 0; i < text.len; i += used) {
		uint32_t c;

		if (utf8_next((const unsigned char *)text.p + i, text.len - i, &c, &used) !=
			UTF8_GOOD) {
			buf_add_char(out, '?');
		} else if (c < 0x80 ? strchr(special, (int)c) == NULL : utf8) {
			buf_add(out, text.p + i, used);
		} else {
			buf_printf(out, "\\x{%02X}", (unsigned)c);
		}
	}
}

enum err
dsn_orcpt_parse(struct str text, struct buf *out)
{
	size_t semi = str_find(text, 0, ';'), start = out->len, i;
	enum err e;

	if (text.len > DSN_ORCPT_MAX)
		return E_TOOBIG;
	if (semi == 0 || semi + 1 >= text.len)
		return E_PARSE;
	for (i = 0; i < semi; i++) {
		if (!str_is_alnum(text.p[i]) && text.p[i] != '-')
			return E_PARSE;
	}
	buf_add(out, text.p, semi + 1);
	if (str_is_i(str_make(text.p, semi), "utf-8"))
		return unitext_decode(str_make(text.p + semi + 1, text.len - semi - 1), out);
	e = xtext_decode(str_make(text.p + semi + 1, text.len - semi - 1), 1, out);
	if (e)
		return e;
	/* Postfix writes an address of other letters as "rfc822;" with its bytes in xtext. */
	return str_is_utf8(str_make(out->p + start, out->len - start)) ? OK : E_PARSE;
}

void
dsn_orcpt_format(struct str orcpt, int utf8, struct buf *out)
{
	size_t semi = str_find(orcpt, 0, ';');

	if (semi == orcpt.len)
		return;
	buf_add(out, orcpt.p, semi + 1);
	if (str_is_i(str_make(orcpt.p, semi), "utf-8"))
		dsn_unitext_encode(
			str_make(orcpt.p + semi + 1, orcpt.len - semi - 1), " +=\\", utf8, out);
	else
		dsn_xtext_encode(str_make(orcpt.p + semi + 1, orcpt.len - semi - 1), out);
}

int
dsn_wants_failure(unsigned notify)
{
	return notify == 0 || (notify & DSN_NOTIFY_FAILURE);
}

int
dsn_code_cut(struct str *s, char out[DSN_CODE_SIZE])
{
	size_t i = 0, part;

	for (part = 0; part < 3; part++) {
		size_t digits = 0;

		while (i < s->len && str_is_digit(s->p[i]) && digits < 3) {
			i++;
			digits++;
		}
		if (digits == 0 || (part == 0 && digits != 1))
			return 0;
		if (part < 2) {
			if (i >= s->len || s->p[i] != '.')
				return 0;
			i++;
		}
	}
	if (s->p[0] != '2' && s->p[0] != '4' && s->p[0] != '5')
		return 0;
	if (i < s->len && s->p[i] != ' ')
		return 0;
	memcpy(out, s->p, i);
	out[i] = '\0';
	if (i < s->len)
		i++;
	*s = str_make(s->p + i, s->len - i);
	return 1;
}
