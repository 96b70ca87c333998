/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_OWN_MECHANISM_H
#define ROOST_AUTH_OWN_MECHANISM_H

#include "auth/oauth.h"
#include "auth/sasl_login.h"
#include "lib/err.h"
#include "lib/str.h"

/*
 * The server side of what Cyrus SASL has not:
 *   EXTERNAL (RFC 4422 appendix A): who the client's certificate says;
 *   OAUTHBEARER (RFC 7628), XOAUTH2: who the bearer token says;
 *   APOP (RFC 1939 section 7), which is no SASL mechanism: its exchange is one message of the name,
 *   NUL, the greeting's timestamp, NUL, the digest.
 * The handler's find and accept are called as for the mechanisms of Cyrus SASL.
 */
struct own_mechanism;

/*
 * name: in upper case, of a mechanism with the flag SASL_IS_OURS. certificate_user: for EXTERNAL,
 * copied; "": the certificate names nobody.
 */
struct own_mechanism *own_mechanism_create(
	const char *name, const char *certificate_user, const struct sasl_login_handler *handler);
void own_mechanism_free(struct own_mechanism **m);
/*
 * As sasl_login_step. oauth: for this step, or NULL when it is not configured. *reason: set for the
 * log where the handler does not.
 */
enum err own_mechanism_step(struct own_mechanism *m, struct oauth *oauth, struct str in,
	struct str *out, int *done, const char **reason);

/* What a client says in OAUTHBEARER and XOAUTH2. Borrowed. E_PARSE. */
struct oauth_message {
	struct str user; /* whom he wants to be; may be empty in OAUTHBEARER */
	struct str token;
};
enum err oauthbearer_parse(struct str message, struct oauth_message *out);
enum err xoauth2_parse(struct str message, struct oauth_message *out);

#endif
