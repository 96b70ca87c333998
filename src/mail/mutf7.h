/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MAIL_MUTF7_H
#define ROOST_MAIL_MUTF7_H

#include "lib/buf.h"
#include "lib/str.h"

/*
 * Mailbox names in modified UTF-7 (RFC 3501 section 5.1.3) and UTF-8. Strict: for each name there
 * is exactly one encoded form, every other is E_PARSE, so that two spellings can never name one
 * mailbox. Controls and NUL are E_PARSE in both directions. On an error nothing is appended.
 * E_TOOBIG: out is full.
 */
enum err mutf7_to_utf8(struct str mutf7, struct buf *out);
enum err mutf7_from_utf8(struct str utf8, struct buf *out);

#endif
