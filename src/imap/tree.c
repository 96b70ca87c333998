/* SPDX-License-Identifier: MIT */
#include "imap/tree.h"

#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "mail/mutf7.h"
#include "mail/rights.h"

void
imap_tree_free(struct imap_tree *t)
{
	for (size_t i = 0; i < t->n; i++) {
		free(t->v[i].name);
		free(t->v[i].wire);
	}
	free(t->v);
	*t = (struct imap_tree){0};
}

/* m NULL: a subscribed name. */
void
imap_tree_add(struct imap_tree *t, struct str name, const struct index_mailbox *m)
{
	struct imap_tree_entry *e;

	if (t->n == t->cap) {
		t->cap = t->cap ? t->cap * 2 : 64;
		t->v = mem_realloc(t->v, t->cap, sizeof(*t->v));
	}
	e = &t->v[t->n++];
	*e = (struct imap_tree_entry){.name = str_dup(name)};
	if (m) {
		e->exists = 1;
		e->id = m->id;
		e->special_use = m->special_use;
	} else {
		e->subscribed = 1;
	}
}

/* "/" sorts before all else, so that a parent is followed by its children. */
static int
name_compare(const char *a, const char *b)
{
	for (;; a++, b++) {
		int x = (unsigned char)*a, y = (unsigned char)*b;

		if (x == y && x == '\0')
			return 0;
		if (x == y)
			continue;
		if (x == '\0' || y == '\0')
			return x - y;
		if (x == '/')
			return -1;
		if (y == '/')
			return 1;
		return x - y;
	}
}

static int
entry_compare(const void *a, const void *b)
{
	const struct imap_tree_entry *x = a, *y = b;

	return name_compare(x->name, y->name);
}

static void
sort_and_join(struct imap_tree *t)
{
	size_t n = 0;

	if (t->n == 0)
		return;
	qsort(t->v, t->n, sizeof(*t->v), entry_compare);
	for (size_t i = 0; i < t->n; i++) {
		struct imap_tree_entry *e = &t->v[i], *last = n > 0 ? &t->v[n - 1] : NULL;

		if (!last || strcmp(last->name, e->name) != 0) {
			t->v[n++] = *e;
			continue;
		}
		last->subscribed |= e->subscribed;
		if (e->exists) {
			last->exists = 1;
			last->id = e->id;
			last->special_use = e->special_use;
		}
		free(e->name);
	}
	t->n = n;
}

/* Whether name lies below parent, which has len bytes. */
static int
is_below(const char *name, const char *parent, size_t len)
{
	return strncmp(name, parent, len) == 0 && name[len] == '/';
}

static void
parents_add(struct imap_tree *t)
{
	size_t n = t->n;

	for (size_t i = 0; i < n; i++) {
		const char *slash = t->v[i].name;

		while ((slash = strchr(slash, '/')) != NULL) {
			size_t len = (size_t)(slash - t->v[i].name);

			/* Most parents stand in front of their child or its sister. */
			slash++;
			if (len == 0 || (i > 0 && is_below(t->v[i - 1].name, t->v[i].name, len)) ||
				(i > 0 && strlen(t->v[i - 1].name) == len &&
					strncmp(t->v[i - 1].name, t->v[i].name, len) == 0))
				continue;
			imap_tree_add(t, str_make(t->v[i].name, len), NULL);
			t->v[t->n - 1].subscribed = 0;
		}
	}
}

/* Leaves on the stack of entries those that entry i lies below. */
static size_t
stack_pop(const struct imap_tree *t, const size_t *stack, size_t depth, size_t i)
{
	while (depth > 0) {
		const char *parent = t->v[stack[depth - 1]].name;

		if (is_below(t->v[i].name, parent, strlen(parent)))
			break;
		depth--;
	}
	return depth;
}

static size_t *
stack_create(const struct imap_tree *t)
{
	return mem_alloc((t->n + 1) * sizeof(size_t));
}

void
imap_tree_finish(struct imap_tree *t)
{
	size_t *stack, depth = 0;

	sort_and_join(t);
	parents_add(t);
	sort_and_join(t);
	stack = stack_create(t);
	for (size_t i = 0; i < t->n; i++) {
		struct buf wire = BUF_INIT(0);

		if (mutf7_from_utf8(str_of(t->v[i].name), &wire))
			(void)buf_add_cstr(&wire, t->v[i].name);
		free(t->v[i].wire);
		t->v[i].wire = buf_steal(&wire);
		depth = stack_pop(t, stack, depth, i);
		for (size_t k = 0; k < depth && t->v[i].exists; k++)
			t->v[stack[k]].has_children = 1;
		stack[depth++] = i;
	}
	free(stack);
}

void
imap_tree_mark_parents(struct imap_tree *t)
{
	size_t *stack = stack_create(t), depth = 0;

	for (size_t i = 0; i < t->n; i++) {
		struct imap_tree_entry *e = &t->v[i];

		depth = stack_pop(t, stack, depth, i);
		for (size_t k = 0; k < depth && e->selected; k++) {
			t->v[stack[k]].selected_below = 1;
			t->v[stack[k]].selected_unmatched_below |= !e->matches;
		}
		stack[depth++] = i;
	}
	free(stack);
}

struct loading {
	struct index_user *u;
	struct imap_tree *tree;
};

/* Another's mailbox is listed to whom he has given "l" (RFC 4314 section 4, LIST). */
static enum err
mailbox_add(const struct index_mailbox *m, void *arg)
{
	const struct loading *l = arg;
	const char *owner;
	unsigned rights;

	if (index_mailbox_is_shared(m->id) &&
		(index_guest_rights(l->u, m->id, &owner, &rights) || !(rights & RIGHT_LOOKUP)))
		return OK;
	imap_tree_add(l->tree, str_of(m->name), m);
	return OK;
}

static enum err
subscription_add(struct str name, void *arg)
{
	imap_tree_add(arg, name, NULL);
	return OK;
}

enum err
imap_tree_load(struct index_user *u, int with_subscriptions, struct imap_tree *out)
{
	struct loading l = {u, out};
	enum err e;

	/* If the service is away, what is known already is listed all the same. */
	(void)index_refresh_tree(u);
	e = index_mailbox_each(u, mailbox_add, &l);
	if (!e && with_subscriptions)
		e = index_subscription_each(u, subscription_add, out);
	if (!e)
		imap_tree_finish(out);
	return e;
}
