/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_BASE64_H
#define ROOST_AUTH_BASE64_H

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"

/* Base64 of SASL exchanges. Both append to *out. Strict (RFC 4648 section 4), no blanks. E_PARSE.
 */
enum err sasl_base64_decode(struct str text, struct buf *out);
void sasl_base64_encode(struct str data, struct buf *out);

#endif
