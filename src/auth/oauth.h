/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_OAUTH_H
#define ROOST_AUTH_OAUTH_H

#include <jansson.h>

#include "auth/addr.h"
#include "lib/buf.h"
#include "lib/conf.h"
#include "lib/err.h"
#include "lib/str.h"

/*
 * Bearer tokens (RFC 6750) of an identity provider in the place of passwords, for OAUTHBEARER (RFC
 * 7628) and XOAUTH2: checked with the provider's public keys, when they are JWTs and oauth_jwks is
 * set, else asked of the provider (RFC 7662), when oauth_introspection_url is set.
 */
struct oauth;

/* From the oauth_* settings; NULL when neither is set. A file that cannot be read is tried again.
 */
struct oauth *oauth_create(const struct config *conf);
void oauth_free(struct oauth **o);
/* Whether the settings are enough for tokens to be checked; those who are offered it can succeed.
 */
int oauth_is_configured(const struct config *conf);

/*
 * In a worker. OK: user[ADDR_TEXT_SIZE] is the address in the token. E_AUTH: *reason is a static
 * word ("token", "key", "signature", "expired", "issuer", "audience", "client", "scope", "claim",
 * "inactive"). E_TEMPFAIL: the keys or the provider cannot be reached.
 */
enum err oauth_check(struct oauth *o, struct str token, char *user, const char **reason);
/* The claims' part of it, for tests. */
enum err oauth_check_claims(const struct oauth *o, const json_t *claims, int64_t now_s, char *user,
	const char **reason);
/* The JSON of RFC 7628 section 3.2.2, which tells a client why, and where to get a token. */
void oauth_error_put(const struct oauth *o, int is_xoauth2, struct buf *out);

#endif
