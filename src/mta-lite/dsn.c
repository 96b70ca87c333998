/* SPDX-License-Identifier: MIT */
#include "mta-lite/dsn.h"

#include <string.h>

static int
hex_value(char c)
{
	/* Upper case only: RFC 3461 section 4, hexchar. */
	if (str_is_digit(c))
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

enum err
dsn_xtext_decode(struct str text, struct buf *out)
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
			high = hex_value(text.p[i + 1]);
			low = hex_value(text.p[i + 2]);
			if (high < 0 || low < 0)
				return E_PARSE;
			c = high << 4 | low;
			i += 2;
			if (c < ' ' || c > '~')
				return E_PARSE;
		}
		if (buf_add_char(out, (char)c))
			return E_TOOBIG;
	}
	return OK;
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

enum err
dsn_orcpt_parse(struct str text, struct buf *out)
{
	size_t semi = str_find(text, 0, ';'), i;

	if (text.len > DSN_ORCPT_MAX)
		return E_TOOBIG;
	if (semi == 0 || semi + 1 >= text.len)
		return E_PARSE;
	for (i = 0; i < semi; i++) {
		if (!str_is_alnum(text.p[i]) && text.p[i] != '-')
			return E_PARSE;
	}
	buf_add(out, text.p, semi + 1);
	return dsn_xtext_decode(str_make(text.p + semi + 1, text.len - semi - 1), out);
}

void
dsn_orcpt_format(struct str orcpt, struct buf *out)
{
	size_t semi = str_find(orcpt, 0, ';');

	if (semi == orcpt.len)
		return;
	buf_add(out, orcpt.p, semi + 1);
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
