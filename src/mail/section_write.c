/* SPDX-License-Identifier: MIT */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "mail/header.h"
#include "mail/section.h"

/* As large as what a stream sends without another copy. */
enum { PIECE = 65536 };
/* Bytes that are looked at in one go; widen() may spoil as many behind a piece. */
enum { BLOCK = 64 };

/* Collects small pieces, so that a line does not cost a call of the sink. */
struct writer {
	section_sink sink;
	void *ctx;
	int flags;
	char piece[PIECE + BLOCK];
	char raw[1 + PIECE / 2]; /* what was read of section_data.file */
	size_t used;
	uint64_t total;
};

static enum err
writer_flush(struct writer *w)
{
	enum err e = w->used ? w->sink(w->ctx, w->piece, w->used) : OK;

	w->used = 0;
	return e;
}

static enum err
writer_add(struct writer *w, const char *p, size_t len)
{
	w->total += len;
	while (len) {
		size_t n = PIECE - w->used < len ? PIECE - w->used : len;

		memcpy(w->piece + w->used, p, n);
		if (!(w->flags & SECTION_KEEP_NUL))
			for (char *z = w->piece + w->used, *end = z + n;
				(z = memchr(z, '\0', (size_t)(end - z))) != NULL;)
				*z++ = (char)0x80;
		w->used += n;
		p += n;
		len -= n;
		if (w->used == PIECE) {
			enum err e = writer_flush(w);

			if (e)
				return e;
		}
	}
	return OK;
}

/* Where in the stored bytes, and what of a widened line end is still owed. */
struct place {
	uint64_t off; /* in the CRLF view */
	uint64_t stored; /* in the stored bytes */
};

/*
 * The next run of the view, at most max octets, that is the same in the stored bytes: up to and
 * without the next bare LF. at_lf: a bare LF stands right behind it.
 */
static size_t
run_len(struct str s, uint64_t stored, uint64_t max, int *at_lf)
{
	size_t left = s.len - (size_t)stored, len = left < max ? left : (size_t)max;
	const char *p = s.p + stored, *end = p + len, *lf = p;

	*at_lf = 0;
	while (lf < end && (lf = memchr(lf, '\n', (size_t)(end - lf))) != NULL) {
		if (lf == s.p || lf[-1] != '\r') {
			*at_lf = 1;
			return (size_t)(lf - p);
		}
		lf++;
	}
	return len;
}

/* Goes on to where the view reaches off, but never behind it. A place is never inside a widened
 * end. */
static void
seek(const struct section_data *d, struct place *at, uint64_t off)
{
	while (at->off < off && at->stored < d->stored.len) {
		int lf;
		size_t run = run_len(d->stored, at->stored, off - at->off, &lf);

		at->off += run;
		at->stored += run;
		if (!lf || off - at->off < 2)
			return;
		at->off += 2;
		at->stored++;
	}
}

uint64_t
section_range_len(const struct section_data *d, uint64_t off, uint64_t count)
{
	if (off >= d->size)
		return 0;
	return count < d->size - off ? count : d->size - off;
}

static enum err
write_plain(const struct section_data *d, uint64_t off, uint64_t count, struct writer *w)
{
	const char *p = d->stored.p + off;
	int clean = (w->flags & SECTION_KEEP_NUL) || !memchr(p, '\0', (size_t)count);

	return clean ? w->sink(w->ctx, p, (size_t)count) : writer_add(w, p, (size_t)count);
}

#ifdef __SSE2__
enum { STRIDE = 16 };

/* Bit i: byte i of STRIDE is LF or NUL. */
static uint64_t
stride_hits(const char *p)
{
	__m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);

	return (uint64_t)_mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('\n')),
		_mm_cmpeq_epi8(bytes, _mm_setzero_si128())));
}
#else
enum { STRIDE = 8 };

/* The highest bit of each byte that is 0, and no other bit. */
static uint64_t
zero_bytes(uint64_t word)
{
	const uint64_t low = 0x7f7f7f7f7f7f7f7f;

	return ~(((word & low) + low) | word | low);
}

