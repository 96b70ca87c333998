/* SPDX-License-Identifier: MIT */
#include "auth/penalty.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/lru.h"
#include "lib/buf.h"
#include "lib/mem.h"

#define KNOWN_MS (INT64_C(30) * 24 * 3600 * 1000)

struct count {
	unsigned failures;
	int64_t last_ms;
	/* Of a user: the last wrong passwords. */
	struct siphash wrong[PENALTY_WRONG_MAX];
	unsigned wrong_count; /* ever; the ring's next place */
};

struct penalty {
	struct lru *addresses, *users;
	struct lru *known; /* int64_t: when "address user" last logged in */
	struct siphash_key key;
};

struct penalty *
penalty_create(void)
{
	struct penalty *p = MEM_NEW(struct penalty);

	p->addresses = lru_create(PENALTY_MAX, sizeof(struct count));
	p->users = lru_create(PENALTY_MAX, sizeof(struct count));
	p->known = lru_create(PENALTY_MAX, sizeof(int64_t));
	p->key = siphash_key_random();
	return p;
}

void
penalty_free(struct penalty **p)
{
	if (!*p)
		return;
	lru_free(&(*p)->addresses);
	lru_free(&(*p)->users);
	lru_free(&(*p)->known);
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

static int
is_forgotten(const struct count *c, int64_t now_ms)
{
	return now_ms - c->last_ms > PENALTY_FORGET_MS;
}

static int64_t
delay_of(unsigned failures, int64_t max_ms)
{
	int64_t delay = PENALTY_FIRST_MS;

	for (unsigned i = 1; i < failures && delay < max_ms; i++)
		delay *= 2;
	return delay < max_ms ? delay : max_ms;
}

static struct count *
count_failure(struct lru *table, const char *key, int64_t now_ms)
{
	struct count *c = lru_put(table, key);

	if (c->failures > 0 && is_forgotten(c, now_ms))
		memset(c, 0, sizeof(*c));
	if (c->failures < UINT16_MAX)
		c->failures++;
	c->last_ms = now_ms;
	return c;
}

struct siphash
penalty_wrong(const struct penalty *p, const char *user, struct str password)
{
	struct buf text = {0};
	struct siphash h;

	(void)buf_add(&text, user, strlen(user) + 1);
	(void)buf_add_str(&text, password);
	h = siphash_128(&p->key, buf_str(&text));
	buf_wipe(&text);
	buf_free(&text);
	return h;
}

static int
was_tried(const struct count *c, const struct siphash *wrong)
{
	for (unsigned i = 0; i < c->wrong_count && i < PENALTY_WRONG_MAX; i++)
		if (siphash_equal(c->wrong[i], *wrong))
			return 1;
	return 0;
}

int64_t
penalty_failure(struct penalty *p, const struct net_addr *addr, const char *user,
	const struct siphash *wrong, int64_t now_ms, int64_t max_ms)
{
	char text[NET_ADDR_TEXT];
	const char *key = address_key(addr, text);
	char of_token[2 * 16 + 1];
	struct count *c;
	int64_t by_address = 0, by_user = 0;

	/* A bad token names nobody; it counts once all the same. */
	if (wrong && user && !user[0]) {
		snprintf(of_token, sizeof(of_token), "%016" PRIx64 "%016" PRIx64, wrong->a,
			wrong->b);
		user = of_token;
	}
	c = user && user[0] ? lru_find(p->users, user) : NULL;
	if (c && wrong && !is_forgotten(c, now_ms) && was_tried(c, wrong)) {
		c->last_ms = now_ms;
		return delay_of(1, max_ms);
	}
	if (key)
		by_address = delay_of(count_failure(p->addresses, key, now_ms)->failures, max_ms);
	if (user && user[0]) {
		c = count_failure(p->users, user, now_ms);
		by_user = delay_of(c->failures, max_ms);
		if (wrong)
			c->wrong[c->wrong_count++ % PENALTY_WRONG_MAX] = *wrong;
	}
	return by_address > by_user ? by_address : by_user;
}

static char *
known_key(const char *address, const char *user)
{
	return mem_printf("%s %s", address, user);
}

void
penalty_success(struct penalty *p, const struct net_addr *addr, const char *user, int64_t now_ms)
{
	char text[NET_ADDR_TEXT];
	const char *key = address_key(addr, text);
	struct count *c = key ? lru_find(p->addresses, key) : NULL;

	if (c) {
		c->failures /= 2;
		if (c->failures == 0)
			lru_remove(p->addresses, key);
	}
	/* His old passwords may go on being tried by what he has forgotten. */
	c = user ? lru_find(p->users, user) : NULL;
	if (c && c->wrong_count == 0)
		lru_remove(p->users, user);
	else if (c)
		c->failures = 0;
	if (key && user && user[0]) {
		char *pair = known_key(key, user);

		*(int64_t *)lru_put(p->known, pair) = now_ms;
		free(pair);
	}
}

int64_t
penalty_hold(struct penalty *p, const struct net_addr *addr, const char *user, int64_t now_ms,
	int64_t max_ms)
{
	char text[NET_ADDR_TEXT];
	const char *key = address_key(addr, text);
	const struct count *c = key ? lru_find(p->addresses, key) : NULL;
	const int64_t *known = NULL;

	if (!c || c->failures < PENALTY_HOLD_AFTER || is_forgotten(c, now_ms))
		return 0;
	if (user && user[0]) {
		char *pair = known_key(key, user);

		known = lru_find(p->known, pair);
		free(pair);
	}
	return known && now_ms - *known < KNOWN_MS ? 0 : delay_of(c->failures, max_ms);
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
	lru_clear(p->known);
}

void
penalty_counts(const struct penalty *p, size_t *addresses, size_t *users)
{
	*addresses = lru_count(p->addresses);
	*users = lru_count(p->users);
}
