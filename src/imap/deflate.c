/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "imap/deflate.h"

#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "lib/mem.h"

enum {
	RAW_WINDOW = -15, /* no header around it (RFC 4978 section 3, RFC 1951) */
	MEMORY_LEVEL = 8,
	/* inflate: how far the last byte was used, and where it stands; see zlib.h, data_type. */
	AT_BLOCK_BOUNDARY = 128,
	BITS_UNUSED = 63,
	FLUSH_ROOM = 64, /* what a flush adds to deflateBound */
};

struct codec {
	z_stream in, out;
	int begun; /* something was read */
	int ended; /* the client's stream has ended; nothing may follow in it */
};

/*
 * Block by block, so that nothing behind the block that gave text is touched before that text was
 * read: it may end the compression (decode_end), and a client may send on without waiting.
 */
static enum err
decode(void *ctx, struct str *raw, struct buf *out, size_t room)
{
	struct codec *c = ctx;
	z_stream *z = &c->in;
	size_t before = out->len;
	int rc;

	if (c->ended)
		return E_PROTO;
	(void)buf_reserve(out, room);
	z->next_in = (Bytef *)(uintptr_t)raw->p;
	z->avail_in = (uInt)raw->len;
	z->next_out = (Bytef *)out->p + out->len;
	z->avail_out = (uInt)room;
	if (raw->len)
		c->begun = 1;
	do
		rc = inflate(z, Z_BLOCK);
	while (rc == Z_OK && z->avail_in && z->avail_out == room);
	raw->p += raw->len - z->avail_in;
	raw->len = z->avail_in;
	out->len += room - z->avail_out;
	c->ended = rc == Z_STREAM_END;
	/* Without text in front of it, an end is as wrong as garbage. */
	if (c->ended && out->len == before)
		return E_PROTO;
	return rc == Z_OK || rc == Z_BUF_ERROR || c->ended ? OK : E_PROTO;
}

/*
 * RFC 8437 section 4.1: the client's compression ends behind the command. Behind its text comes
 * what its compressor wrote to flush it: the rest of the block, and, after a sync or full flush, an
 * empty stored block (RFC 1951 section 3.2.4). No text of a command begins with its bytes.
 */
static enum err
decode_end(void *ctx, struct str *raw)
{
	static const char empty[] = {0, 0, 0, '\xff', '\xff'};
	struct codec *c = ctx;
	char byte;

	while (!c->ended &&
		(!(c->in.data_type & AT_BLOCK_BOUNDARY) || (c->in.data_type & BITS_UNUSED) ||
			(raw->len >= sizeof(empty) && memcmp(raw->p, empty, sizeof(empty)) == 0))) {
		size_t before = raw->len;
		int rc;

		c->in.next_in = (Bytef *)(uintptr_t)raw->p;
		c->in.avail_in = (uInt)raw->len;
		c->in.next_out = (Bytef *)&byte;
		c->in.avail_out = 1;
		rc = inflate(&c->in, Z_BLOCK);
		raw->p += raw->len - c->in.avail_in;
		raw->len = c->in.avail_in;
		c->ended = rc == Z_STREAM_END;
		if (!c->in.avail_out || (rc != Z_OK && !c->ended) ||
			(raw->len == before && !c->ended))
			return E_PROTO;
	}
	return OK;
}

/* An end that can be seen: whoever reads it knows where the text that is not compressed begins. */
static const int flush_modes[] = {
	[STREAM_FILTER_FLUSH] = Z_SYNC_FLUSH,
	[STREAM_FILTER_END] = Z_FINISH,
};
_Static_assert(Z_NO_FLUSH == 0, "flush_modes[0]");

static enum err
encode(void *ctx, const void *p, size_t len, int flush, struct buf *out)
{
	z_stream *z = &((struct codec *)ctx)->out;

	z->next_in = (Bytef *)(uintptr_t)p;
	z->avail_in = (uInt)len;
	do {
		size_t room = deflateBound(z, z->avail_in) + FLUSH_ROOM;

		(void)buf_reserve(out, room);
		z->next_out = (Bytef *)out->p + out->len;
		z->avail_out = (uInt)room;
		if (deflate(z, flush_modes[flush]) == Z_STREAM_ERROR)
			return E_STATE;
		out->len += room - z->avail_out;
	} while (!z->avail_out);
	return out->err;
}

static void
codec_free(void *ctx)
{
	struct codec *c = ctx;

	(void)inflateEnd(&c->in);
	(void)deflateEnd(&c->out);
	free(c);
}

static const struct stream_filter filter = {
	.decode = decode,
	.encode = encode,
	.decode_end = decode_end,
	.free = codec_free,
};

enum err
imap_deflate_start(struct stream *client, struct str kept)
{
	struct codec *c = MEM_NEW(struct codec);
	int good = inflateInit2(&c->in, RAW_WINDOW) == Z_OK;

	good &= deflateInit2(&c->out, Z_DEFAULT_COMPRESSION, Z_DEFLATED, RAW_WINDOW, MEMORY_LEVEL,
			Z_DEFAULT_STRATEGY) == Z_OK;
	if (good && kept.len)
		good = inflateSetDictionary(&c->in, (const Bytef *)kept.p, (uInt)kept.len) == Z_OK;
	if (!good) {
		codec_free(c);
		return E_TEMPFAIL;
	}
	return stream_set_filter(client, &filter, c);
}

/*
 * What we send needs no memory: behind a flush a fresh compressor goes on, which refers to nothing
 * before it. The client's compressor refers to what it sent before, up to 32 KB of it.
 */
enum err
imap_deflate_keep(struct stream *client, struct buf *out)
{
	struct codec *c = stream_filter_ctx(client);
	uInt len = 0;

	if (stream_has_raw_input(client) || (c->begun && c->in.data_type != AT_BLOCK_BOUNDARY))
		return E_STATE;
	(void)buf_reserve(out, IMAP_DEFLATE_KEPT_MAX);
	if (inflateGetDictionary(&c->in, (Bytef *)out->p + out->len, &len) != Z_OK)
		return E_STATE;
	out->len += len;
	return OK;
}
