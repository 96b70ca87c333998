/* SPDX-License-Identifier: MIT */
#include "auth/lru.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "lib/io.h"
#include "lib/mem.h"

struct entry {
	struct entry *chain; /* next in its bucket */
	struct entry *newer, *older; /* in order of use */
	uint64_t hash;
	char *key;
	_Alignas(max_align_t) unsigned char value[];
};

struct lru {
	struct entry **buckets;
	struct entry *newest, *oldest;
	size_t bucket_count, count, max, value_size;
	uint64_t seed;
	void (*drop)(void *value);
};

enum { BUCKETS_FIRST = 64 };

/* FNV-1a from a random start, so that nobody outside can aim at one bucket. */
static uint64_t
hash_of(const struct lru *t, const char *key)
{
	uint64_t h = t->seed;

	for (; *key; key++)
		h = (h ^ (unsigned char)*key) * UINT64_C(1099511628211);
	return h ^ h >> 29;
}

struct lru *
lru_create(size_t max, size_t value_size)
{
	struct lru *t = MEM_NEW(struct lru);

	t->max = max;
	t->value_size = value_size;
	t->bucket_count = BUCKETS_FIRST;
	t->buckets = mem_zalloc(t->bucket_count * sizeof(struct entry *));
	io_random(&t->seed, sizeof(t->seed));
	return t;
}

void
lru_free(struct lru **t)
{
	if (!*t)
		return;
	lru_clear(*t);
	free((*t)->buckets);
	MEM_FREE(*t);
}

void
lru_on_drop(struct lru *t, void (*drop)(void *value))
{
	t->drop = drop;
}

static struct entry **
slot_of(struct lru *t, uint64_t hash, const char *key)
{
	struct entry **slot = &t->buckets[hash & (t->bucket_count - 1)];

	while (*slot && ((*slot)->hash != hash || strcmp((*slot)->key, key) != 0))
		slot = &(*slot)->chain;
	return slot;
}

static void
unlink_use(struct lru *t, struct entry *e)
{
	*(e->newer ? &e->newer->older : &t->newest) = e->older;
	*(e->older ? &e->older->newer : &t->oldest) = e->newer;
}

static void
link_newest(struct lru *t, struct entry *e)
{
	e->newer = NULL;
	e->older = t->newest;
	*(t->newest ? &t->newest->newer : &t->oldest) = e;
	t->newest = e;
}

static void
grow(struct lru *t)
{
	t->bucket_count *= 2;
	free(t->buckets);
	t->buckets = mem_zalloc(t->bucket_count * sizeof(struct entry *));
	for (struct entry *e = t->newest; e; e = e->older) {
		struct entry **slot = &t->buckets[e->hash & (t->bucket_count - 1)];

		e->chain = *slot;
		*slot = e;
	}
}

void *
lru_find(struct lru *t, const char *key)
{
	struct entry *e = *slot_of(t, hash_of(t, key), key);

	if (!e)
		return NULL;
	unlink_use(t, e);
	link_newest(t, e);
	return e->value;
}

void *
lru_put(struct lru *t, const char *key)
{
	void *value = lru_find(t, key);
	struct entry *e, **slot;

	if (value)
		return value;
	if (t->count == t->max)
		lru_remove(t, t->oldest->key);
	if (t->count >= t->bucket_count)
		grow(t);
	e = mem_zalloc(sizeof(*e) + t->value_size);
	e->hash = hash_of(t, key);
	e->key = mem_strdup(key);
	slot = slot_of(t, e->hash, key);
	e->chain = *slot;
	*slot = e;
	link_newest(t, e);
	t->count++;
	return e->value;
}

int
lru_remove(struct lru *t, const char *key)
{
	struct entry **slot = slot_of(t, hash_of(t, key), key);
	struct entry *e = *slot;

	if (!e)
		return 0;
	*slot = e->chain;
	unlink_use(t, e);
	if (t->drop)
		t->drop(e->value);
	OPENSSL_cleanse(e->value, t->value_size);
	free(e->key);
	free(e);
	t->count--;
	return 1;
}

size_t
lru_remove_if(struct lru *t, int (*match)(const char *key, const void *value, void *arg), void *arg)
{
	size_t removed = 0;

	for (struct entry *e = t->oldest, *newer; e; e = newer) {
		newer = e->newer;
		if (match(e->key, e->value, arg))
			removed += (size_t)lru_remove(t, e->key);
	}
	return removed;
}

void
lru_clear(struct lru *t)
{
	while (t->oldest)
		lru_remove(t, t->oldest->key);
}

size_t
lru_count(const struct lru *t)
{
	return t->count;
}

void *
lru_oldest(struct lru *t, const char **key)
{
	if (!t->oldest)
		return NULL;
	*key = t->oldest->key;
	return t->oldest->value;
}
