/* SPDX-License-Identifier: MIT */
#include "mail/mime_private.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"

enum { CHUNK_SIZE = 8192 - 64 };

struct chunk {
	struct chunk *next;
	size_t used, size;
	alignas(max_align_t) char bytes[];
};

struct mime_arena {
	struct chunk *first;
};

struct mime_arena *
mime_arena_create(void)
{
	return MEM_NEW(struct mime_arena);
}

void
mime_arena_free(struct mime_arena **a)
{
	struct chunk *c, *next;

	if (!*a)
		return;
	for (c = (*a)->first; c; c = next) {
		next = c->next;
		free(c);
	}
	MEM_FREE(*a);
}

static struct chunk *
chunk_create(size_t size)
{
	struct chunk *c = mem_alloc(sizeof(*c) + size);

	c->next = NULL;
	c->used = 0;
	c->size = size;
	return c;
}

void *
mime_arena_alloc(struct mime_arena *a, size_t size)
{
	const size_t align = alignof(max_align_t);
	struct chunk *c = a->first;
	void *p;

	size = (size + align - 1) / align * align;
	if (size > CHUNK_SIZE / 4) {
		/* A large piece has a chunk of its own, behind the one that is being filled. */
		struct chunk *own = chunk_create(size);

		own->used = size;
		if (c) {
			own->next = c->next;
			c->next = own;
		} else {
			a->first = own;
		}
		return memset(own->bytes, 0, size);
	}
	if (!c || size > c->size - c->used) {
		c = chunk_create(CHUNK_SIZE);
		c->next = a->first;
		a->first = c;
	}
	p = c->bytes + c->used;
	c->used += size;
	return memset(p, 0, size);
}

struct str
mime_arena_dup(struct mime_arena *a, struct str s)
{
	char *p = mime_arena_alloc(a, s.len + 1);

	if (s.len)
		memcpy(p, s.p, s.len);
	return str_make(p, s.len);
}
