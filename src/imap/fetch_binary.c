/* SPDX-License-Identifier: MIT */
#include "imap/fetch.h"

#include <string.h>

#include "lib/stream.h"
#include "mail/decode.h"

/*
 * BINARY (RFC 3516 section 4.2, RFC 9051 section 6.4.5): a part without its transfer encoding. It
 * is decoded piece by piece, once to learn the length that goes in front, once to be sent, so that
 * a large attachment never stands in memory.
 */
enum { PIECE = 16384 };

struct pass {
	struct decoder decoder;
	struct buf piece; /* decoded bytes, from `at` on */
	uint64_t at;
	uint64_t off, end; /* what is wanted */
	int has_nul;
	struct stream *client; /* NULL: only count */
};

static enum err
piece_take(struct pass *p)
{
	uint64_t first = p->off > p->at ? p->off - p->at : 0;
	uint64_t last = p->end - p->at < p->piece.len ? p->end - p->at : p->piece.len;
	enum err e = OK;

	if (first < last) {
		const char *from = p->piece.p + first;
		size_t len = (size_t)(last - first);

		if (p->client)
			e = stream_write(p->client, from, len);
		else
			p->has_nul |= memchr(from, '\0', len) != NULL;
	}
	p->at += p->piece.len;
	buf_reset(&p->piece);
	if (e)
		return e;
	/* Whoever asks for a piece of a large part need not wait for the rest of it. */
	return p->at >= p->end ? E_CANCELLED : OK;
}

static enum err
on_encoded(void *ctx, const char *bytes, size_t len)
{
	struct pass *p = ctx;
	enum err e = OK;

	while (len > 0 && !e) {
		size_t n = len < PIECE ? len : PIECE;

		e = decoder_feed(&p->decoder, bytes, n, &p->piece);
		if (!e)
			e = piece_take(p);
		bytes += n;
		len -= n;
	}
	return e;
}

/* NULs are data here (RFC 3516 section 4.3). */
static enum err
pass_run(struct pass *p, struct section_data *data)
{
	enum err e;

	if (data->encoding == MAIL_ENCODING_UNKNOWN)
		return E_UNSUPPORTED;
	decoder_init(&p->decoder, data->encoding);
	e = section_write(data, 0, UINT64_MAX, SECTION_KEEP_NUL, on_encoded, p);
	if (!e)
		e = decoder_finish(&p->decoder, &p->piece);
	if (!e)
		e = piece_take(p);
	buf_free(&p->piece);
	return e == E_CANCELLED ? OK : e;
}

static uint64_t
range_end(uint64_t off, uint64_t count)
{
	return count > UINT64_MAX - off ? UINT64_MAX : off + count;
}

enum err
fetch_binary_measure(
	struct section_data *data, uint64_t off, uint64_t count, uint64_t *len, int *has_nul)
{
	struct pass p = {.off = off, .end = range_end(off, count)};
	enum err e = pass_run(&p, data);
	uint64_t end = p.at < p.end ? p.at : p.end;

	*len = end > off ? end - off : 0;
	*has_nul = p.has_nul;
	return e;
}

enum err
fetch_binary_send(struct section_data *data, uint64_t off, uint64_t len, struct stream *client)
{
	struct pass p = {.off = off, .end = range_end(off, len), .client = client};
	enum err e = pass_run(&p, data);

	return !e && p.at < p.end ? E_CORRUPT : e;
}