static uint64_t
stride_hits(const char *p)
{
	const uint64_t lfs = 0x0a0a0a0a0a0a0a0a, gather = 0x0102040810204080;
	uint64_t word;

	memcpy(&word, p, STRIDE);
	word = le64toh(word);
	/* The product has bit 8 * i of its factor at 56 + i. */
	return ((zero_bytes(word) | zero_bytes(word ^ lfs)) >> 7) * gather >> 56;
}
#endif

static uint64_t
block_hits(const char *p)
{
	uint64_t hits = 0;

	for (size_t i = 0; i < BLOCK; i += STRIDE)
		hits |= stride_hits(p + i) << i;
	return hits;
}

/* The byte at p, which is an LF or NUL or stands near the end. */
static char *
widen_byte(const char *start, const char *p, int keep_nul, char *out)
{
	if (*p == '\n' && (p == start || p[-1] != '\r'))
		*out++ = '\r';
	*out++ = *p || keep_nul ? *p : (char)0x80;
	return out;
}

/* Copies at most BLOCK bytes, in steps that need no loop; BLOCK bytes can be read and written. */
static char *
copy_run(const char *p, size_t len, char *out)
{
	memcpy(out, p, BLOCK / 2);
	if (len > BLOCK / 2)
		memcpy(out + BLOCK / 2, p + BLOCK / 2, BLOCK / 2);
	return out + len;
}

/*
 * Copies len bytes at p, part of what begins at start, with bare LFs widened and NULs replaced
 * (unless keep_nul). Returns the end of at most 2 * len octets at out; BLOCK bytes behind what was
 * written may change.
 */
static char *
widen(const char *start, const char *p, size_t len, int keep_nul, char *out)
{
	const char *end = p + len;

	/* Two, since a run that begins in the last byte of a block is copied with BLOCK bytes. */
	for (; end - p >= 2 * BLOCK; p += BLOCK) {
		size_t done = 0;

		for (uint64_t hits = block_hits(p); hits; hits &= hits - 1) {
			size_t hit = (size_t)__builtin_ctzll(hits);

			out = copy_run(p + done, hit - done, out);
			out = widen_byte(start, p + hit, keep_nul, out);
			done = hit + 1;
		}
		out = copy_run(p + done, BLOCK - done, out);
	}
	for (; p < end; p++)
		out = widen_byte(start, p, keep_nul, out);
	return out;
}

/*
 * len stored bytes and, when there is one, the byte before them: *start is the first. E_CORRUPT:
 * the file has become shorter.
 */
static enum err
stored_bytes(const struct section_data *d, uint64_t stored, size_t len, struct writer *w,
	const char **start, const char **p)
{
	size_t before = stored > 0;
	size_t want = before + len, got = 0;

	*start = d->stored.p;
	*p = d->stored.p + stored;
	if (!d->file)
		return OK;
	while (got < want) {
		ssize_t n = pread(*d->file, w->raw + got, want - got,
			(off_t)(d->file_off + stored - before + got));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? err_from_errno(errno) : E_CORRUPT;
		got += (size_t)n;
	}
	*start = w->raw;
	*p = w->raw + before;
	return OK;
}

/* The greater part of a range: as long as it cannot go past the end even if each octet is an LF. */
static enum err
write_bulk(const struct section_data *d, struct place *at, uint64_t end, struct writer *w)
{
	enum { WORTH_IT = 64 };
	enum err e = OK;

	for (;;) {
		size_t len = d->stored.len - (size_t)at->stored, made;
		char *out = w->piece + w->used;
		const char *start, *p;

		if (len > (end - at->off) / 2)
			len = (size_t)(end - at->off) / 2;
		if (e || len < WORTH_IT)
			return e;
		if (len > (PIECE - w->used) / 2)
			len = (PIECE - w->used) / 2;
		if (len < WORTH_IT) {
			e = writer_flush(w);
			continue;
		}
		e = stored_bytes(d, at->stored, len, w, &start, &p);
		if (e)
			return e;
		made = (size_t)(widen(start, p, len, w->flags & SECTION_KEEP_NUL, out) - out);
		w->used += made;
		w->total += made;
		at->off += made;
		at->stored += len;
	}
}

