/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_CACHE_H
#define ROOST_AUTH_CACHE_H

#include <stdint.h>

#include "auth/acl_groups.h"
#include "auth/addr.h"
#include "lib/quota_rules.h"
#include "lib/str.h"

/*
 * Remembers successful verifications, so that a client that logs in every minute does not cost a
 * slow hash each time. It holds HMAC-SHA-256(own random key, user NUL password), never a
 * password. For several threads.
 */
struct cache;

/* What a log-in needs of a user. */
struct cache_user {
	char name[ADDR_TEXT_SIZE]; /* canonical */
	uint64_t quota_bytes, quota_messages;
	uint32_t max_connections, max_connections_per_ip; /* 0: no limit */
	char quota_rules[QUOTA_RULES_USER_MAX + 1];
	char acl_groups[ACL_GROUPS_MAX + 1];
};

enum { CACHE_MAX = 100000 };

struct cache *cache_create(int64_t ttl_ms);
void cache_free(struct cache **c);
/* 0: nothing is remembered from now on, and what there is goes. */
void cache_set_ttl(struct cache *c, int64_t ttl_ms);
/*
 * To be read before the directory is asked and given to cache_add with the answer: what was read
 * before an invalidation is not remembered after it.
 */
uint64_t cache_generation(struct cache *c);
/* user: the name as it was typed, normalised. 1: this password was good; *out is what was stored.
 */
int cache_find(struct cache *c, const char *user, struct str password, int64_t now_ms,
	struct cache_user *out);
void cache_add(struct cache *c, const char *user, struct str password, int64_t now_ms,
	uint64_t generation, const struct cache_user *value);
/* Forgets one user, under whatever name the log-in came (domain aliases); with NULL everybody. */
void cache_flush(struct cache *c, const char *user);
struct cache_stats {
	uint64_t entries, hits, misses;
};
void cache_stats(struct cache *c, struct cache_stats *out);

#endif
