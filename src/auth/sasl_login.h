/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_SASL_LOGIN_H
#define ROOST_AUTH_SASL_LOGIN_H

#include "lib/err.h"
#include "lib/str.h"

/*
 * The server side of SASL exchanges (RFC 4422), done by Cyrus SASL with its plug-ins for PLAIN
 * (RFC 4616), LOGIN, SCRAM (RFC 5802, 7677), CRAM-MD5 (RFC 2195) and DIGEST-MD5 (RFC 2831).
 * Passwords are checked, and stored secrets found, by functions of ours; no file, no saslauthd and
 * no other plug-in takes part.
 */

enum sasl_mechanism_flags {
	SASL_SHOWS_PASSWORD = 1, /* to who listens: only over TLS */
	SASL_BINDS_CHANNEL = 2, /* -PLUS: only over TLS */
	SASL_IS_OURS = 4, /* auth/own_mechanism.h does it, not Cyrus SASL */
	SASL_NEEDS_CERTIFICATE = 8, /* only for clients whose certificate names a user */
	SASL_TAKES_TOKENS = 16, /* only where auth/oauth.h is configured */
	SASL_IS_UNLISTED = 32, /* no SASL mechanism, but one of a protocol's own */
};
/* Flags of a mechanism by its name in upper case; -1: none of ours. */
int sasl_mechanism_flags(const char *name);

/* Loads the plug-ins, once per process and before the sandbox. E_NOTFOUND: a plug-in is missing
 * (logged, with the package that has it). */
enum err sasl_login_init(void);
void sasl_login_fini(void);

struct sasl_login_handler {
	/*
	 * Whether a name and password are good: OK, or an error that becomes that of the exchange.
	 * user is normalised when it is an address, else as the client sent it; it may be empty.
	 */
	enum err (*check)(void *arg, const char *user, struct str password);
	/* The stored password of a user, on the heap; NULL: there is no such user. E_TEMPFAIL. */
	enum err (*find)(void *arg, const char *user, char **stored);
	/* The user has proved to know the secret that find gave: may he log in? */
	enum err (*accept)(void *arg, const char *user, int secret_fits);
	void *arg;
};

/* Channel bindings of the connection (RFC 5929, RFC 9266); empty where there are none. */
struct sasl_login_binding {
	struct str exporter, unique;
};

/* One exchange. Several threads may use it one after another. */
struct sasl_login;
/* E_UNSUPPORTED: the mechanism. Slices are copied. */
enum err sasl_login_create(const char *service, const char *hostname, const char *mechanism,
	const struct sasl_login_binding *binding, const struct sasl_login_handler *handler,
	struct sasl_login **out);
void sasl_login_free(struct sasl_login **s);
/*
 * Goes on with a response of the client; the first call may have none (in.p NULL). *done 0: *out is
 * a challenge, borrowed until the next call. *done 1: logged in. E_PARSE: malformed; E_AUTH: among
 * others, another authorization identity; and what check returned.
 */
enum err sasl_login_step(struct sasl_login *s, struct str in, struct str *out, int *done);

#endif
