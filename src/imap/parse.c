/* SPDX-License-Identifier: MIT */
#include "imap/parse.h"

#include <stdlib.h>
#include <string.h>

#include "imap/parse_private.h"
#include "lib/mem.h"

/*
 * Lines and literals are kept as pieces that never move, so that a slice given out stays good
 * while the parser reads on. p->line is always the line behind the last literal that was taken: a
 * literal announced at its end has not been read, which is what imap_parser_drain relies on.
 */
struct imap_piece {
	struct imap_piece *next;
	char bytes[];
};

static char *
piece_create(struct imap_parser *p, size_t len)
{
	struct imap_piece *piece = mem_alloc(sizeof(*piece) + len + 1);

	piece->bytes[len] = '\0';
	piece->next = p->pieces;
	p->pieces = piece;
	return piece->bytes;
}

char *
imap_parser_keep(struct imap_parser *p, struct str bytes)
{
	char *copy = piece_create(p, bytes.len);

	if (bytes.len > 0)
		memcpy(copy, bytes.p, bytes.len);
	return copy;
}

void
imap_parser_init(struct imap_parser *p, const struct imap_source *source)
{
	*p = (struct imap_parser){.source = *source, .literal_left = IMAP_LITERALS_MAX};
}

void
imap_parser_reset(struct imap_parser *p)
{
	while (p->pieces) {
		struct imap_piece *next = p->pieces->next;

		free(p->pieces);
		p->pieces = next;
	}
	imap_parser_init(p, &(struct imap_source){p->source.line, p->source.literal, p->source.skip,
				    p->source.ctx});
}

enum err
imap_parser_fail(struct imap_parser *p, enum err e, const char *reason)
{
	if (!p->err) {
		p->err = e;
		p->reason = reason;
		p->position = p->base + p->at + 1;
	}
	return p->err;
}

/* The next line becomes the one being parsed. Of a line that is too long the source still gives
 * the beginning and the end. */
static enum err
line_read(struct imap_parser *p)
{
	struct str line = {NULL, 0};
	enum err e = p->source.line(p->source.ctx, &line);

	p->base += p->at;
	p->at = 0;
	p->line = (struct str){NULL, 0};
	if (e && e != E_TOOBIG)
		return imap_parser_fail(p, e, "");
	p->line = str_make(imap_parser_keep(p, line), line.len);
	if (e)
		return imap_parser_fail(p, e, "the line is too long");
	return OK;
}

enum err
imap_parser_next(struct imap_parser *p)
{
	imap_parser_reset(p);
	return line_read(p);
}

enum err
imap_parser_continue(struct imap_parser *p)
{
	if (imap_parse_end(p))
		return p->err;
	p->base += 2;
	return line_read(p);
}

enum err
imap_parser_fail_code(struct imap_parser *p, const char *code, const char *reason)
{
	if (!p->err)
		p->code = code;
	return imap_parser_fail(p, E_PARSE, reason);
}

const char *
imap_parser_reason(const struct imap_parser *p)
{
	return p->reason ? p->reason : "";
}

uint64_t
imap_parser_position(const struct imap_parser *p)
{
	return p->position;
}

/*
 * A literal at the end of text: "{123}" or "{123+}" (RFC 7888 section 8). Returns the offset of the
 * brace, text.len if there is none.
 */
static size_t
literal_find(struct str text, uint64_t *size, int *sync)
{
	size_t end = text.len, start;

	if (end < 3 || text.p[end - 1] != '}')
		return text.len;
	end--;
	*sync = text.p[end - 1] != '+';
	if (!*sync)
		end--;
	start = end;
	while (start > 0 && str_is_digit(text.p[start - 1]))
		start--;
	if (start == 0 || start == end || text.p[start - 1] != '{')
		return text.len;
	if (str_to_u64(str_make(text.p + start, end - start), size))
		*size = UINT64_MAX;
	return start - 1;
}

enum err
imap_parser_drain(struct imap_parser *p, uint64_t max)
{
	uint64_t size = 0;
	int sync = 1;
	struct str line;
	enum err e;

	while (literal_find(p->line, &size, &sync) < p->line.len && !sync) {
		if (size > max)
			return E_TOOBIG;
		max -= size;
		e = p->source.skip(p->source.ctx, size);
		if (e)
			return e;
		e = p->source.line(p->source.ctx, &line);
		if (e && e != E_TOOBIG)
			return e;
		if (line.len > max)
			return E_TOOBIG;
		max -= line.len;
		p->line = str_make(imap_parser_keep(p, line), line.len);
		p->at = p->line.len;
	}
	/* So that nothing is drained twice. */
	p->line.len = 0;
	p->at = 0;
	return OK;
}

int
imap_parse_peek(const struct imap_parser *p)
{
	if (p->err || p->at >= p->line.len)
		return -1;
	return (unsigned char)p->line.p[p->at];
}

