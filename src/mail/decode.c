/* SPDX-License-Identifier: MIT */
#include "mail/decode.h"

#include <string.h>

#include "lib/hex.h"

enum { B64_PAD = 65, B64_BLANK = 66 };

/* The value and one, so that what is not named is 0: not of the alphabet. */
static const unsigned char b64_value[256] = {['A'] = 1,
	['B'] = 2,
	['C'] = 3,
	['D'] = 4,
	['E'] = 5,
	['F'] = 6,
	['G'] = 7,
	['H'] = 8,
	['I'] = 9,
	['J'] = 10,
	['K'] = 11,
	['L'] = 12,
	['M'] = 13,
	['N'] = 14,
	['O'] = 15,
	['P'] = 16,
	['Q'] = 17,
	['R'] = 18,
	['S'] = 19,
	['T'] = 20,
	['U'] = 21,
	['V'] = 22,
	['W'] = 23,
	['X'] = 24,
	['Y'] = 25,
	['Z'] = 26,
	['a'] = 27,
	['b'] = 28,
	['c'] = 29,
	['d'] = 30,
	['e'] = 31,
	['f'] = 32,
	['g'] = 33,
	['h'] = 34,
	['i'] = 35,
	['j'] = 36,
	['k'] = 37,
	['l'] = 38,
	['m'] = 39,
	['n'] = 40,
	['o'] = 41,
	['p'] = 42,
	['q'] = 43,
	['r'] = 44,
	['s'] = 45,
	['t'] = 46,
	['u'] = 47,
	['v'] = 48,
	['w'] = 49,
	['x'] = 50,
	['y'] = 51,
	['z'] = 52,
	['0'] = 53,
	['1'] = 54,
	['2'] = 55,
	['3'] = 56,
	['4'] = 57,
	['5'] = 58,
	['6'] = 59,
	['7'] = 60,
	['8'] = 61,
	['9'] = 62,
	['+'] = 63,
	['/'] = 64,
	['='] = B64_PAD,
	[' '] = B64_BLANK,
	['\t'] = B64_BLANK,
	['\r'] = B64_BLANK,
	['\n'] = B64_BLANK};

enum mail_encoding
mail_encoding_parse(struct str value)
{
	static const struct {
		const char *name;
		enum mail_encoding encoding;
	} names[] = {
		{"7bit", MAIL_ENCODING_7BIT},
		{"8bit", MAIL_ENCODING_8BIT},
		{"binary", MAIL_ENCODING_BINARY},
		{"base64", MAIL_ENCODING_BASE64},
		{"quoted-printable", MAIL_ENCODING_QP},
	};
	size_t end = 0;

	value = str_trim(value);
	if (!value.len)
		return MAIL_ENCODING_7BIT;
	while (end < value.len && !str_is_space(value.p[end]) && value.p[end] != ';' &&
		value.p[end] != '(')
		end++;
	value.len = end;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (str_is_i(value, names[i].name))
			return names[i].encoding;
	return MAIL_ENCODING_UNKNOWN;
}

const char *
mail_encoding_name(enum mail_encoding e)
{
	switch (e) {
	case MAIL_ENCODING_8BIT:
		return "8BIT";
	case MAIL_ENCODING_BINARY:
		return "BINARY";
	case MAIL_ENCODING_BASE64:
		return "BASE64";
	case MAIL_ENCODING_QP:
		return "QUOTED-PRINTABLE";
	default:
		return "7BIT";
	}
}

void
decoder_init(struct decoder *d, enum mail_encoding encoding)
{
	*d = (struct decoder){.encoding = encoding};
}

/* A padded group ends; what follows is a new one (RFC 2045 section 6.8 leaves concatenation open).
 */
static void
base64_pad(struct decoder *d, char **q)
{
	if (d->count == 2) {
		*(*q)++ = (char)(d->bits >> 4);
	} else if (d->count == 3) {
		*(*q)++ = (char)(d->bits >> 10);
		*(*q)++ = (char)(d->bits >> 2);
	} else if (d->count == 1) {
		d->bad++;
	}
	d->count = 0;
	d->bits = 0;
}

static void
base64_bytes(struct decoder *d, const unsigned char *p, size_t len, char **out)
{
	char *q = *out;

	for (size_t i = 0; i < len; i++) {
		unsigned v = b64_value[p[i]] - 1U;

		if (v < 64) {
			d->bits = d->bits << 6 | v;
			if (++d->count == 4) {
				*q++ = (char)(d->bits >> 16);
				*q++ = (char)(d->bits >> 8);
				*q++ = (char)d->bits;
				d->count = 0;
				d->bits = 0;
			}
		} else if (v == B64_PAD - 1) {
			base64_pad(d, &q);
		} else if (v != B64_BLANK - 1) {
			d->bad++;
		}
	}
	*out = q;
}

enum { DECODE_STEP = 4096 };

/* Bytes that still fit. */
static size_t
room_in(const struct buf *out)
{
	if (!out->max)
		return SIZE_MAX;
	return out->len < out->max ? out->max - out->len : 0;
}

static enum err
full(struct buf *out)
{
	out->err = E_TOOBIG;
	return E_TOOBIG;
}