/* Line by line, from a place at or one octet before off (then the CR of a widened end was sent). */
static enum err
write_widened(const struct section_data *d, struct place *at, uint64_t off, uint64_t end,
	struct writer *w)
{
	enum err e = at->off >= off ? write_bulk(d, at, end, w) : OK;

	while (!e && at->off < end && at->stored < d->stored.len) {
		int lf;
		size_t run = run_len(d->stored, at->stored, end - at->off, &lf);

		e = writer_add(w, d->stored.p + at->stored, run);
		at->off += run;
		at->stored += run;
		if (e || !lf)
			break;
		if (at->off >= off)
			e = writer_add(w, "\r", 1);
		if (at->off + 1 == end)
			break; /* the LF is for the next range: the place stays before the CR */
		if (!e)
			e = writer_add(w, "\n", 1);
		at->off += 2;
		at->stored++;
	}
	return e;
}

enum err
section_write(struct section_data *d, uint64_t off, uint64_t count, int flags, section_sink sink,
	void *ctx)
{
	struct writer w;
	struct place at = {0, 0};
	enum err e;

	count = section_range_len(d, off, count);
	if (!count)
		return OK;
	w.sink = sink;
	w.ctx = ctx;
	w.flags = flags;
	w.used = 0;
	w.total = 0;
	if (!d->bare_lf) {
		e = write_plain(d, off, count, &w);
	} else {
		if (d->hint_off <= off && d->hint_stored <= d->hint_off &&
			d->hint_stored <= d->stored.len)
			at = (struct place){d->hint_off, d->hint_stored};
		seek(d, &at, off);
		e = write_widened(d, &at, off, off + count, &w);
		d->hint_off = at.off;
		d->hint_stored = at.stored;
	}
	if (!e)
		e = writer_flush(&w);
	/* The stored bytes have fewer bare LFs than the table says. */
	return !e && d->bare_lf && w.total != count ? E_CORRUPT : e;
}

enum err
section_write_crlf(struct str bytes, int flags, section_sink sink, void *ctx)
{
	struct section_data d = {.stored = bytes, .size = bytes.len};

	/* Only whether there is a bare LF at all is needed, and how far the view can reach. */
	for (size_t i = 0; (i = str_find(bytes, i, '\n')) < bytes.len; i++)
		if (i == 0 || bytes.p[i - 1] != '\r')
			d.bare_lf++;
	d.size += d.bare_lf;
	return section_write(&d, 0, d.size, flags, sink, ctx);
}

static int
is_named(struct str name, const struct str *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (str_equal_i(names[i], name))
			return 1;
	return 0;
}

/* Copies a field with CRLF line ends; the last one is added when the block ended without. */
static enum err
add_field(struct str field, struct buf *out)
{
	size_t from = 0;

	while (from < field.len) {
		size_t lf = str_find(field, from, '\n'), end = lf;

		if (lf < field.len && end > from && field.p[end - 1] == '\r')
			end--;
		buf_add(out, field.p + from, end - from);
		buf_add(out, "\r\n", 2);
		from = lf + 1;
	}
	return out->err;
}

enum err
section_header_fields(
	struct str block, const struct str *names, size_t name_count, int inverted, struct buf *out)
{
	struct header_iter it = HEADER_ITER(block);
	struct header_field f;

	while (header_next(&it, &f)) {
		int named = f.name.len && is_named(f.name, names, name_count);

		if (named != !!inverted && add_field(str_make(block.p + f.off, f.len), out))
			return E_TOOBIG;
	}
	return buf_add(out, "\r\n", 2);
}
