/* SPDX-License-Identifier: MIT */
#include "import/imap_in.h"

#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"

void
imap_in_init(struct imap_in *in, enum err (*fill)(void *, char *, size_t, size_t *), void *arg)
{
	*in = (struct imap_in){.fill = fill, .arg = arg, .text = BUF_INIT(IMAP_IN_TEXT_MAX)};
	in->bytes = mem_alloc(IMAP_IN_BUFFER);
}

void
imap_in_fini(struct imap_in *in)
{
	MEM_FREE(in->bytes);
	buf_free(&in->text);
}

static enum err
refill(struct imap_in *in)
{
	if (in->err == OK && in->pos == in->len) {
		in->pos = in->len = 0;
		in->err = in->fill(in->arg, in->bytes, IMAP_IN_BUFFER, &in->len);
		if (in->err)
			in->len = 0;
	}
	return in->err;
}

static enum err
peek(struct imap_in *in, char *c)
{
	enum err e = refill(in);

	if (e == OK)
		*c = in->bytes[in->pos];
	return e;
}

static enum err
fail(struct imap_in *in, enum err e)
{
	if (!in->err)
		in->err = e;
	return in->err;
}

static enum err
text_add(struct imap_in *in, char c)
{
	return buf_add_char(&in->text, c) ? fail(in, E_TOOBIG) : OK;
}

void
imap_in_start(struct imap_in *in)
{
	in->tokens = in->depth = 0;
}

/* ---- tokens ---- */

static enum err
read_quoted(struct imap_in *in)
{
	char c;

	for (;;) {
		enum err e = peek(in, &c);

		if (e)
			return e;
		in->pos++;
		if (c == '"')
			return OK;
		if (c == '\\') {
			e = peek(in, &c);
			if (e)
				return e;
			in->pos++;
		} else if (c == '\r' || c == '\n') {
			return fail(in, E_PROTO);
		}
		e = text_add(in, c);
		if (e)
			return e;
	}
}

/* Behind "{": "123}" and the line end, or "123+}" as some send it. */
static enum err
read_literal_size(struct imap_in *in, uint64_t *size)
{
	struct str digits;
	char c = 0;
	enum err e;

	while ((e = peek(in, &c)) == OK && c != '}' && in->text.len < 24) {
		in->pos++;
		text_add(in, c);
	}
	if (e)
		return e;
	digits = buf_str(&in->text);
	if (digits.len && digits.p[digits.len - 1] == '+')
		digits.len--;
	if (c != '}' || str_to_u64(digits, size))
		return fail(in, E_PROTO);
	in->pos++;
	e = peek(in, &c);
	if (e == OK && c == '\r') {
		in->pos++;
		e = peek(in, &c);
	}
	if (e)
		return e;
	in->pos++;
	return c == '\n' ? OK : fail(in, E_PROTO);
}

/* Spaces and parentheses between brackets belong to it: "BODY[HEADER.FIELDS (TO)]<0>". */
static enum err
read_atom(struct imap_in *in)
{
	int brackets = 0;
	char c;
	enum err e;

	while ((e = peek(in, &c)) == OK) {
		if (c == '\r' || c == '\n')
			break;
		if (!brackets && (c == ' ' || c == '(' || c == ')' || c == '"'))
			break;
		brackets += c == '[' && (str_is_i(buf_str(&in->text), "BODY") ||
						str_is_i(buf_str(&in->text), "BINARY"));
		brackets -= c == ']' && brackets > 0;
		in->pos++;
		e = text_add(in, c);
		if (e)
			return e;
	}
	return e;
}

static enum err
read_eol(struct imap_in *in, char c)
{
	in->pos++;
	if (c == '\r') {
		enum err e = peek(in, &c);

		if (e)
			return e;
		in->pos++;
	}
	if (c != '\n' || in->depth)
		return fail(in, E_PROTO);
	return OK;
}

