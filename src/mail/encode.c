/* SPDX-License-Identifier: MIT */
#include "mail/decode.h"

enum { QP_LINE = 76 };

static const char b64_alphabet[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

enum err
encode_base64(struct str bytes, size_t line_len, struct buf *out)
{
	const unsigned char *p = (const unsigned char *)bytes.p;
	size_t col = 0;

	for (size_t i = 0; i < bytes.len; i += 3) {
		size_t n = bytes.len - i < 3 ? bytes.len - i : 3;
		uint32_t bits = (uint32_t)p[i] << 16;
		char quad[4];
		enum err e;

		if (n > 1)
			bits |= (uint32_t)p[i + 1] << 8;
		if (n > 2)
			bits |= p[i + 2];
		quad[0] = b64_alphabet[bits >> 18];
		quad[1] = b64_alphabet[bits >> 12 & 63];
		quad[2] = n > 1 ? b64_alphabet[bits >> 6 & 63] : '=';
		quad[3] = n > 2 ? b64_alphabet[bits & 63] : '=';
		e = buf_add(out, quad, 4);
		col += 4;
		if (!e && line_len && col + 4 > line_len) {
			e = buf_add(out, "\r\n", 2);
			col = 0;
		}
		if (e)
			return e;
	}
	return line_len && col ? buf_add(out, "\r\n", 2) : OK;
}

/* The line end at i when text has one there: its length, else 0. */
static size_t
line_end_at(struct str s, size_t i, int text)
{
	if (!text)
		return 0;
	if (s.p[i] == '\n')
		return 1;
	return s.p[i] == '\r' && i + 1 < s.len && s.p[i + 1] == '\n' ? 2 : 0;
}

enum err
encode_qp(struct str bytes, int text, struct buf *out)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t col = 0, i = 0;

	while (i < bytes.len) {
		unsigned char c = (unsigned char)bytes.p[i];
		size_t eol = line_end_at(bytes, i, text), need;
		int last = i + 1 == bytes.len || line_end_at(bytes, i + 1, text);
		int plain = (c > 32 && c < 127 && c != '=') || ((c == ' ' || c == '\t') && !last);
		char code[3] = {'=', hex[c >> 4], hex[c & 15]};

		if (eol) {
			buf_add(out, "\r\n", 2);
			col = 0;
			i += eol;
			continue;
		}
		/* "." alone or "From " at a line's start would not survive every road. */
		if (col == 0 && (c == '.' || c == 'F'))
			plain = 0;
		need = plain ? 1 : 3;
		if (col + need > QP_LINE - 1) {
			buf_add(out, "=\r\n", 3);
			col = 0;
		}
		buf_add(out, plain ? (const char *)&bytes.p[i] : code, need);
		col += need;
		i++;
	}
	return out->err;
}
