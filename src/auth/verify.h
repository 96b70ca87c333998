/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_VERIFY_H
#define ROOST_AUTH_VERIFY_H

#include "auth/cache.h"
#include "auth/directory.h"
#include "lib/err.h"
#include "lib/str.h"

/*
 * Checks a user name and a password, in a worker. An unknown user costs a hash like a wrong
 * password. OK: *out is set. E_AUTH; E_ACCESS: right, but switched off; E_TEMPFAIL. *reason: a
 * static word for the log ("password", "user", "disabled", "scheme", "database"), "cache" for a
 * hit.
 */
enum err verify_login(struct directory *d, struct cache *cache, const char *user,
	struct str password, struct cache_user *out, const char **reason);

/*
 * The two halves for a mechanism that proves the knowledge of a secret itself. The user whom a name
 * stands for; *out is zeroed first, the caller frees it, and its password is NULL when there is no
 * such user (*reason says so). E_TEMPFAIL.
 */
enum err verify_find(
	struct directory *d, const char *name, struct directory_user *out, const char **reason);
/* The secret was proved. OK with *out set; E_ACCESS: switched off. */
enum err verify_accept(struct directory *d, const struct directory_user *user,
	struct cache_user *out, const char **reason);

#endif