int
imap_parse_at_end(const struct imap_parser *p)
{
	return !p->err && p->at == p->line.len;
}

int
imap_parse_try(struct imap_parser *p, char c)
{
	if (imap_parse_peek(p) != (unsigned char)c)
		return 0;
	p->at++;
	return 1;
}

int
imap_parse_peek_text(const struct imap_parser *p, const char *text)
{
	return !p->err && str_starts_i(str_make(p->line.p + p->at, p->line.len - p->at), text);
}

int
imap_parse_try_text(struct imap_parser *p, const char *text)
{
	if (!imap_parse_peek_text(p, text))
		return 0;
	p->at += strlen(text);
	return 1;
}

enum err
imap_parse_char(struct imap_parser *p, char c)
{
	static const struct {
		char c;
		const char *reason;
	} reasons[] = {
		{' ', "expected a space"},
		{'(', "expected \"(\""},
		{')', "expected \")\""},
		{'[', "expected \"[\""},
		{']', "expected \"]\""},
		{'.', "expected \".\""},
		{'>', "expected \">\""},
		{'"', "expected a quote"},
	};
	const char *reason = "unexpected character";

	if (p->err || imap_parse_try(p, c))
		return p->err;
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].c == c)
			reason = reasons[i].reason;
	return imap_parser_fail(p, E_PARSE, reason);
}

enum err
imap_parse_space(struct imap_parser *p)
{
	return imap_parse_char(p, ' ');
}

enum err
imap_parse_end(struct imap_parser *p)
{
	if (p->err || imap_parse_at_end(p))
		return p->err;
	return imap_parser_fail(p, E_PARSE, "expected the end of the command");
}

enum err
imap_parse_open(struct imap_parser *p)
{
	if (p->err)
		return p->err;
	if (p->depth >= IMAP_NEST_MAX)
		return imap_parser_fail(p, E_TOOBIG, "too many open parentheses");
	if (!imap_parse_char(p, '('))
		p->depth++;
	return p->err;
}

enum err
imap_parse_close(struct imap_parser *p)
{
	if (!imap_parse_char(p, ')') && p->depth > 0)
		p->depth--;
	return p->err;
}

int
imap_parse_item(struct imap_parser *p, size_t *n)
{
	if (p->err)
		return 0;
	if (imap_parse_peek(p) == ')') {
		(void)imap_parse_close(p);
		return 0;
	}
	if (*n > 0) {
		if (imap_parse_peek(p) != ' ') {
			(void)imap_parser_fail(p, E_PARSE, "expected a space or \")\"");
			return 0;
		}
		p->at++;
	}
	if (imap_parse_at_end(p)) {
		(void)imap_parser_fail(p, E_PARSE, "the list is not closed");
		return 0;
	}
	++*n;
	return 1;
}

/* The literal at p->at, without taking it. */
static enum err
literal_head(struct imap_parser *p, uint64_t *size, int *sync)
{
	struct str rest = str_make(p->line.p + p->at, p->line.len - p->at);

	if (literal_find(rest, size, sync) != 0 || rest.len == 0)
		return imap_parser_fail(p, E_PARSE, "expected {length} at the end of the line");
	if (*size > INT64_MAX)
		return imap_parser_fail(p, E_TOOBIG, "the literal is too large");
	return OK;
}

enum err
imap_parse_literal_start(struct imap_parser *p, uint64_t *size, int *sync)
{
	*size = 0;
	*sync = 1;
	if (p->err)
		return p->err;
	if (imap_parse_peek(p) != '{')
		return imap_parser_fail(p, E_PARSE, "expected a literal");
	return literal_head(p, size, sync);
}

enum err
imap_parse_literal_done(struct imap_parser *p, uint64_t size)
{
	if (p->err && p->err != E_PARSE && p->err != E_TOOBIG)
		return p->err;
	p->at = p->line.len;
	p->base += 2 + size;
	return line_read(p);
}

enum err
imap_parser_literal(struct imap_parser *p, int binary, struct str *out)
{
	uint64_t size;
	int sync;
	char *bytes;
	enum err e = literal_head(p, &size, &sync);

	*out = (struct str){NULL, 0};
	if (e)
		return e;
	if (size > p->literal_left)
		return imap_parser_fail(p, E_TOOBIG, "the literal is too large");
	p->literal_left -= size;
	bytes = piece_create(p, size);
	e = p->source.literal(p->source.ctx, sync, bytes, size);
	if (e)
		return imap_parser_fail(p, e, "");
	if (!binary && memchr(bytes, '\0', size)) {
		(void)imap_parser_fail(p, E_PARSE, "a NUL byte in a literal");
		(void)imap_parse_literal_done(p, size);
		return p->err;
	}
	e = imap_parse_literal_done(p, size);
	if (!e)
		*out = str_make(bytes, size);
	return e;
}
