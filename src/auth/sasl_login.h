/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_SASL_LOGIN_H
#define ROOST_AUTH_SASL_LOGIN_H

#include "lib/err.h"
#include "lib/str.h"

/*
 * The server side of SASL exchanges (RFC 4422), done by Cyrus SASL with its plug-ins for PLAIN
 * (RFC 4616) and LOGIN. Passwords are checked by a function of ours; no file, no saslauthd and no
 * other plug-in takes part.
 */

/* What is offered, with a blank between: "PLAIN LOGIN". */
#define SASL_LOGIN_MECHANISMS "PLAIN LOGIN"

/* Loads the plug-ins, once per process and before the sandbox. E_NOTFOUND: a plug-in is missing
 * (logged, with the package that has it). */
enum err sasl_login_init(void);
void sasl_login_fini(void);

/*
 * Whether a name and password are good: OK, or an error that becomes that of the exchange. user is
 * normalised when it is an address, else as the client sent it; it may be empty.
 */
typedef enum err (*sasl_login_check)(void *arg, const char *user, struct str password);

/* One exchange. Several threads may use it one after another. */
struct sasl_login;
/* E_UNSUPPORTED: the mechanism. */
enum err sasl_login_create(const char *service, const char *hostname, const char *mechanism,
	sasl_login_check check, void *arg, struct sasl_login **out);
void sasl_login_free(struct sasl_login **s);
/*
 * Goes on with a response of the client; the first call may have none (in.p NULL). *done 0: *out is
 * a challenge, borrowed until the next call. *done 1: logged in. E_PARSE: malformed; E_AUTH: among
 * others, another authorization identity; and what check returned.
 */
enum err sasl_login_step(struct sasl_login *s, struct str in, struct str *out, int *done);

#endif
