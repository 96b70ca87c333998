/* SPDX-License-Identifier: MIT */
#include "mta-lite/deferred.h"

#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"

/* A binary heap, the earliest on top. 32 bytes a message. */
struct entry {
	int64_t when;
	char id[QUEUE_ID_SIZE];
};

struct deferred {
	struct entry *v;
	size_t n, size;
};

struct deferred *
deferred_create(void)
{
	return MEM_NEW(struct deferred);
}

void
deferred_free(struct deferred **d)
{
	if (*d == NULL)
		return;
	free((*d)->v);
	MEM_FREE(*d);
}

static void
swap(struct deferred *d, size_t a, size_t b)
{
	struct entry t = d->v[a];

	d->v[a] = d->v[b];
	d->v[b] = t;
}

static void
sift_up(struct deferred *d, size_t i)
{
	while (i > 0 && d->v[i].when < d->v[(i - 1) / 2].when) {
		swap(d, i, (i - 1) / 2);
		i = (i - 1) / 2;
	}
}

static void
sift_down(struct deferred *d, size_t i)
{
	for (;;) {
		size_t least = i, child = 2 * i + 1;

		if (child < d->n && d->v[child].when < d->v[least].when)
			least = child;
		if (child + 1 < d->n && d->v[child + 1].when < d->v[least].when)
			least = child + 1;
		if (least == i)
			return;
		swap(d, i, least);
		i = least;
	}
}

void
deferred_add(struct deferred *d, const char *id, int64_t when)
{
	size_t len = strlen(id);

	if (len >= QUEUE_ID_SIZE)
		return;
	if (d->n == d->size) {
		/* By halves: of 100,000 messages the spare room counts. */
		d->size = d->size ? d->size + d->size / 2 : 64;
		d->v = mem_realloc(d->v, d->size, sizeof(*d->v));
	}
	memset(&d->v[d->n], 0, sizeof(*d->v));
	d->v[d->n].when = when;
	memcpy(d->v[d->n].id, id, len);
	sift_up(d, d->n++);
}

int
deferred_first(const struct deferred *d, int64_t *when)
{
	if (d->n == 0)
		return 0;
	*when = d->v[0].when;
	return 1;
}

int
deferred_take(struct deferred *d, char id[QUEUE_ID_SIZE], int64_t *when)
{
	if (d->n == 0)
		return 0;
	memcpy(id, d->v[0].id, QUEUE_ID_SIZE);
	*when = d->v[0].when;
	d->v[0] = d->v[--d->n];
	sift_down(d, 0);
	if (d->n == 0) {
		free(d->v);
		d->v = NULL;
		d->size = 0;
	}
	return 1;
}

void
deferred_hurry(struct deferred *d)
{
	size_t i;

	/* With equal keys any order is a heap. */
	for (i = 0; i < d->n; i++)
		d->v[i].when = DEFERRED_NOW;
}

size_t
deferred_count(const struct deferred *d)
{
	return d->n;
}
