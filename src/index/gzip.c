/* SPDX-License-Identifier: MIT */
#include "index/gzip.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "lib/log.h"
#include "lib/mem.h"

enum {
	WINDOW_GZIP = 16 + MAX_WBITS, /* with gzip's header and trailer */
	PIECE = 64 * 1024,
};

static const char magic[GZIP_MAGIC] = {0x1f, (char)0x8b, 8}; /* RFC 1952 section 2.3.1 */

int
gzip_is(const char *p, size_t len)
{
	return p && len >= GZIP_MIN && memcmp(p, magic, GZIP_MAGIC) == 0;
}

/* ---- reading ---- */

enum err
gzip_unfold(const char *p, size_t len, size_t max, struct buf *out)
{
	z_stream z = {.next_in = (Bytef *)(uintptr_t)p};
	size_t left = len;
	int rc = inflateInit2(&z, WINDOW_GZIP);
	enum err e = rc == Z_OK ? OK : E_CORRUPT;

	/* A byte more, to see that there is more. */
	out->max = max < SIZE_MAX ? max + 1 : SIZE_MAX;
	while (e == OK) {
		size_t room;

		e = out->len > max ? E_TOOBIG : OK;
		if (e == OK)
			e = buf_reserve(out, max - out->len < PIECE ? max - out->len + 1 : PIECE);
		if (e)
			break;
		room = out->cap < out->max ? out->cap : out->max;
		room = room - out->len < UINT32_MAX ? room - out->len : UINT32_MAX;
		if (z.avail_in == 0) {
			z.avail_in = left < UINT32_MAX ? (uInt)left : UINT32_MAX;
			left -= z.avail_in;
		}
		z.next_out = (Bytef *)out->p + out->len;
		z.avail_out = (uInt)room;
		rc = inflate(&z, Z_NO_FLUSH);
		out->len += room - z.avail_out;
		if (rc == Z_STREAM_END && (z.avail_in > 0 || left > 0))
			rc = inflateReset(&z); /* several members (RFC 1952 section 2.2) */
		else if (rc == Z_STREAM_END)
			break;
		if (rc != Z_OK)
			e = E_CORRUPT;
	}
	inflateEnd(&z);
	return e == OK && out->len > max ? E_TOOBIG : e;
}

enum err
gzip_isize(int fd, uint64_t file_size, uint32_t *isize)
{
	unsigned char tail[4];
	char head[GZIP_MAGIC];

	if (file_size < GZIP_MIN || pread(fd, head, sizeof(head), 0) != GZIP_MAGIC ||
		memcmp(head, magic, GZIP_MAGIC) != 0 ||
		pread(fd, tail, sizeof(tail), (off_t)file_size - 4) != 4)
		return E_NOTFOUND;
	*isize = (uint32_t)tail[0] | (uint32_t)tail[1] << 8 | (uint32_t)tail[2] << 16 |
		 (uint32_t)tail[3] << 24;
	return OK;
}

enum err
gzip_unfold_fd(int fd, uint64_t max, gzip_sink *sink, void *arg)
{
	unsigned char in[16384], out[PIECE];
	z_stream z = {0};
	uint64_t bytes = 0;
	off_t at = 0;
	int rc = inflateInit2(&z, WINDOW_GZIP);
	enum err e = OK;

	while (rc == Z_OK && e == OK) {
		size_t got;

		if (z.avail_in == 0) {
			ssize_t n = pread(fd, in, sizeof(in), at);

			if (n <= 0)
				break;
			at += n;
			z.next_in = in;
			z.avail_in = (uInt)n;
		}
		z.next_out = out;
		z.avail_out = sizeof(out);
		rc = inflate(&z, Z_NO_FLUSH);
		got = sizeof(out) - z.avail_out;
		bytes += got;
		e = bytes > max ? E_TOOBIG : sink(arg, (const char *)out, got);
		if (rc == Z_STREAM_END && (z.avail_in > 0 || pread(fd, in, 1, at) == 1))
			rc = inflateReset(&z); /* several members (RFC 1952 section 2.2) */
	}
	inflateEnd(&z);
	return e == OK && rc != Z_STREAM_END ? E_CORRUPT : e;
}

static enum err
count_bytes(void *arg, const char *p, size_t len)
{
	(void)p;
	*(uint64_t *)arg += len;
	return OK;
}

enum err
gzip_unfolded_size(int fd, uint64_t file_size, uint64_t max, uint64_t *bytes)
{
	uint32_t isize;
	enum err e;

	*bytes = 0;
	if (gzip_isize(fd, file_size, &isize))
		return E_NOTFOUND;
	e = gzip_unfold_fd(fd, max, count_bytes, bytes);
	return e == E_CORRUPT ? E_NOTFOUND : e;
}

/* ---- writing ---- */

struct gzip_writer {
	z_stream z;
	gzip_sink *sink;
	void *arg;
	char out[PIECE];
};

struct gzip_writer *
gzip_writer_create(int level, gzip_sink *sink, void *arg)
{
	struct gzip_writer *w = MEM_NEW(struct gzip_writer);

	w->sink = sink;
	w->arg = arg;
	if (deflateInit2(&w->z, level, Z_DEFLATED, WINDOW_GZIP, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		log_bug(__FILE__, __LINE__, "deflateInit2");
	return w;
}

enum err
gzip_writer_feed(struct gzip_writer *w, const char *p, size_t len, int last)
{
	enum err e = OK;

	while (e == OK && (len > 0 || last)) {
		size_t n = len < UINT32_MAX ? len : UINT32_MAX;
		int flush = last && n == len ? Z_FINISH : Z_NO_FLUSH;

		w->z.next_in = (Bytef *)(uintptr_t)p;
		w->z.avail_in = (uInt)n;
		do {
			w->z.next_out = (Bytef *)w->out;
			w->z.avail_out = sizeof(w->out);
			if (deflate(&w->z, flush) == Z_STREAM_ERROR)
				log_bug(__FILE__, __LINE__, "deflate");
			e = w->sink(w->arg, w->out, sizeof(w->out) - w->z.avail_out);
		} while (e == OK && w->z.avail_out == 0);
		p += n;
		len -= n;
		if (flush == Z_FINISH)
			break;
	}
	return e;
}

void
gzip_writer_free(struct gzip_writer **w)
{
	if (*w)
		deflateEnd(&(*w)->z);
	MEM_FREE(*w);
}
