/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MAIL_HEADER_H
#define ROOST_MAIL_HEADER_H

#include <stddef.h>

#include "lib/buf.h"
#include "lib/str.h"

/*
 * Header fields of a block of bytes in memory (RFC 5322 section 2.2). Lines end in LF or CRLF. A
 * line that begins with a space or tab belongs to the field before it. The block ends at an empty
 * line or with its bytes. Any bytes are a block: a line without a colon is a field with an empty
 * name, so that it can be copied or left out like others.
 */
struct header_field {
	struct str name; /* blanks before the colon dropped; empty: the line is not a field */
	struct str value; /* behind the colon, folding kept, without the last line end */
	size_t off, len; /* the whole field in the block, its last line end included */
};

struct header_iter {
	struct str block;
	size_t pos; /* behind the last field given; at the end: of the empty line, or block.len */
};

#define HEADER_ITER(bytes) ((struct header_iter){.block = (bytes)})

/* 1 and the next field (all slices borrowed from the block), or 0 at the end of the header. */
int header_next(struct header_iter *it, struct header_field *out);

/* The first field of this name (ASCII case does not count). 1 found, 0 not. */
int header_find(struct str block, struct str name, struct header_field *out);

/* Bytes of the header in block: through the empty line if there is one, else all of block. */
size_t header_block_len(struct str block);

/*
 * Appends value without its line ends (RFC 5322 section 2.2.3, unfolding) and without blanks at
 * both ends. NUL bytes become spaces when not inside the blanks. E_TOOBIG: out is full.
 */
enum err header_unfold(struct str value, struct buf *out);

#endif
