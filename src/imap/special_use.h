/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMAP_SPECIAL_USE_H
#define ROOST_IMAP_SPECIAL_USE_H

#include "lib/buf.h"
#include "lib/str.h"

/* Special-use attributes (RFC 6154 section 2). */

/* The bit of enum index_special_use for a name without its backslash, in any case; 0: none. */
unsigned imap_special_use_find(struct str name);
/* Appends " \Sent" for each bit of use. */
void imap_special_use_write(unsigned use, struct buf *out);
/* Appends " \Spam" for those that XLIST, older than the RFC, gave another name. */
void imap_special_use_write_xlist(unsigned use, struct buf *out);

#endif
