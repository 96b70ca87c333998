/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_PASSWORD_H
#define ROOST_AUTH_PASSWORD_H

#include "lib/err.h"
#include "lib/str.h"

/* Longest password in bytes (also the limit of crypt(3)); of BLF-CRYPT, which uses no more. */
enum { PASSWORD_MAX = 512, PASSWORD_BLF_MAX = 72 };

/*
 * Stored passwords are "{SCHEME}data", in the forms that Dovecot reads and writes:
 *
 *   ARGON2ID, BLF-CRYPT, SHA512-CRYPT, SHA256-CRYPT, YESCRYPT   $argon2id$, $2y$, $6$, $5$, $y$
 *   CRYPT                     any of these but the first
 *   PBKDF2                    $1$salt$rounds$hex
 *   SSHA512, SSHA256          base64 of digest and salt
 *   SCRAM-SHA-256, -SHA-1     iterations,salt,StoredKey,ServerKey
 *   PLAIN                     text
 *   SSHA, MD5-CRYPT, CRAM-MD5, PLAIN-MD5    weak: quick to try out when the database leaks
 *
 * What begins with a mark of crypt(3) or argon2 needs no {SCHEME}; anything else without one is
 * E_UNSUPPORTED and never compared as plain text. Scheme names in either case. Calls are safe from
 * several threads and take tens of milliseconds.
 */

/*
 * Hashes a new password, in the form of SASLprep (auth/saslprep.h) if it has one; what has none,
 * as it is. *out is on the heap, the caller frees it. E_UNSUPPORTED: scheme; E_RANGE: an empty
 * password or one with a NUL or control character; E_TOOBIG: too long.
 */
enum err password_hash(const char *scheme, struct str password, char **out);
/*
 * OK: this password, or its form by SASLprep, is the one; E_AUTH: wrong; E_UNSUPPORTED: the stored
 * text has no scheme of ours, a weak one without weak_too, or is damaged. A password that SASLprep
 * changes costs twice, whatever is stored.
 */
enum err password_verify(const char *stored, struct str password, int weak_too);
int password_scheme_is_weak(const char *scheme);
/* Whether stored is in this scheme, under whatever name: "{CRYPT}$6$..." is SHA512-CRYPT. */
int password_has_scheme(const char *stored, const char *scheme);
/* Whether stored has a scheme of ours, so that password_verify can compare it. */
int password_is_known(const char *stored);

#endif
