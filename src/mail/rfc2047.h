/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MAIL_RFC2047_H
#define ROOST_MAIL_RFC2047_H

#include "lib/buf.h"
#include "lib/str.h"

/*
 * Appends a header value as well-formed UTF-8: unfolded, encoded words decoded (RFC 2047; RFC 2231
 * section 5 language suffix accepted), the blanks between two adjacent ones dropped, a character
 * that was split between two of one charset put together again. A malformed encoded word stays as
 * text. Bytes over 0x7f outside are taken as UTF-8, ill-formed ones become U+FFFD. Tolerated:
 * encoded words without blanks around. Never fails but for E_TOOBIG (out full; what fitted is
 * kept).
 */
enum err rfc2047_decode(struct str value, struct buf *out);

/*
 * Appends a UTF-8 text as a phrase (RFC 5322): as atoms when it can, else quoted, else as encoded
 * words of at most 75 characters, folded with CRLF SP between. text is cleaned first if ill-formed.
 */
enum err rfc2047_encode_phrase(struct str text, struct buf *out);
/* The same for unstructured text (Subject): plain when all of it is printable ASCII. */
enum err rfc2047_encode_text(struct str text, struct buf *out);

#endif
