/* SPDX-License-Identifier: MIT */
#include "index/adopt.h"

#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"

void
adopt_list_free(struct adopt_list *l)
{
	free(l->lines);
	memset(l, 0, sizeof(*l));
}

/* The info part goes; another colon belongs to the name. */
static enum err
split_name(struct str name, struct str *base, struct str *unique)
{
	struct maildir_name n;
	struct str rest;

	if (maildir_name_parse(name, &n))
		return E_RANGE;
	*base = n.has_info ? n.base : name;
	rest = *base;
	*unique = str_split(&rest, ',');
	return unique->len ? OK : E_RANGE;
}

enum err
adopt_list_add(struct adopt_list *l, uint32_t uid, struct str name)
{
	struct adopt_line *line;
	struct str base, unique;

	/* Even if the line is not used: the UID was given. */
	if (uid <= ADOPT_UID_MAX && uid >= l->next_uid)
		l->next_uid = uid + 1;
	if (uid == 0 || uid > ADOPT_UID_MAX || split_name(name, &base, &unique)) {
		l->bad++;
		return E_RANGE;
	}
	if (l->count == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 64;
		l->lines = mem_realloc(l->lines, l->cap, sizeof(*l->lines));
	}
	line = &l->lines[l->count++];
	*line = (struct adopt_line){.base = base,
		.unique = unique,
		.uid = uid,
		.size = UINT64_MAX,
		.crlf_size = UINT64_MAX};
	return OK;
}

static int
compare_names(const void *a, const void *b)
{
	const struct adopt_line *x = a, *y = b;
	int order = str_compare(x->unique, y->unique);

	if (order == 0)
		order = str_compare(x->base, y->base);
	if (order == 0)
		order = x->uid < y->uid ? -1 : x->uid > y->uid;
	return order;
}

static int
compare_uids(const void *a, const void *b)
{
	const struct adopt_line *x = a, *y = b;

	if (x->uid != y->uid)
		return x->uid < y->uid ? -1 : 1;
	return compare_names(a, b);
}

void
adopt_list_finish(struct adopt_list *l)
{
	size_t n = 0;

	if (l->count == 0)
		return;
	qsort(l->lines, l->count, sizeof(*l->lines), compare_uids);
	for (size_t i = 0; i < l->count; i++) {
		if (n && l->lines[n - 1].uid == l->lines[i].uid)
			l->bad += !str_equal(l->lines[n - 1].base, l->lines[i].base);
		else
			l->lines[n++] = l->lines[i];
	}
	l->count = n;
	qsort(l->lines, l->count, sizeof(*l->lines), compare_names);
	n = 0;
	for (size_t i = 0; i < l->count; i++) {
		if (n && str_equal(l->lines[n - 1].base, l->lines[i].base))
			l->lines[n - 1] = l->lines[i];
		else
			l->lines[n++] = l->lines[i];
	}
	l->count = n;
}

/* The first line that is not below unique. */
static size_t
lower_bound(const struct adopt_list *l, struct str unique)
{
	size_t low = 0, high = l->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (str_compare(l->lines[mid].unique, unique) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct adopt_line *
adopt_list_find(struct adopt_list *l, struct str name, uint32_t uid)
{
	struct adopt_line *best = NULL;
	struct str base, unique;
	int best_likeness = 0;

	if (split_name(name, &base, &unique))
		return NULL;
	for (size_t i = lower_bound(l, unique);
		i < l->count && str_equal(l->lines[i].unique, unique); i++) {
		struct adopt_line *line = &l->lines[i];
		/* With U= in its name it may have been renamed by us, before a crash. */
		int like = str_equal(line->base, base) ? 3 : line->uid == uid ? 2 : 1;

		if (!line->taken && like > best_likeness) {
			best = line;
			best_likeness = like;
		}
	}
	return best;
}