/* In steps, so that a full buffer keeps what fitted. n characters give at most n + 2 bytes. */
static enum err
base64_feed(struct decoder *d, const char *p, size_t len, struct buf *out)
{
	while (len) {
		size_t step = len < DECODE_STEP ? len : DECODE_STEP;
		size_t room = room_in(out);
		enum err e;
		char *q;

		if (room < 3)
			return full(out);
		if (step > room - 2)
			step = room - 2;
		e = buf_reserve(out, step + 2);
		if (e)
			return e;
		q = out->p + out->len;
		base64_bytes(d, (const unsigned char *)p, step, &q);
		out->len = (size_t)(q - out->p);
		p += step;
		len -= step;
	}
	return OK;
}

static enum err
add_fitting(struct buf *out, const char *p, size_t len)
{
	size_t room = room_in(out);

	if (len <= room)
		return buf_add(out, p, len);
	buf_add(out, p, room);
	return full(out);
}

/*
 * Quoted-printable (RFC 2045 section 6.7). held has an unfinished "=…" or the blanks at what may be
 * the end of a line (which are to be dropped there). Too many blanks are given out: a line end more
 * than 64 blanks away is not worth remembering.
 */
static enum err
qp_flush(struct decoder *d, struct buf *out)
{
	enum err e = buf_add(out, d->held, d->held_len);

	d->held_len = 0;
	return e;
}

static void
qp_hold(struct decoder *d, char c)
{
	d->held[d->held_len++] = c;
}

/* c behind a held "=": 1 when c was used up, 0 when it must be looked at again. */
static int
qp_escape(struct decoder *d, char c, struct buf *out, enum err *e)
{
	int hi = d->held_len == 2 ? hex_value(d->held[1]) : -1;

	if (c == '\n') {
		d->held_len = 0; /* soft line break */
		return 1;
	}
	if (d->held_len == 1) {
		if (hex_value(c) >= 0 || c == '\r' || c == ' ' || c == '\t') {
			qp_hold(d, c);
			return 1;
		}
	} else if (hi >= 0) {
		int lo = hex_value(c);

		if (lo >= 0) {
			d->held_len = 0;
			*e = buf_add_char(out, (char)(hi * 16 + lo));
			return 1;
		}
	} else if ((c == '\r' || c == ' ' || c == '\t') && d->held_len < sizeof(d->held) - 1) {
		qp_hold(d, c); /* blanks between "=" and the line end */
		return 1;
	}
	d->bad++;
	*e = qp_flush(d, out);
	return 0;
}

static enum err
qp_char(struct decoder *d, char c, struct buf *out)
{
	enum err e = OK;

	if (d->held_len && d->held[0] == '=') {
		if (qp_escape(d, c, out, &e) || e)
			return e;
	}
	if (c == '=') {
		if (d->held_len)
			e = qp_flush(d, out);
		qp_hold(d, c);
		return e;
	}
	if (c == ' ' || c == '\t' || c == '\r') {
		if (d->held_len == sizeof(d->held) - 1)
			e = qp_flush(d, out);
		qp_hold(d, c);
		return e;
	}
	if (c == '\n') {
		int cr = d->held_len && d->held[d->held_len - 1] == '\r';

		d->held_len = 0;
		return cr ? buf_add(out, "\r\n", 2) : buf_add_char(out, '\n');
	}
	if (d->held_len)
		e = qp_flush(d, out);
	return e ? e : buf_add_char(out, c);
}

static int
qp_plain(char c)
{
	return c != '=' && c != ' ' && c != '\t' && c != '\r' && c != '\n';
}

static enum err
qp_feed(struct decoder *d, const char *p, size_t len, struct buf *out)
{
	size_t i = 0;

	while (i < len) {
		size_t run = i;
		enum err e;

		if (!d->held_len) {
			while (run < len && qp_plain(p[run]))
				run++;
			/* A blank before an ordinary character is an ordinary one too. */
			while (run + 1 < len && p[run] == ' ' && qp_plain(p[run + 1])) {
				run++;
				while (run < len && qp_plain(p[run]))
					run++;
			}
		}
		e = run > i ? add_fitting(out, p + i, run - i) : qp_char(d, p[i], out);
		if (e)
			return e;
		i = run > i ? run : i + 1;
	}
	return OK;
}

enum err
decoder_feed(struct decoder *d, const char *p, size_t len, struct buf *out)
{
	switch (d->encoding) {
	case MAIL_ENCODING_BASE64:
		return base64_feed(d, p, len, out);
	case MAIL_ENCODING_QP:
		return qp_feed(d, p, len, out);
	default:
		return add_fitting(out, p, len);
	}
}

enum err
decoder_finish(struct decoder *d, struct buf *out)
{
	enum err e = OK;

	if (d->encoding == MAIL_ENCODING_BASE64 && d->count) {
		char bytes[3], *q = bytes;

		d->bad++;
		base64_pad(d, &q);
		e = buf_add(out, bytes, (size_t)(q - bytes));
	} else if (d->encoding == MAIL_ENCODING_QP && d->held_len) {
		if (d->held[0] == '=' && d->held_len == 1)
			d->held_len = 0; /* a soft line break whose line end was cut off */
		else if (d->held[0] == '=')
			d->bad++;
		else
			d->held_len = 0; /* blanks at the end of the last line */
		e = qp_flush(d, out);
	}
	return e;
}

enum err
decode_all(enum mail_encoding encoding, struct str text, struct buf *out, uint64_t *bad)
{
	struct decoder d;
	enum err e;

	decoder_init(&d, encoding);
	e = decoder_feed(&d, text.p, text.len, out);
	if (!e)
		e = decoder_finish(&d, out);
	if (bad)
		*bad = d.bad;
	return e;
}
