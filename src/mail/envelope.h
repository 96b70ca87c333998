/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MAIL_ENVELOPE_H
#define ROOST_MAIL_ENVELOPE_H

#include "lib/buf.h"
#include "lib/str.h"
#include "mail/mime.h"

/*
 * Texts of IMAP's FETCH, ready to be sent (RFC 9051 sections 7.5.2 and 9; good for RFC 3501 too).
 * Strings are quoted where that is safe and literals "{n}\r\n..." else, so 8-bit text goes as
 * literals, which both protocol versions allow. All return E_TOOBIG when out is full.
 */

/*
 * Addresses that are written: of one field, and of all envelopes in one text. What is over it is
 * left out, so that no message can be made whose text is many times its size.
 */
enum { ENVELOPE_FIELD_ADDRESSES = 1000, ENVELOPE_TEXT_ADDRESSES = 6000 };

/* "(date subject from sender …)" of the message whose header part has. */
enum err envelope_write(const struct mime_part *part, struct buf *out);
/* BODY: without extension data. */
enum err envelope_write_body(const struct mime_message *m, struct buf *out);
/* BODYSTRUCTURE: with extension data. */
enum err envelope_write_bodystructure(const struct mime_message *m, struct buf *out);

/*
 * A string: quoted when it has at most 1,000 bytes, all of them 0x20..0x7e; a literal otherwise.
 * A literal cannot hold NUL: such bytes become 0x80. astring-safe atoms are quoted as well.
 */
enum err envelope_write_string(struct str s, struct buf *out);
/* NIL when s.p is NULL. */
enum err envelope_write_nstring(struct str s, struct buf *out);

#endif
