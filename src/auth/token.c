/* SPDX-License-Identifier: MIT */
#include "auth/token.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "auth/lru.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

struct token {
	char service[TOKEN_SERVICE_MAX + 1];
	int64_t expires_ms;
	struct cache_user user;
};

struct token_table {
	struct lru *tokens;
};

struct token_table *
token_table_create(void)
{
	struct token_table *t = MEM_NEW(struct token_table);

	t->tokens = lru_create(TOKEN_MAX, sizeof(struct token));
	return t;
}

void
token_table_free(struct token_table **t)
{
	if (!*t)
		return;
	lru_free(&(*t)->tokens);
	MEM_FREE(*t);
}

/* The oldest come first, because a token is never looked at without being taken out. */
static void
drop_expired(struct token_table *t, int64_t now_ms)
{
	const char *key;
	const struct token *token;

	while ((token = lru_oldest(t->tokens, &key)) && token->expires_ms <= now_ms)
		lru_remove(t->tokens, key);
}

void
token_issue(struct token_table *t, const char *service, const struct cache_user *user,
	int64_t now_ms, char out[TOKEN_HEX + 1])
{
	struct token *token;

	ROOST_ASSERT(strlen(service) <= TOKEN_SERVICE_MAX);
	drop_expired(t, now_ms);
	io_random_hex(out, TOKEN_HEX / 2);
	token = lru_put(t->tokens, out);
	memcpy(token->service, service, strlen(service) + 1);
	token->expires_ms = now_ms + AUTH_TOKEN_LIFETIME_MS;
	token->user = *user;
}

/*
 * The look-up by hash and memcmp is no oracle: a token is 32 random bytes, and a guess that misses
 * tells nothing about the others.
 */
enum err
token_redeem(struct token_table *t, struct str token, struct str service, int64_t now_ms,
	struct cache_user *out)
{
	char key[TOKEN_HEX + 1];
	const struct token *found;
	enum err e = E_NOTFOUND;

	if (token.len != TOKEN_HEX || memchr(token.p, 0, token.len))
		return E_NOTFOUND;
	memcpy(key, token.p, TOKEN_HEX);
	key[TOKEN_HEX] = '\0';
	found = lru_find(t->tokens, key);
	if (found && found->expires_ms > now_ms && str_is(service, found->service)) {
		*out = found->user;
		e = OK;
	}
	lru_remove(t->tokens, key);
	OPENSSL_cleanse(key, sizeof(key));
	return e;
}

size_t
token_count(struct token_table *t, int64_t now_ms)
{
	drop_expired(t, now_ms);
	return lru_count(t->tokens);
}
