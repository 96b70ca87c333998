/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LIB_BUF_H
#define ROOST_LIB_BUF_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/str.h"

/*
 * A growing byte buffer with an upper bound. len bytes at p are in use. Growth past max fails with
 * E_TOOBIG, changes nothing and sets err, which stays set until buf_reset: a caller may add many
 * pieces and look at err once at the end. A zeroed struct is a valid empty buffer without a bound.
 */
struct buf {
	char *p;
	size_t len, cap, max; /* max 0: no bound */
	enum err err;
};

#define BUF_INIT(max_bytes) ((struct buf){.max = (max_bytes)})

/* Frees the bytes; the buffer is empty and usable again, its max kept. */
void buf_free(struct buf *b);
/* Empties it, keeps the memory, clears err. */
void buf_reset(struct buf *b);

/* Room for len more bytes at b->p + b->len; the caller writes them and adds to b->len. */
enum err buf_reserve(struct buf *b, size_t len);
enum err buf_add(struct buf *b, const void *p, size_t len);
enum err buf_add_char(struct buf *b, char c);
enum err buf_add_cstr(struct buf *b, const char *s);
enum err buf_add_str(struct buf *b, struct str s);
enum err buf_add_buf(struct buf *b, const struct buf *other);
enum err buf_add_u64(struct buf *b, uint64_t n); /* decimal */
enum err buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
enum err buf_vprintf(struct buf *b, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));

/* Removes len bytes (at most all) from the front. */
void buf_consume(struct buf *b, size_t len);
/* Shortens to len bytes; a larger len changes nothing. */
void buf_truncate(struct buf *b, size_t len);
/* Overwrites the bytes in use and the spare ones with zeros, then empties: for passwords. */
void buf_wipe(struct buf *b);

/* The contents, borrowed until the next change. */
struct str buf_str(const struct buf *b);
/* The contents with a NUL behind them (not counted in len), borrowed. Never NULL. */
const char *buf_cstr(struct buf *b);
/* Gives the bytes away, NUL-terminated; the caller frees them; the buffer is empty. */
char *buf_steal(struct buf *b);

#endif
