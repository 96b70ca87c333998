/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "lib/session_shared.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "lib/log.h"
#include "lib/mem.h"

/* Pages are taken as they are used. */
enum { PIECES = 1 << 16 };

struct session_pool {
	struct session_shared *pieces;
	uint32_t *free; /* indexes given back */
	size_t free_count, free_cap;
	uint32_t used; /* pieces from here on were never given out */
};

struct session_pool *
session_pool_create(void)
{
	struct session_pool *pool = MEM_NEW(struct session_pool);
	void *p = mmap(NULL, PIECES * sizeof(struct session_shared), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	pool->pieces = p == MAP_FAILED ? NULL : p;
	return pool;
}

void
session_pool_free(struct session_pool **pool)
{
	if (!*pool)
		return;
	if ((*pool)->pieces)
		munmap((*pool)->pieces, PIECES * sizeof(struct session_shared));
	free((*pool)->free);
	MEM_FREE(*pool);
}

struct session_shared *
session_pool_get(struct session_pool *pool)
{
	struct session_shared *s;

	if (!pool->pieces || (!pool->free_count && pool->used == PIECES))
		return NULL;
	s = &pool->pieces[pool->free_count ? pool->free[--pool->free_count] : pool->used++];
	session_shared_reset(s);
	return s;
}

void
session_pool_put(struct session_pool *pool, struct session_shared *s)
{
	if (!s)
		return;
	if (pool->free_count == pool->free_cap) {
		pool->free_cap = pool->free_cap ? 2 * pool->free_cap : 64;
		pool->free = mem_realloc(pool->free, pool->free_cap, sizeof(pool->free[0]));
	}
	pool->free[pool->free_count++] = (uint32_t)(s - pool->pieces);
}

void
session_shared_reset(struct session_shared *s)
{
	if (!s)
		return;
	atomic_store(&s->traffic.in, 0);
	atomic_store(&s->traffic.out, 0);
	atomic_store(&s->trace, SESSION_TRACE_OFF);
}

uint64_t
session_shared_in(const struct session_shared *s)
{
	return s ? atomic_load(&s->traffic.in) : 0;
}

uint64_t
session_shared_out(const struct session_shared *s)
{
	return s ? atomic_load(&s->traffic.out) : 0;
}
