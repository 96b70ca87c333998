/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_SASLAUTHD_H
#define ROOST_AUTH_SASLAUTHD_H

#include "auth/addr.h"
#include "auth/settings.h"
#include "lib/err.h"
#include "lib/str.h"

/*
 * Passwords that Cyrus SASL's saslauthd checks: by PAM, the system's accounts, LDAP and others. The
 * stored form of such a user is "{SASLAUTHD}" or "{SASLAUTHD}name": who he is there. Without a name
 * he is his local part, in the realm of his domain; of name@realm the realm is what follows the
 * last "@". saslauthd puts the two together with -r and drops the realm else.
 */
int saslauthd_is_meant(const char *stored);
/* The name of that scheme, in either case. */
int saslauthd_is_scheme(const char *scheme);
/* The stored form for who he is there, "" for the local part. E_RANGE: no such name. */
enum err saslauthd_stored(const char *name, char **out);

/*
 * Asks at the setting saslauthd_socket; blocks for saslauthd_timeout at most. service: the
 * protocol, for saslauthd_service. E_AUTH: refused; E_TEMPFAIL: not there, too slow, or it could
 * not find out itself, with a log line.
 */
enum err saslauthd_verify(const struct auth_settings *s, const char *stored,
	const struct addr *user, const char *service, struct str password);

#endif
