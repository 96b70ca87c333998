/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_TOKEN_H
#define ROOST_AUTH_TOKEN_H

#include <stddef.h>
#include <stdint.h>

#include "auth/auth_proto.h"
#include "auth/cache.h"
#include "lib/err.h"
#include "lib/str.h"

/* The one-time tokens of log-ins that wait for their session. For the loop's thread. */
struct token_table;

enum { TOKEN_MAX = 100000, TOKEN_HEX = 64, TOKEN_SERVICE_MAX = 15 };

struct token_table *token_table_create(void);
void token_table_free(struct token_table **t);
/* A token of the user for the service, good for AUTH_TOKEN_LIFETIME_MS, into out. */
void token_issue(struct token_table *t, const char *service, const struct cache_user *user,
	int64_t now_ms, char out[TOKEN_HEX + 1]);
/* E_NOTFOUND: unknown, used, too old, or of another service; it is used up in every case. */
enum err token_redeem(struct token_table *t, struct str token, struct str service, int64_t now_ms,
	struct cache_user *out);
/* Tokens not yet redeemed, those too old taken away. */
size_t token_count(struct token_table *t, int64_t now_ms);

#endif
