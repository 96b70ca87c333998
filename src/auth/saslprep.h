/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_SASLPREP_H
#define ROOST_AUTH_SASLPREP_H

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"

/*
 * SASLprep (RFC 4013): the one form of a user's name or password in Unicode, so that what is typed
 * on one keyboard is what was typed on another.
 */

/* RFC 3454 section 7: what somebody presents, and what is kept to compare it with. */
enum saslprep_use { SASLPREP_QUERY, SASLPREP_STORED };

/* Loads the tables, once per process and before the sandbox. E_TEMPFAIL. */
enum err saslprep_init(void);
/*
 * OK: *out, which is empty before, holds the prepared text; an ASCII text without control
 * characters is its own. E_PARSE: not UTF-8, a prohibited character, bad right-to-left text, with
 * SASLPREP_STORED a character that Unicode 3.2 does not have, or nothing is left. E_TOOBIG: more
 * than SASLPREP_MAX bytes. *out is to be freed, and wiped, in any case.
 */
enum { SASLPREP_MAX = 1024 };
enum err saslprep(struct str text, enum saslprep_use use, struct buf *out);

#endif