enum err
imap_in_token(struct imap_in *in, struct imap_token *out)
{
	char c = 0;
	enum err e;

	*out = (struct imap_token){0};
	buf_reset(&in->text);
	while ((e = peek(in, &c)) == OK && c == ' ')
		in->pos++;
	if (e)
		return e;
	if (++in->tokens > IMAP_IN_TOKENS_MAX)
		return fail(in, E_TOOBIG);
	switch (c) {
	case '\r':
	case '\n':
		out->kind = IMAP_EOL;
		return read_eol(in, c);
	case '(':
		in->pos++;
		out->kind = IMAP_OPEN;
		return ++in->depth > IMAP_IN_DEPTH_MAX ? fail(in, E_TOOBIG) : OK;
	case ')':
		in->pos++;
		out->kind = IMAP_CLOSE;
		return in->depth-- == 0 ? fail(in, E_PROTO) : OK;
	case '"':
		in->pos++;
		out->kind = IMAP_QUOTED;
		e = read_quoted(in);
		break;
	case '{':
		in->pos++;
		out->kind = IMAP_LITERAL;
		return read_literal_size(in, &out->size);
	default:
		out->kind = IMAP_ATOM;
		e = read_atom(in);
		/* literal8 (RFC 3516 section 3) */
		if (e == OK && in->text.len > 1 && str_starts_i(buf_str(&in->text), "~{")) {
			struct str digits = buf_str(&in->text);

			digits.p += 2;
			digits.len -= 2;
			if (!digits.len || digits.p[digits.len - 1] != '}')
				return fail(in, E_PROTO);
			digits.len--;
			if (str_to_u64(digits, &out->size))
				return fail(in, E_PROTO);
			out->kind = IMAP_LITERAL;
			e = peek(in, &c);
			if (e == OK && c == '\r') {
				in->pos++;
				e = peek(in, &c);
			}
			if (e)
				return e;
			in->pos++;
			return c == '\n' ? OK : fail(in, E_PROTO);
		}
	}
	out->text = buf_str(&in->text);
	return e;
}

enum err
imap_in_literal(struct imap_in *in, uint64_t size,
	void (*write)(const char *p, size_t len, void *arg), void *arg)
{
	while (size) {
		enum err e = refill(in);
		size_t n = in->len - in->pos;

		if (e)
			return e;
		if (n > size)
			n = (size_t)size;
		if (write)
			write(in->bytes + in->pos, n, arg);
		in->pos += n;
		size -= n;
	}
	return OK;
}

enum err
imap_in_line(struct imap_in *in, struct str *out)
{
	buf_reset(&in->text);
	for (;;) {
		enum err e = refill(in);
		const char *p = in->bytes + in->pos, *lf;
		size_t n = in->len - in->pos, room = IMAP_IN_TEXT_MAX - in->text.len;

		if (e)
			return e;
		lf = memchr(p, '\n', n);
		if (lf)
			n = (size_t)(lf - p);
		buf_add(&in->text, p, n < room ? n : room);
		in->pos += n + (lf != NULL);
		if (lf)
			break;
	}
	*out = str_trim(buf_str(&in->text));
	return OK;
}

enum err
imap_in_skip(struct imap_in *in)
{
	struct imap_token t;
	enum err e = OK;

	do {
		e = imap_in_token(in, &t);
		if (e == OK && t.kind == IMAP_LITERAL)
			e = imap_in_literal(in, t.size, NULL, NULL);
	} while (e == OK && t.kind != IMAP_EOL);
	return e;
}

static void
add_to_buf(const char *p, size_t len, void *out)
{
	buf_add(out, p, len);
}

enum err
imap_in_string(struct imap_in *in, struct buf *out, int *is_nil)
{
	struct imap_token t;
	enum err e = imap_in_token(in, &t);

	if (is_nil)
		*is_nil = 0;
	if (e)
		return e;
	switch (t.kind) {
	case IMAP_ATOM:
		if (is_nil && str_is_i(t.text, "NIL"))
			*is_nil = 1;
		else
			buf_add_str(out, t.text);
		return OK;
	case IMAP_QUOTED:
		buf_add_str(out, t.text);
		return OK;
	case IMAP_LITERAL:
		if (t.size > IMAP_IN_TEXT_MAX)
			return fail(in, E_TOOBIG);
		return imap_in_literal(in, t.size, add_to_buf, out);
	default:
		return fail(in, E_PROTO);
	}
}
