/* SPDX-License-Identifier: MIT */
#include "mail/rfc2047.h"

#include <string.h>

#include "lib/hex.h"
#include "mail/charset.h"
#include "mail/decode.h"
#include "mail/header.h"
#include "mail/utf8.h"

struct word {
	struct str charset, text;
	char encoding; /* 'b' or 'q' */
	size_t len; /* of the whole "=?…?=" */
};

/*
 * An encoded word at the start of s. A "?" ends each of its three parts, also the text (RFC 2047
 * section 4.2), so no byte is looked at from more than a few starting points: linear time.
 */
static int
word_parse(struct str s, struct word *w)
{
	size_t a, b, star;

	if (s.len < 2 || s.p[0] != '=' || s.p[1] != '?')
		return 0;
	a = str_find(s, 2, '?');
	if (a == 2 || a + 2 >= s.len || s.p[a + 2] != '?')
		return 0;
	w->encoding = str_lower(s.p[a + 1]);
	if (w->encoding != 'b' && w->encoding != 'q')
		return 0;
	b = str_find(s, a + 3, '?');
	if (b + 1 >= s.len || s.p[b + 1] != '=')
		return 0;
	w->charset = str_make(s.p + 2, a - 2);
	for (size_t i = 0; i < w->charset.len; i++)
		if (str_is_space(w->charset.p[i]))
			return 0;
	star = str_find(w->charset, 0, '*');
	w->charset.len = star; /* RFC 2231 section 5: a language may follow */
	w->text = str_make(s.p + a + 3, b - (a + 3));
	if (str_find(w->text, 0, '\n') != w->text.len)
		return 0;
	w->len = b + 2;
	return 1;
}

/* "Q" is quoted-printable with "_" for a blank, and no line ends. */
static void
q_decode(struct str text, struct buf *out)
{
	for (size_t i = 0; i < text.len; i++) {
		char c = text.p[i];
		int hi = -1, lo = -1;

		if (c == '=' && i + 2 < text.len) {
			hi = hex_value(text.p[i + 1]);
			lo = hex_value(text.p[i + 2]);
		}
		if (hi >= 0 && lo >= 0) {
			c = (char)(hi * 16 + lo);
			i += 2;
		} else if (c == '_') {
			c = ' ';
		}
		buf_add_char(out, c);
	}
}

/* A run of adjacent words of one charset shares a converter, so that split characters join. */
struct run {
	struct charset_conv *conv;
	struct str charset;
	struct buf bytes;
};

static enum err
run_end(struct run *r, struct buf *out)
{
	enum err e = OK;

	if (r->conv)
		e = charset_conv_finish(r->conv, out);
	charset_conv_free(&r->conv);
	return e;
}

static enum err
run_word(struct run *r, const struct word *w, struct buf *out)
{
	enum err e = OK;

	if (r->conv && !str_equal_i(r->charset, w->charset))
		e = run_end(r, out);
	if (e)
		return e;
	if (!r->conv) {
		r->conv = charset_conv_create(w->charset);
		r->charset = w->charset;
	}
	buf_reset(&r->bytes);
	if (w->encoding == 'b')
		decode_all(MAIL_ENCODING_BASE64, w->text, &r->bytes, NULL);
	else
		q_decode(w->text, &r->bytes);
	/* A decoded line end or NUL would be a way to smuggle one past who checked the header. */
	for (size_t i = 0; i < r->bytes.len; i++)
		if (r->bytes.p[i] == '\n' || r->bytes.p[i] == '\r' || !r->bytes.p[i])
			r->bytes.p[i] = ' ';
	return charset_conv_feed(r->conv, r->bytes.p, r->bytes.len, out);
}

static int
is_blank(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!str_is_space(s.p[i]))
			return 0;
	return 1;
}

/* Text between words: unfolded already. */
static enum err
run_text(struct run *r, struct str text, struct buf *out)
{
	enum err e = run_end(r, out);

	return e || !text.len ? e : charset_utf8_clean(text, out);
}

static enum err
decode_words(struct str s, struct buf *out)
{
	struct run r = {0};
	size_t text_from = 0, i = 0;
	enum err e = OK;

	while (!e && i < s.len) {
		struct str before;
		struct word w;

		i = str_find(s, i, '=');
		if (i >= s.len)
			break;
		if (!word_parse(str_make(s.p + i, s.len - i), &w)) {
			i++;
			continue;
		}
		before = str_make(s.p + text_from, i - text_from);
		if (!(r.conv && is_blank(before)))
			e = run_text(&r, before, out);
		if (!e)
			e = run_word(&r, &w, out);
		i += w.len;
		text_from = i;
	}
	if (!e && s.len)
		e = run_text(&r, str_make(s.p + text_from, s.len - text_from), out);
	charset_conv_free(&r.conv);
	buf_free(&r.bytes);
	return e;
}

