/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MAIL_NETUNICODE_H
#define ROOST_MAIL_NETUNICODE_H

#include "lib/str.h"

/*
 * Whether a text may name a mailbox in UTF-8 (RFC 9051 section 5.1, RFC 9755 section 3):
 * Net-Unicode (RFC 5198 section 2), which is well-formed UTF-8 in normalization form C, without
 * control characters, U+2028 and U+2029.
 */
int netunicode_is_name(struct str text);

#endif
