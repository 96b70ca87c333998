/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "imap/deflate.h"

#include <stdlib.h>

#include <zlib.h>

#include "lib/mem.h"

enum {
	RAW_WINDOW = -15, /* no header around it (RFC 4978 section 3, RFC 1951) */
	MEMORY_LEVEL = 8,
	/* inflate: how far the last byte was used, and where it stands; see zlib.h, data_type. */
	AT_BLOCK_BOUNDARY = 128,
	FLUSH_ROOM = 64, /* what a flush adds to deflateBound */
};

struct codec {
	z_stream in, out;
	int begun; /* something was read */
};

static enum err
decode(void *ctx, struct str *raw, struct buf *out, size_t room)
{
	z_stream *z = &((struct codec *)ctx)->in;
	int rc;

	(void)buf_reserve(out, room);
	z->next_in = (Bytef *)(uintptr_t)raw->p;
	z->avail_in = (uInt)raw->len;
	z->next_out = (Bytef *)out->p + out->len;
	z->avail_out = (uInt)room;
	if (raw->len)
		((struct codec *)ctx)->begun = 1;
	rc = inflate(z, Z_SYNC_FLUSH);
	raw->p += raw->len - z->avail_in;
	raw->len = z->avail_in;
	out->len += room - z->avail_out;
	/* The client's stream has no end: a last block is as wrong as garbage. */
	return rc == Z_OK || rc == Z_BUF_ERROR ? OK : E_PROTO;
}

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
		if (deflate(z, flush ? Z_SYNC_FLUSH : Z_NO_FLUSH) == Z_STREAM_ERROR)
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

static const struct stream_filter filter = {decode, encode, codec_free};

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
