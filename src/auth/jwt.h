/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_JWT_H
#define ROOST_AUTH_JWT_H

#include <jansson.h>

#include "lib/err.h"
#include "lib/str.h"

/*
 * Signed tokens (JWT, RFC 7519, in the compact form of JWS, RFC 7515) and the public keys that they
 * are checked with (a JWK set, RFC 7517, of RSA, EC and Ed25519 keys, RFC 7518 and 8037).
 *
 * Which keys a token may be checked with say its "kid" and the type of the key, never the token
 * alone: algorithms with a shared secret (HS256) and "none" do not exist here, so that a public key
 * can not be taken for a secret. "kid" is compared with those of the set and used for nothing else.
 */
enum { JWT_MAX = 16 * 1024, JWKS_MAX = 1024 * 1024, JWKS_KEYS_MAX = 100 };

struct jwks;

/*
 * E_PARSE: not a JWK set, or no key in it that could be used; *why is a static text. Keys of other
 * types and for other uses are passed over.
 */
enum err jwks_parse(struct str json, struct jwks **out, const char **why);
void jwks_free(struct jwks **set);
size_t jwks_count(const struct jwks *set);

/*
 * Checks the signature. OK: *claims is the token's content, an object that the caller frees.
 * E_AUTH: *reason is a static word ("token": malformed, "algorithm", "key": none fits,
 * "signature"). The claims themselves, the time among them, are not looked at.
 */
enum err jwt_verify(const struct jwks *set, struct str token, json_t **claims, const char **reason);
/* Whether it has the form of a token of this kind: three parts. */
int jwt_is_one(struct str token);

#endif
