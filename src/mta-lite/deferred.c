/* SPDX-License-Identifier: MIT */
#include "mta-lite/deferred.h"

#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"

enum {
	ID_WORDS = 3, /* 23 hex digits and the mark before the first */
	WORD_DIGITS = 8,
	KEEP = DEFERRED_MAX / 2, /* what is left when there is no more room */
};

/* 16 bytes. The id is a number whose highest digit is a 1 that does not belong to it. */
struct entry {
	uint32_t when;
	uint32_t id[ID_WORDS];
};

struct entries {
	struct entry *v;
	size_t n, size;
};

struct deferred {
	struct entries timed; /* a binary heap, the earliest on top */
	struct entries hurried;
	/* Later ones, or equal ones, may be in the directory only. */
	uint32_t horizon;
	int has_horizon;
};

/* ---- ids as numbers ---- */

static void
shift_in(uint32_t id[ID_WORDS], unsigned digit)
{
	size_t i;

	for (i = 0; i + 1 < ID_WORDS; i++)
		id[i] = id[i] << 4 | id[i + 1] >> 28;
	id[i] = id[i] << 4 | digit;
}

static void
pack_id(const char *text, uint32_t id[ID_WORDS])
{
	memset(id, 0, ID_WORDS * sizeof(*id));
	shift_in(id, 1);
	for (; *text; text++)
		shift_in(id, (unsigned)(*text <= '9' ? *text - '0' : *text - 'A' + 10));
}

static void
unpack_id(const uint32_t id[ID_WORDS], char out[QUEUE_ID_SIZE])
{
	static const char digits[] = "0123456789ABCDEF";
	int seen = 0;
	size_t i;

	for (i = 0; i < ID_WORDS * WORD_DIGITS; i++) {
		unsigned shift = 28 - 4 * (unsigned)(i % WORD_DIGITS);
		unsigned digit = id[i / WORD_DIGITS] >> shift & 15;

		if (seen)
			*out++ = digits[digit];
		seen |= digit != 0;
	}
	*out = '\0';
}

/* ---- entries ---- */

static struct entry *
append(struct entries *e)
{
	if (e->n == e->size) {
		/* By halves: the spare room counts. */
		e->size = e->size ? e->size + e->size / 2 : 64;
		e->v = mem_realloc(e->v, e->size, sizeof(*e->v));
	}
	return &e->v[e->n++];
}

static void
clear(struct entries *e)
{
	free(e->v);
	*e = (struct entries){0};
}

static void
swap(struct entries *e, size_t a, size_t b)
{
	struct entry t = e->v[a];

	e->v[a] = e->v[b];
	e->v[b] = t;
}

static void
sift_up(struct entries *e, size_t i)
{
	while (i > 0 && e->v[i].when < e->v[(i - 1) / 2].when) {
		swap(e, i, (i - 1) / 2);
		i = (i - 1) / 2;
	}
}

static void
sift_down(struct entries *e, size_t i)
{
	for (;;) {
		size_t least = i, child = 2 * i + 1;

		if (child < e->n && e->v[child].when < e->v[least].when)
			least = child;
		if (child + 1 < e->n && e->v[child + 1].when < e->v[least].when)
			least = child + 1;
		if (least == i)
			return;
		swap(e, i, least);
		i = least;
	}
}

static int
compare_when(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return x->when < y->when ? -1 : x->when > y->when;
}

/* ---- */

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
	clear(&(*d)->timed);
	clear(&(*d)->hurried);
	MEM_FREE(*d);
}

static void
set_horizon(struct deferred *d, uint32_t when)
{
	d->horizon = when;
	d->has_horizon = 1;
}

/* The later half is left to the directory. */
static void
make_room(struct deferred *d)
{
	struct entries *e = &d->timed;

	qsort(e->v, e->n, sizeof(*e->v), compare_when); /* which is a heap, too */
	set_horizon(d, e->v[KEEP].when);
	e->n = KEEP;
}

void
deferred_add(struct deferred *d, const char *id, int64_t when)
{
	uint32_t time = when > UINT32_MAX ? UINT32_MAX : when > 0 ? (uint32_t)when : 1;
	struct entry *e;

	if (strlen(id) >= QUEUE_ID_SIZE)
		return;
	if (when == DEFERRED_NOW) {
		pack_id(id, append(&d->hurried)->id);
		return;
	}
	if (d->timed.n == DEFERRED_MAX)
		make_room(d);
	if (d->has_horizon && time >= d->horizon)
		return;
	e = append(&d->timed);
	e->when = time;
	pack_id(id, e->id);
	sift_up(&d->timed, d->timed.n - 1);
}

int
deferred_first(const struct deferred *d, int64_t *when)
{
	if (d->hurried.n > 0)
		*when = DEFERRED_NOW;
	else if (d->timed.n > 0)
		*when = d->timed.v[0].when;
	else if (d->has_horizon)
		*when = d->horizon;
	else
		return 0;
	return 1;
}

int
deferred_take(struct deferred *d, char id[QUEUE_ID_SIZE], int64_t *when)
{
	struct entries *e = d->hurried.n > 0 ? &d->hurried : &d->timed;

	if (e->n == 0)
		return 0;
	if (e == &d->hurried) {
		*when = DEFERRED_NOW;
		unpack_id(e->v[--e->n].id, id);
	} else {
		*when = e->v[0].when;
		unpack_id(e->v[0].id, id);
		e->v[0] = e->v[--e->n];
		sift_down(e, 0);
	}
	if (e->n == 0)
		clear(e);
	return 1;
}

int
deferred_wants_directory(const struct deferred *d)
{
	return d->has_horizon && d->timed.n == 0 && d->hurried.n == 0;
}

void
deferred_reread(struct deferred *d)
{
	clear(&d->timed);
	d->has_horizon = 0;
}

void
deferred_reread_at(struct deferred *d, int64_t when)
{
	deferred_reread(d);
	set_horizon(d, when > UINT32_MAX ? UINT32_MAX : (uint32_t)when);
}

void
deferred_hurry_anew(struct deferred *d)
{
	clear(&d->hurried);
}
