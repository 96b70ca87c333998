/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_VERIFY_H
#define ROOST_AUTH_VERIFY_H

#include "auth/cache.h"
#include "auth/directory.h"
#include "lib/err.h"
#include "lib/net.h"
#include "lib/str.h"

enum { VERIFY_APP_NAME_MAX = 64 };

/* Where a log-in comes from, what may be done for it, and what it turned out to be. */
struct verify_from {
	const char *service; /* "imap", "pop3", "smtp" */
	const struct net_addr *addr; /* len 0: not known */
	int may_wait; /* the worker may wait for saslauthd */
	int must_wait; /* set, with E_STATE, when it would have to and may not */
	/* For the log, "" unless so: */
	char master[ADDR_TEXT_SIZE]; /* who logs in with his own password to another's mailbox */
	char app_password[VERIFY_APP_NAME_MAX + 1]; /* the name of the one that was given */
	char moved_to[MOVED_HOST_MAX + 1]; /* E_ACCESS: the server that has his mail */
	/* The stored form, when it should be replaced (password_rehash); else NULL. On the heap. */
	char *outdated;
};

/*
 * Checks a user name and a password, in a worker. An unknown user costs a hash like a wrong
 * password. "user*master" (auth_master_user_separator) is the user for a master user's password.
 * OK: *out is set. E_AUTH, also for a right password in a place where it is not good; E_ACCESS:
 * right, but switched off, or, with *out and moved_to set, of another server; E_STATE: see
 * must_wait; E_TEMPFAIL. *reason: a static word for the log ("password", "user", "disabled",
 * "moved", "scheme", "saslauthd", "saslprep", "database", "master", "protocol", "network",
 * "expired"), "cache" for a hit.
 *
 * Names and passwords count in the form of SASLprep (RFC 4013) as well as in the one that they come
 * in; for POP3, those beyond ASCII that it refuses are refused (RFC 6856 section 2.2).
 */
enum err verify_login(struct directory *d, struct cache *cache, const char *user,
	struct str password, struct verify_from *from, struct cache_user *out, const char **reason);

/*
 * The two halves for a mechanism that proves the knowledge of a secret itself. The user whom a name
 * stands for; *out is zeroed first, the caller frees it, and its password is NULL when there is no
 * such user (*reason says so). E_TEMPFAIL.
 */
enum err verify_find(
	struct directory *d, const char *name, struct directory_user *out, const char **reason);
/* The secret was proved. OK with *out set; E_ACCESS as above; E_AUTH: not from here. */
enum err verify_accept(const struct directory_user *user, struct verify_from *from,
	struct cache_user *out, const char **reason);

#endif
