/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_SMTP_DATA_H
#define ROOST_MTA_SMTP_DATA_H

#include <stdint.h>

#include "lib/buf.h"
#include "lib/str.h"

/*
 * The content behind DATA (RFC 5321 sections 4.1.1.4 and 4.5.2), in chunks of any size. CRLF.CRLF
 * alone ends it. A bare CR or LF never makes a line end: it is kept as a byte and reported, so that
 * the message can be refused once its real end has come. The first byte is at the start of a line.
 */
enum smtp_data_state {
	SMTP_DATA_LINE_START,
	SMTP_DATA_LINE,
	SMTP_DATA_CR, /* a CR is held back */
	SMTP_DATA_DOT, /* a dot at the start of a line is held back */
	SMTP_DATA_DOT_CR, /* that dot and a CR */
	SMTP_DATA_END,
};

struct smtp_data {
	enum smtp_data_state state;
	unsigned bare_lf : 1, bare_cr : 1, has_nul : 1, has_8bit : 1;
	uint64_t line_len; /* of the current line */
	uint64_t longest; /* line, without its end */
};

/* A zeroed struct is the start. */
#define SMTP_DATA_INIT ((struct smtp_data){.state = SMTP_DATA_LINE_START})

/*
 * Takes bytes up to the end of data at most; returns how many. The content without its dot
 * stuffing is appended to *out (at most in.len + 2 bytes). d->state is SMTP_DATA_END at the end.
 */
size_t smtp_data_feed(struct smtp_data *d, struct str in, struct buf *out);

/*
 * The way out: appends the content with dot stuffing. Whatever the bytes are, the result has no
 * bare CR or LF: a bare LF becomes CRLF and a bare CR is left out. state is kept between calls;
 * SMTP_DATA_LINE_START at first.
 */
void smtp_data_stuff(enum smtp_data_state *state, struct str in, struct buf *out);
/* Appends the end: a line end if one is missing, and ".CRLF". */
void smtp_data_finish(enum smtp_data_state *state, struct buf *out);

#endif
