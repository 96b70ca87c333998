/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_PASSWORD_H
#define ROOST_AUTH_PASSWORD_H

#include "lib/err.h"
#include "lib/str.h"

/* Longest password in bytes (also the limit of crypt(3)); of BLF-CRYPT, which uses no more. */
enum { PASSWORD_MAX = 512, PASSWORD_BLF_MAX = 72 };

/*
 * Stored passwords are "{SCHEME}data": {ARGON2ID}$argon2id$..., {BLF-CRYPT}$2y$...,
 * {SHA512-CRYPT}$6$..., {PLAIN}text. Without a prefix only $argon2id$, $2y$ ($2a$, $2b$) and $6$
 * are known by themselves; anything else is E_UNSUPPORTED and never compared as plain text. Scheme
 * names in either case. Calls are safe from several threads and take tens of milliseconds.
 */

/*
 * Hashes a new password. *out is on the heap, the caller frees it. E_UNSUPPORTED: scheme; E_RANGE:
 * an empty password or one with a NUL or control character; E_TOOBIG: too long.
 */
enum err password_hash(const char *scheme, struct str password, char **out);
/* OK; E_AUTH: wrong; E_UNSUPPORTED: the stored text has no scheme of ours or is damaged. */
enum err password_verify(const char *stored, struct str password);
/* Whether stored has a scheme of ours, so that password_verify can compare it. */
int password_is_known(const char *stored);

#endif