enum err
rfc2047_decode(struct str value, struct buf *out)
{
	struct buf plain = BUF_INIT(0);
	size_t start = out->len;
	enum err e;

	/* Nearly every header has nothing to decode. */
	value = str_trim(value);
	if (str_find_str(value, STR("=?")) == value.len && str_is_ascii(value)) {
		if (header_unfold(value, out) == OK)
			return OK;
		out->len = start;
	}
	header_unfold(value, &plain);
	e = decode_words(buf_str(&plain), out);
	buf_free(&plain);
	return e;
}

static int
is_atext(char c)
{
	return str_is_alnum(c) || (c && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

/* Printable ASCII that no reader can take for an encoded word. */
static int
is_printable(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] < ' ' || s.p[i] > '~')
			return 0;
	return str_find_str(s, STR("=?")) == s.len;
}

static int
is_atoms(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!is_atext(s.p[i]) &&
			!(s.p[i] == ' ' && i && i + 1 < s.len && s.p[i + 1] != ' '))
			return 0;
	return s.len > 0;
}

enum { WORD_MAX = 75, WORD_TEXT_MAX = WORD_MAX - 12 }; /* "=?UTF-8?B?" and "?=" */

/* Characters that stand for themselves in "Q" in every place (RFC 2047 section 5 rule 3). */
static int
q_plain(unsigned char c)
{
	return str_is_alnum((char)c) || (c && strchr("!*+-/", c));
}

static void
add_word(struct str piece, int base64, struct buf *out)
{
	static const char hex[] = "0123456789ABCDEF";

	buf_add_cstr(out, base64 ? "=?UTF-8?B?" : "=?UTF-8?Q?");
	if (base64) {
		encode_base64(piece, 0, out);
	} else {
		for (size_t i = 0; i < piece.len; i++) {
			unsigned char c = (unsigned char)piece.p[i];
			char code[3] = {'=', hex[c >> 4], hex[c & 15]};

			if (q_plain(c) || c == ' ')
				buf_add_char(out, c == ' ' ? '_' : (char)c);
			else
				buf_add(out, code, 3);
		}
	}
	buf_add_cstr(out, "?=");
}

static size_t
q_cost(struct str s)
{
	size_t cost = 0;

	for (size_t i = 0; i < s.len; i++)
		cost += q_plain((unsigned char)s.p[i]) || s.p[i] == ' ' ? 1 : 3;
	return cost;
}

static enum err
encode_words(struct str s, struct buf *out)
{
	int base64 = q_cost(s) > (s.len + 2) / 3 * 4;
	size_t from = 0;

	while (from < s.len) {
		size_t to = from, cost = 0;

		while (to < s.len) {
			uint32_t point;
			size_t used, add;

			utf8_next((const unsigned char *)s.p + to, s.len - to, &point, &used);
			add = base64 ? (to + used - from + 2) / 3 * 4
				     : cost + q_cost(str_make(s.p + to, used));
			if (add > WORD_TEXT_MAX)
				break;
			cost = add;
			to += used;
		}
		if (from)
			buf_add_cstr(out, "\r\n ");
		add_word(str_make(s.p + from, to - from), base64, out);
		from = to;
	}
	return out->err;
}

enum err
rfc2047_encode_text(struct str text, struct buf *out)
{
	struct buf clean = BUF_INIT(0);
	enum err e;

	if (is_printable(text))
		return buf_add_str(out, text);
	charset_utf8_clean(text, &clean);
	e = encode_words(buf_str(&clean), out);
	buf_free(&clean);
	return e;
}

enum err
rfc2047_encode_phrase(struct str text, struct buf *out)
{
	if (!is_printable(text))
		return rfc2047_encode_text(text, out);
	if (is_atoms(text))
		return buf_add_str(out, text);
	buf_add_char(out, '"');
	for (size_t i = 0; i < text.len; i++) {
		if (text.p[i] == '"' || text.p[i] == '\\')
			buf_add_char(out, '\\');
		buf_add_char(out, text.p[i]);
	}
	buf_add_char(out, '"');
	return out->err;
}
