/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMAP_PATTERN_H
#define ROOST_IMAP_PATTERN_H

#include "lib/str.h"

/*
 * Mailbox patterns of LIST and LSUB (RFC 3501 section 6.3.8): "*" stands for anything, "%" for
 * anything without "/". Patterns and names are compared in the form they have on the wire (modified
 * UTF-7). Time of a match: the name's length times a 64th of the pattern's, whatever is in them.
 */
struct imap_pattern;

/* reference and pattern are put together. Never fails: what is too long for any name matches none.
 */
struct imap_pattern *imap_pattern_create(struct str reference, struct str pattern);
void imap_pattern_free(struct imap_pattern **p);
/* name: on the wire. INBOX as its first level matches in any case. */
int imap_pattern_match(const struct imap_pattern *p, struct str name);

#endif
