/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MAIL_CONVERT_H
#define ROOST_MAIL_CONVERT_H

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"

/*
 * Rewrites a message for a channel that cannot carry its bytes: bodies that do not fit get another
 * Content-Transfer-Encoding (RFC 2045 section 6), nothing is lost and no other byte changes. A
 * signature over such a part does not survive; who can avoid the conversion should (RFC 3516
 * section 6, RFC 6152 section 3).
 */
enum convert_channel {
	/* No NUL, no part that is declared binary: files of lines. */
	CONVERT_STORED,
	/* Lines of at most 998 octets, no NUL, no bare CR: 8BITMIME. */
	CONVERT_8BIT,
	/* The same, and bytes below 0x80 only, in bodies (RFC 5321 section 2.3.1). */
	CONVERT_7BIT,
};

/*
 * Whether the message, in whose bytes lines end in LF or CRLF, has a body for which the channel is
 * too narrow. Bytes above 0x7f in headers do not count: they need SMTPUTF8, not an encoding.
 */
int mail_needs_convert(struct str message, enum convert_channel channel);

/*
 * Appends the message in a form that fits. Text becomes quoted-printable, all else base64; a
 * message without MIME fields gets them, its charset "unknown-8bit" (RFC 1428). What is inserted
 * has CRLF line ends. E_TOOBIG: out is full; its contents are of no use then.
 */
enum err mail_convert(struct str message, enum convert_channel channel, struct buf *out);

#endif
