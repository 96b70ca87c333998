/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MAIL_DECODE_H
#define ROOST_MAIL_DECODE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/str.h"

/* Content-Transfer-Encoding (RFC 2045 section 6). */
enum mail_encoding {
	MAIL_ENCODING_7BIT,
	MAIL_ENCODING_8BIT,
	MAIL_ENCODING_BINARY,
	MAIL_ENCODING_BASE64,
	MAIL_ENCODING_QP,
	MAIL_ENCODING_UNKNOWN, /* something else: bytes are passed on as they are */
};

/* From the field's value; empty gives 7BIT. */
enum mail_encoding mail_encoding_parse(struct str value);
/* "BASE64" and so on; "7BIT" for UNKNOWN. */
const char *mail_encoding_name(enum mail_encoding e);

/*
 * A decoder that takes its input in pieces. Never fails for bad input: base64 skips what is not of
 * its alphabet and goes on behind padding; quoted-printable leaves a bad "=" as it is. bad counts
 * such bytes, for who must refuse (BINARY, RFC 3516). Fields are private but for bad.
 */
struct decoder {
	enum mail_encoding encoding;
	uint64_t bad;
	uint32_t bits;
	unsigned count;
	char held[68]; /* quoted-printable: "=" or blanks whose meaning the next bytes decide */
	size_t held_len;
};

void decoder_init(struct decoder *d, enum mail_encoding encoding);
/* E_TOOBIG: out is full; what was decoded up to there is kept, the rest of the piece is lost. */
enum err decoder_feed(struct decoder *d, const char *p, size_t len, struct buf *out);
/* The end: what is held back comes out, an incomplete base64 group counts as bad. */
enum err decoder_finish(struct decoder *d, struct buf *out);

/* All at once. E_TOOBIG as above; *bad may be NULL. */
enum err decode_all(enum mail_encoding encoding, struct str text, struct buf *out, uint64_t *bad);

/* Base64 without line ends when line_len is 0, else with CRLF after every line_len characters. */
enum err encode_base64(struct str bytes, size_t line_len, struct buf *out);
/*
 * Quoted-printable with lines of at most 76 characters (RFC 2045 section 6.7). text != 0: LF and
 * CRLF are line ends and come out as CRLF; 0: they are bytes and are encoded.
 */
enum err encode_qp(struct str bytes, int text, struct buf *out);

#endif
