/* SPDX-License-Identifier: MIT */
#include "auth/cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "auth/lru.h"
#include "lib/buf.h"
#include "lib/io.h"
#include "lib/mem.h"

enum { KEY_BYTES = 32, DIGEST_BYTES = 32 };

struct entry {
	unsigned char digest[DIGEST_BYTES];
	int64_t expires_ms;
	struct cache_user value;
};

struct cache {
	pthread_mutex_t lock;
	struct lru *table;
	unsigned char key[KEY_BYTES];
	int64_t ttl_ms;
	uint64_t generation, hits, misses;
};

struct cache *
cache_create(int64_t ttl_ms)
{
	struct cache *c = MEM_NEW(struct cache);

	pthread_mutex_init(&c->lock, NULL);
	c->table = lru_create(CACHE_MAX, sizeof(struct entry));
	c->ttl_ms = ttl_ms;
	io_random(c->key, sizeof(c->key));
	return c;
}

void
cache_free(struct cache **c)
{
	if (!*c)
		return;
	lru_free(&(*c)->table);
	pthread_mutex_destroy(&(*c)->lock);
	OPENSSL_cleanse((*c)->key, KEY_BYTES);
	MEM_FREE(*c);
}

void
cache_set_ttl(struct cache *c, int64_t ttl_ms)
{
	pthread_mutex_lock(&c->lock);
	c->ttl_ms = ttl_ms;
	pthread_mutex_unlock(&c->lock);
	cache_flush(c, NULL);
}

uint64_t
cache_generation(struct cache *c)
{
	uint64_t generation;

	pthread_mutex_lock(&c->lock);
	generation = c->generation;
	pthread_mutex_unlock(&c->lock);
	return generation;
}

/* The user's name is part of it: the same password of another user has another digest. */
static int
digest_make(const struct cache *c, const char *user, struct str password,
	unsigned char out[DIGEST_BYTES])
{
	struct buf b = {0};
	unsigned int len = DIGEST_BYTES;
	int ok;

	buf_add(&b, user, strlen(user) + 1);
	buf_add_str(&b, password);
	ok = HMAC(EVP_sha256(), c->key, KEY_BYTES, (const unsigned char *)b.p, b.len, out, &len) !=
	     NULL;
	buf_wipe(&b);
	buf_free(&b);
	return ok && len == DIGEST_BYTES;
}

int
cache_find(struct cache *c, const char *user, struct str password, int64_t now_ms,
	struct cache_user *out)
{
	unsigned char digest[DIGEST_BYTES];
	struct entry *e;
	int hit = 0;

	if (!digest_make(c, user, password, digest))
		return 0;
	pthread_mutex_lock(&c->lock);
	e = c->ttl_ms > 0 ? lru_find(c->table, user) : NULL;
	if (e && e->expires_ms > now_ms && CRYPTO_memcmp(e->digest, digest, DIGEST_BYTES) == 0) {
		*out = e->value;
		hit = 1;
	}
	c->hits += hit ? 1 : 0;
	c->misses += hit ? 0 : 1;
	pthread_mutex_unlock(&c->lock);
	OPENSSL_cleanse(digest, sizeof(digest));
	return hit;
}

void
cache_add(struct cache *c, const char *user, struct str password, int64_t now_ms,
	uint64_t generation, const struct cache_user *value)
{
	unsigned char digest[DIGEST_BYTES];

	if (!digest_make(c, user, password, digest))
		return;
	pthread_mutex_lock(&c->lock);
	if (c->ttl_ms > 0 && c->generation == generation) {
		struct entry *e = lru_put(c->table, user);

		memcpy(e->digest, digest, DIGEST_BYTES);
		e->expires_ms = now_ms + c->ttl_ms;
		e->value = *value;
	}
	pthread_mutex_unlock(&c->lock);
	OPENSSL_cleanse(digest, sizeof(digest));
}

static int
is_of_user(const char *key, const void *value, void *arg)
{
	const struct entry *e = value;
	const char *user = arg;

	return strcmp(key, user) == 0 || strcmp(e->value.name, user) == 0;
}

void
cache_flush(struct cache *c, const char *user)
{
	pthread_mutex_lock(&c->lock);
	if (user)
		lru_remove_if(c->table, is_of_user, (void *)(uintptr_t)user);
	else
		lru_clear(c->table);
	c->generation++;
	pthread_mutex_unlock(&c->lock);
}

void
cache_stats(struct cache *c, struct cache_stats *out)
{
	pthread_mutex_lock(&c->lock);
	*out = (struct cache_stats){lru_count(c->table), c->hits, c->misses};
	pthread_mutex_unlock(&c->lock);
}
