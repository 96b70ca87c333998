/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_TOKEN_H
#define ROOST_AUTH_TOKEN_H

#include <stddef.h>

#include "auth/auth_proto.h"
#include "auth/cache.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"

/*
 * The tokens of log-ins that wait for their session. A token holds what the session has to know of
 * its user, sealed with the master's key (seal.h) for one service and one session id, so that a
 * process that takes the place of the one that issued it can redeem it, too. A process redeems it
 * once; what the one before it has redeemed it does not know.
 */
enum {
	TOKEN_USED_MAX = 100000, /* remembered as redeemed, the latest */
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

/* Those that this process has redeemed. For the loop's thread. */
struct token_table;

struct token_table *token_table_create(void);
void token_table_free(struct token_table **t);
/* E_NOTFOUND: not one of ours, for another service or session, too old, or redeemed already. */
enum err token_redeem(struct token_table *t, const struct token_use *use, struct str token,
	int64_t now_ms, struct cache_user *out);

#endif
