/* SPDX-License-Identifier: MIT */
#include "auth/penalty.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "auth/lru.h"
#include "lib/mem.h"

struct count {
	unsigned failures;
	int64_t last_ms;
};

struct penalty {
	struct lru *addresses, *users;
};

struct penalty *
penalty_create(void)
{
	struct penalty *p = MEM_NEW(struct penalty);

	p->addresses = lru_create(PENALTY_MAX, sizeof(struct count));
	p->users = lru_create(PENALTY_MAX, sizeof(struct count));
	return p;
}

void
penalty_free(struct penalty **p)
{
	if (!*p)
		return;
	lru_free(&(*p)->addresses);
	lru_free(&(*p)->users);
	MEM_FREE(*p);
}

/* The key of an address; NULL when it is not counted. */
static const char *
address_key(const struct net_addr *addr, char text[NET_ADDR_TEXT])
{
	struct net_addr masked;

	if (!addr || addr->len == 0 || net_addr_is_loopback(addr))
		return NULL;
	masked = *addr;
	if (addr->sa.ss_family == AF_INET6) {
		struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)&masked.sa;

		if (!IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr))
			memset(&sin6->sin6_addr.s6_addr[8], 0, 8);
	}
	net_addr_format_ip(&masked, text);
	return text;
}

static int64_t
count_failure(struct lru *table, const char *key, int64_t now_ms, int64_t max_ms)
{
	struct count *c = lru_put(table, key);
	int64_t delay = PENALTY_FIRST_MS;

	if (c->failures > 0 && now_ms - c->last_ms > PENALTY_FORGET_MS)
		c->failures = 0;
	if (c->failures < UINT16_MAX)
		c->failures++;
	c->last_ms = now_ms;
	for (unsigned i = 1; i < c->failures && delay < max_ms; i++)
		delay *= 2;
	return delay < max_ms ? delay : max_ms;
}

int64_t
penalty_failure(struct penalty *p, const struct net_addr *addr, const char *user, int64_t now_ms,
	int64_t max_ms)
{
	char text[NET_ADDR_TEXT];
	const char *key = address_key(addr, text);
	int64_t by_address = key ? count_failure(p->addresses, key, now_ms, max_ms) : 0;
	int64_t by_user = user && user[0] ? count_failure(p->users, user, now_ms, max_ms) : 0;

	return by_address > by_user ? by_address : by_user;
}

void
penalty_success(struct penalty *p, const struct net_addr *addr, const char *user)
{
	char text[NET_ADDR_TEXT];
	const char *key = address_key(addr, text);
	struct count *c = key ? lru_find(p->addresses, key) : NULL;

	if (c) {
		c->failures /= 2;
		if (c->failures == 0)
			lru_remove(p->addresses, key);
	}
	if (user)
		lru_remove(p->users, user);
}

void
penalty_flush(struct penalty *p, const char *user)
{
	if (user) {
		lru_remove(p->users, user);
		return;
	}
	lru_clear(p->users);
	lru_clear(p->addresses);
}

void
penalty_counts(const struct penalty *p, size_t *addresses, size_t *users)
{
	*addresses = lru_count(p->addresses);
	*users = lru_count(p->users);
}
