/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MAIL_SURROGATE_H
#define ROOST_MAIL_SURROGATE_H

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"

/*
 * A message with UTF-8 in its headers (RFC 6532) for a client that cannot take that: a surrogate as
 * RFC 6858 has it. Header fields of the message and of all its parts, if they have bytes above
 * 0x7f and are well-formed UTF-8:
 * - Addresses become <invalid@internationalized-address.invalid> if they have UTF-8 themselves, the
 *   true one is told in the display name; display names become encoded words.
 * - Parameters of MIME fields are written as RFC 2231 has it.
 * - Subject and other text becomes encoded words.
 * - Fields that have a syntax of their own (Message-ID, Received, signatures) are left out.
 * Header bytes that are not UTF-8 say nothing of what they mean: they stay as they are, like
 * bodies.
 */

/*
 * Appends the surrogate, whose new lines end in CRLF, and sets *made to 1; nothing is appended and
 * *made is 0 when the message needs none. E_TOOBIG: out is full; its contents are of no use then.
 */
enum err surrogate_build(struct str message, struct buf *out, int *made);

#endif
