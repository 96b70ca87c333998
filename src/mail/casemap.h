/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MAIL_CASEMAP_H
#define ROOST_MAIL_CASEMAP_H

#include "lib/buf.h"
#include "lib/str.h"

/*
 * i;unicode-casemap (RFC 5051): appends the prepared form of a UTF-8 text (titlecase mapping, then
 * full decomposition). Two texts are equal under the collation when the forms are equal bytes; one
 * contains the other when its form contains the other's; order is the order of the bytes. A text
 * that is not well-formed UTF-8 is appended as it is (section 2, step (1)(b)).
 * E_TOOBIG: out is full.
 */
enum err casemap_fold(struct str utf8, struct buf *out);

#endif
