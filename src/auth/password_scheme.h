/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_PASSWORD_SCHEME_H
#define ROOST_AUTH_PASSWORD_SCHEME_H

#include <stddef.h>

#include "lib/err.h"

/* Private to password*.c: the schemes, each in the file of its family. */

enum { PASSWORD_BARE_MAX = 5 };

struct password_scheme {
	const char *name;
	/* *out: the data behind {SCHEME}, on the heap. E_TEMPFAIL: memory. */
	enum err (*hash)(const char *password, size_t len, char **out);
	/* password is NUL-terminated too. OK, E_AUTH, E_UNSUPPORTED: damaged data, E_TEMPFAIL. */
	enum err (*verify)(const char *data, const char *password, size_t len);
	/* Data begins with one of these, if there are any; then it needs no {SCHEME} in front, */
	const char *bare[PASSWORD_BARE_MAX];
	int prefix_only; /* but for those that have another name as well */
	int weak; /* fast to try out, or broken: only by allow_weak_schemes */
};

/* Arrays ended by an entry without a name. */
extern const struct password_scheme password_crypt_schemes[]; /* crypt(3), argon2 */
extern const struct password_scheme password_digest_schemes[];
extern const struct password_scheme password_scram_schemes[];

/*
 * Base64 with padding. Encoding appends a NUL; out has room for 4 * ((len + 2) / 3) + 1. Decoding
 * returns how many bytes came out, 0 for what is malformed, empty or more than max.
 */
void password_base64_encode(const unsigned char *p, size_t len, char *out);
size_t password_base64_decode(const char *text, size_t len, unsigned char *out, size_t max);

#endif
