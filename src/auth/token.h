/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_TOKEN_H
#define ROOST_AUTH_TOKEN_H

#include <stddef.h>

#include "auth/auth_proto.h"
#include "auth/cache.h"
#include "auth/token_used.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"

/*
 * The tokens of log-ins that wait for their session. A token holds what the session has to know of
 * its user, sealed with the master's key (seal.h) for one service and one session id, so that a
 * process that takes the place of the one that issued it can redeem it, too. It is good once, over
 * all processes that share a table (token_used.h).
 */
enum {
	TOKEN_SERVICE_MAX = 15,
	TOKEN_TEXT_MAX = 4000,
};

/* With which key it is sealed, and what it is good for. All borrowed. */
struct token_use {
	const char *key_hex;
	struct str service, session;
};

/*
 * Appends a token of the user, good for AUTH_TOKEN_LIFETIME_MS, to *out: hex digits, at most
 * TOKEN_TEXT_MAX. E_RANGE: no key.
 */
enum err token_issue(const struct token_use *use, const struct cache_user *user, int64_t now_ms,
	struct buf *out);

/* E_NOTFOUND: not one of ours, for another service or session, too old, or redeemed already. */
enum err token_redeem(struct token_used *t, const struct token_use *use, struct str token,
	int64_t now_ms, struct cache_user *out);

#endif
