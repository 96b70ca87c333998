/* SPDX-License-Identifier: MIT */
#include "imap/source.h"

#include <string.h>

enum {
	HEAD_KEPT = IMAP_TAG_MAX + 64, /* enough for the tag */
	TAIL_KEPT = 32, /* enough for "{18446744073709551615+}" CRLF */
};

/*
 * Swallows a line that is too long. Its beginning is kept for the tag, its end for a literal that
 * comes behind it, asked for or not.
 */
static enum err
long_line_skip(struct imap_stream_source *s, struct str *line)
{
	struct buf *b = &s->stand_in;
	struct str part;
	size_t lf = 0;
	enum err e;

	buf_reset(b);
	do {
		e = stream_peek(s->client, 4096, &part);
		if (e)
			return e;
		lf = str_find(part, 0, '\n');
		if (lf < part.len)
			part.len = lf + 1;
		(void)buf_add_str(b, part);
		if (b->len > HEAD_KEPT + TAIL_KEPT) {
			memmove(b->p + HEAD_KEPT, b->p + b->len - TAIL_KEPT, TAIL_KEPT);
			buf_truncate(b, HEAD_KEPT + TAIL_KEPT);
		}
		stream_consume(s->client, part.len);
	} while (lf == part.len);
	*line = buf_str(b);
	line->len--;
	if (line->len > 0 && line->p[line->len - 1] == '\r')
		line->len--;
	return E_TOOBIG;
}

static enum err
source_line(void *ctx, struct str *line)
{
	struct imap_stream_source *s = ctx;
	enum err e = stream_read_line(s->client, s->max_line, line, NULL);

	return e == E_TOOBIG ? long_line_skip(s, line) : e;
}

static enum err
source_literal(void *ctx, int sync, char *p, size_t size)
{
	struct imap_stream_source *s = ctx;

	if (sync)
		(void)stream_write_cstr(s->client, "+ OK\r\n");
	return stream_read_exact(s->client, p, size);
}

static enum err
source_skip(void *ctx, uint64_t size)
{
	struct imap_stream_source *s = ctx;
	struct str part;
	enum err e;

	while (size > 0) {
		e = stream_peek(s->client, size < 65536 ? (size_t)size : 65536, &part);
		if (e)
			return e;
		stream_consume(s->client, part.len);
		size -= part.len;
	}
	return OK;
}

struct imap_source
imap_stream_source(struct imap_stream_source *s)
{
	return (struct imap_source){source_line, source_literal, source_skip, s};
}

void
imap_stream_source_fini(struct imap_stream_source *s)
{
	buf_free(&s->stand_in);
}
