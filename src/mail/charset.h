/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MAIL_CHARSET_H
#define ROOST_MAIL_CHARSET_H

#include "lib/buf.h"
#include "lib/str.h"

/*
 * Conversion to UTF-8. Never fails for bad bytes: what is invalid in its charset, or cut off at the
 * end, becomes U+FFFD. US-ASCII, and no charset at all, are read as UTF-8, which contains it and is
 * what such mail mostly is. An unknown charset is taken as US-ASCII (RFC 2046 section 4.1.2) with
 * U+FFFD for each byte over 0x7f. The output is always well-formed UTF-8. The only error is
 * E_TOOBIG when out is full; what fitted is kept and never ends within a character.
 *
 * Charsets other than UTF-8, ISO-8859-1 and Windows-1252 come from iconv(3), which reads its
 * modules (gconv) from disk at the first use of each: a sandbox must let it. Where it cannot, the
 * charset counts as unknown.
 */
struct charset_conv;

/* charset: a MIME name, case does not count; may be empty. Never NULL. */
struct charset_conv *charset_conv_create(struct str charset);
/* May be called with pieces cut anywhere. */
enum err charset_conv_feed(struct charset_conv *c, const char *p, size_t len, struct buf *out);
/* The end of the input: a character begun and not ended becomes U+FFFD. */
enum err charset_conv_finish(struct charset_conv *c, struct buf *out);
void charset_conv_free(struct charset_conv **c);

/* All at once. */
enum err charset_to_utf8(struct str charset, struct str text, struct buf *out);

/* Whether the charset is one that we can convert (SEARCH answers BADCHARSET otherwise). */
int charset_is_known(struct str charset);

/* Appends text with every ill-formed sequence of UTF-8 replaced by U+FFFD. */
enum err charset_utf8_clean(struct str text, struct buf *out);

#endif
