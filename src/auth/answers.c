/* SPDX-License-Identifier: MIT */
#include "auth/answers.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "auth/lru.h"
#include "lib/mem.h"

/* What an entry takes beside its two texts: the table's part, the allocator's. */
enum { ENTRY_BYTES = 192 };

struct entry {
	char *text;
	size_t len, cost;
	int64_t expires_ms;
};

struct answers {
	pthread_mutex_t lock;
	struct lru *table;
	int64_t ttl_ms;
	size_t bytes_max, bytes;
	uint64_t generation;
};

static void
entry_drop(void *value)
{
	struct entry *e = value;

	free(e->text);
}

static struct lru *
table_create(void)
{
	struct lru *t = lru_create(SIZE_MAX, sizeof(struct entry));

	lru_on_drop(t, entry_drop);
	return t;
}

struct answers *
answers_create(int64_t ttl_ms, size_t bytes_max)
{
	struct answers *a = MEM_NEW(struct answers);

	pthread_mutex_init(&a->lock, NULL);
	a->table = table_create();
	a->ttl_ms = ttl_ms;
	a->bytes_max = bytes_max;
	return a;
}

void
answers_free(struct answers **a)
{
	if (!*a)
		return;
	lru_free(&(*a)->table);
	pthread_mutex_destroy(&(*a)->lock);
	MEM_FREE(*a);
}

/* Under the lock. The old table, which is freed without it: others are not to wait for that. */
static struct lru *
take_table(struct answers *a)
{
	struct lru *old = a->table;

	a->table = table_create();
	a->bytes = 0;
	a->generation++;
	return old;
}

void
answers_set_limits(struct answers *a, int64_t ttl_ms, size_t bytes_max)
{
	struct lru *old;

	pthread_mutex_lock(&a->lock);
	a->ttl_ms = ttl_ms;
	a->bytes_max = bytes_max;
	old = take_table(a);
	pthread_mutex_unlock(&a->lock);
	lru_free(&old);
}

void
answers_forget(struct answers *a)
{
	struct lru *old;

	pthread_mutex_lock(&a->lock);
	old = take_table(a);
	pthread_mutex_unlock(&a->lock);
	lru_free(&old);
}

uint64_t
answers_generation(struct answers *a)
{
	uint64_t generation;

	pthread_mutex_lock(&a->lock);
	generation = a->generation;
	pthread_mutex_unlock(&a->lock);
	return generation;
}

int
answers_find(struct answers *a, const char *question, int64_t now_ms, struct buf *out)
{
	const struct entry *e;
	int found;

	pthread_mutex_lock(&a->lock);
	e = lru_find(a->table, question);
	found = e && e->expires_ms > now_ms;
	if (found)
		(void)buf_add(out, e->text, e->len);
	pthread_mutex_unlock(&a->lock);
	return found;
}

/* Under the lock. */
static void
drop(struct answers *a, const char *question, const struct entry *e)
{
	a->bytes -= e->cost;
	lru_remove(a->table, question);
}

static void
make_room(struct answers *a, size_t cost)
{
	const struct entry *e;
	const char *oldest;

	while (a->bytes > a->bytes_max - cost && (e = lru_oldest(a->table, &oldest)))
		drop(a, oldest, e);
}

void
answers_add(struct answers *a, const char *question, int64_t now_ms, uint64_t generation,
	struct str answer)
{
	size_t cost = ENTRY_BYTES + strlen(question) + answer.len;
	struct entry *e;

	pthread_mutex_lock(&a->lock);
	if (a->ttl_ms > 0 && cost <= a->bytes_max / ANSWERS_LARGEST_PART &&
		a->generation == generation) {
		e = lru_find(a->table, question);
		if (e)
			drop(a, question, e);
		make_room(a, cost);
		e = lru_put(a->table, question);
		*e = (struct entry){mem_alloc(answer.len), answer.len, cost, now_ms + a->ttl_ms};
		memcpy(e->text, answer.p, answer.len);
		a->bytes += cost;
	}
	pthread_mutex_unlock(&a->lock);
}

void
answers_stats(struct answers *a, struct answers_stats *out)
{
	pthread_mutex_lock(&a->lock);
	*out = (struct answers_stats){lru_count(a->table), a->bytes};
	pthread_mutex_unlock(&a->lock);
}
