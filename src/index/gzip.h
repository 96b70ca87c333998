/* SPDX-License-Identifier: MIT */
#ifndef ROOST_INDEX_GZIP_H
#define ROOST_INDEX_GZIP_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/err.h"

/*
 * Compressed message files: gzip (RFC 1952), as Dovecot's zlib plugin writes and reads them. What
 * begins with gzip's magic bytes is one; a message that begins so itself is stored compressed.
 */
enum {
	/* A file may unfold to this many times the largest message that is accepted. */
	GZIP_UNFOLD_FACTOR = 4,
	GZIP_MIN = 18, /* bytes of the shortest gzip file */
	GZIP_MAGIC = 3,
};

int gzip_is(const char *p, size_t len);
/*
 * Unfolds into out, whose max it sets. E_CORRUPT: it is no gzip file after all, or is cut short;
 * E_TOOBIG: more than max bytes.
 */
enum err gzip_unfold(const char *p, size_t len, size_t max, struct buf *out);

typedef enum err gzip_sink(void *arg, const char *p, size_t len);
/* From a file, piece by piece, in little memory. E_CORRUPT, E_TOOBIG; the sink's errors. */
enum err gzip_unfold_fd(int fd, uint64_t max, gzip_sink *sink, void *arg);

/*
 * How large a file is unfolded, as its last four bytes have it (RFC 1952 section 2.3.1, ISIZE):
 * modulo 2^32, and of its last member alone. E_NOTFOUND: it does not begin as a gzip file.
 */
enum err gzip_isize(int fd, uint64_t file_size, uint32_t *isize);
/* The same by unfolding. E_NOTFOUND: no gzip file; E_TOOBIG: over max. */
enum err gzip_unfolded_size(int fd, uint64_t file_size, uint64_t max, uint64_t *bytes);

struct gzip_writer;
/* level: 1..9. */
struct gzip_writer *gzip_writer_create(int level, gzip_sink *sink, void *arg);
/* last: ends the file. The sink's errors are returned. */
enum err gzip_writer_feed(struct gzip_writer *w, const char *p, size_t len, int last);
void gzip_writer_free(struct gzip_writer **w);

#endif
