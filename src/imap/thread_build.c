/* SPDX-License-Identifier: MIT */
#include "imap/thread_build.h"

#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "lib/siphash.h"
#include "mail/cache.h"

/*
 * Nodes are messages and, with number 0, dummies: ids that are named and not there. Node 0 is the
 * root. Links are places in the array. While messages are added only parents are kept; the lists of
 * children are made at the end, when parents do not change any more.
 */
struct node {
	uint32_t parent; /* 0: none */
	uint32_t child, next; /* lists, made by gather_children */
	uint32_t number;
	uint32_t children; /* how many have it as their parent */
	int is_reply;
	int64_t date;
	union {
		struct siphash subject; /* zeros: empty */
		int64_t arrival; /* THREAD_REFS, which does not look at subjects */
	};
};

struct slot {
	struct siphash key;
	uint32_t node; /* 0: free */
};

/* From 128-bit keys to nodes: open addressing, at most half full. */
struct table {
	struct slot *v;
	size_t size, used;
};

struct thread_builder {
	enum thread_algorithm algorithm;
	struct siphash_key key;
	struct table ids;
	struct node *v;
	size_t n, cap;
	size_t messages;
	uint32_t *sorted; /* scratch for a set of siblings */
	size_t sorted_cap;
};

/* ---- tables ---- */

static struct slot *
table_slot(const struct table *t, struct siphash key)
{
	size_t i = (size_t)key.a & (t->size - 1);

	while (t->v[i].node && !siphash_equal(t->v[i].key, key))
		i = (i + 1) & (t->size - 1);
	return &t->v[i];
}

static void
table_grow(struct table *t)
{
	struct table old = *t;

	t->size = old.size ? old.size * 2 : 1024;
	t->v = mem_zalloc(t->size * sizeof(*t->v));
	for (size_t i = 0; i < old.size; i++)
		if (old.v[i].node)
			*table_slot(t, old.v[i].key) = old.v[i];
	free(old.v);
}

/* Its slot; with node 0 if it is new: the caller fills that in. */
static struct slot *
table_take(struct table *t, struct siphash key)
{
	struct slot *slot;

	if (2 * (t->used + 1) > t->size)
		table_grow(t);
	slot = table_slot(t, key);
	if (!slot->node) {
		slot->key = key;
		t->used++;
	}
	return slot;
}

/* ---- nodes ---- */

static uint32_t
node_add(struct thread_builder *b)
{
	if (b->n == b->cap) {
		b->cap = b->cap ? 2 * b->cap : 1024;
		b->v = mem_realloc(b->v, b->cap, sizeof(*b->v));
	}
	b->v[b->n] = (struct node){0};
	return (uint32_t)b->n++;
}

struct thread_builder *
thread_builder_create(enum thread_algorithm algorithm)
{
	struct thread_builder *b = MEM_NEW(struct thread_builder);

	b->algorithm = algorithm;
	b->key = siphash_key_random();
	node_add(b); /* the root */
	return b;
}

void
thread_builder_free(struct thread_builder **b)
{
	if (!*b)
		return;
	free((*b)->ids.v);
	free((*b)->v);
	free((*b)->sorted);
	MEM_FREE(*b);
}

/* The node of an id: a message's, or a dummy, made if need be. */
static uint32_t
node_of_id(struct thread_builder *b, struct str id)
{
	struct slot *slot = table_take(&b->ids, siphash_128(&b->key, id));

	if (!slot->node)
		slot->node = node_add(b);
	return slot->node;
}

/* Whether above is below's ancestor or below itself, or it would take too long to know. */
static int
would_loop(const struct thread_builder *b, uint32_t above, uint32_t below)
{
	if (above == below)
		return 1;
	/* What has no children is nobody's ancestor: mostly that is all. */
	if (b->v[above].children == 0)
		return 0;
	for (unsigned depth = 0; below; depth++) {
		if (below == above || depth == THREAD_DEPTH_MAX)
			return 1;
		below = b->v[below].parent;
	}
	return 0;
}

static void
set_parent(struct thread_builder *b, uint32_t child, uint32_t parent)
{
	struct node *c = &b->v[child];

	if (c->parent)
		b->v[c->parent].children--;
	c->parent = parent;
	if (parent)
		b->v[parent].children++;
}

/* ---- step 1: links between messages ---- */

/* (A): each reference is the parent of the next. Returns the last one, 0 if there is none. */
static enum err
link_references(struct thread_builder *b, struct str references, uint32_t *last)
{
	struct str id;

	*last = 0;
	while (mail_cache_reference_next(&references, &id)) {
		uint32_t node = node_of_id(b, id);

		if (b->n > THREAD_IDS_MIN && b->n / THREAD_IDS_A_MESSAGE > b->messages)
			return E_TOOBIG;
		if (*last && !b->v[node].parent && !would_loop(b, node, *last))
			set_parent(b, node, *last);
		*last = node;
	}
	return OK;
}

/* The message's own node; a second one of the same id gets one that nothing refers to. */
static uint32_t
node_of_message(struct thread_builder *b, struct str message_id)
{
	uint32_t node = 0;

	if (message_id.len && b->algorithm != THREAD_ORDEREDSUBJECT)
		node = node_of_id(b, message_id);
	if (!node || b->v[node].number)
		node = node_add(b);
	return node;
}

enum err
thread_builder_add(struct thread_builder *b, const struct thread_message *m)
{
	uint32_t node, parent = 0;
	enum err e = OK;

	b->messages++;
	node = node_of_message(b, m->message_id);
	b->v[node].number = m->number;
	b->v[node].date = m->date;
	b->v[node].is_reply = m->is_reply;
	if (b->algorithm == THREAD_REFS)
		b->v[node].arrival = m->arrival;
	else if (m->base_subject.len)
		b->v[node].subject = siphash_128(&b->key, m->base_subject);
	if (b->algorithm == THREAD_ORDEREDSUBJECT)
		return OK;
	e = link_references(b, m->references, &parent);
	if (e)
		return e;
	/* (B): an older link came from a list of references that was cut short. */
	if (b->v[node].parent != parent) {
		set_parent(b, node, 0);
		if (parent && !would_loop(b, node, parent))
			set_parent(b, node, parent);
	}
	return OK;
}

/* ---- steps 2 and 3: dummies go ---- */

/*
 * Every message gets the nearest message above it as its parent, or the topmost dummy above it. A
 * dummy in between then has no children any more. What was found for a dummy is kept in its child
 * field, which is not in use yet, so that each is passed once.
 */
static uint32_t
real_parent(struct thread_builder *b, uint32_t node)
{
	uint32_t at = b->v[node].parent, found;

	if (!at)
		return 0;
	while (!b->v[at].number && !b->v[at].child && b->v[at].parent)
		at = b->v[at].parent;
	found = b->v[at].number || !b->v[at].child ? at : b->v[at].child;
	for (at = b->v[node].parent; !b->v[at].number && !b->v[at].child && b->v[at].parent;
		at = b->v[at].parent)
		b->v[at].child = found;
	return found;
}

static void
prune(struct thread_builder *b)
{
	for (uint32_t i = 1; i < b->n; i++)
		b->v[i].children = 0;
	for (uint32_t i = 1; i < b->n; i++) {
		if (!b->v[i].number)
			continue;
		/* A message's new parent is on its old way up: others still find theirs. */
		b->v[i].parent = real_parent(b, i);
		b->v[b->v[i].parent].children++;
	}
	/* A dummy at the top with one child gives its place to it. */
	for (uint32_t i = 1; i < b->n; i++)
		if (b->v[i].number && b->v[i].parent && !b->v[b->v[i].parent].number &&
			b->v[b->v[i].parent].children == 1)
			b->v[i].parent = 0;
}

/* ---- lists of children ---- */

/* Links every message, and every dummy that still has children, into its parent's list. */
static void
gather_children(struct thread_builder *b)
{
	for (uint32_t i = 0; i < b->n; i++) {
		b->v[i].child = b->v[i].next = 0;
		b->v[i].children = 0;
	}
	for (uint32_t i = 1; i < b->n; i++)
		if (b->v[i].number)
			b->v[b->v[i].parent].children++;
	for (uint32_t i = (uint32_t)b->n - 1; i > 0; i--) {
		struct node *c = &b->v[i];

		if (!c->number && (!c->children || c->parent))
			continue;
		c->next = b->v[c->parent].child;
		b->v[c->parent].child = i;
	}
}

/* What stands for a node in its set of siblings: a dummy's first child (RFC 5256, step 4). */
static uint32_t
stand_in(const struct thread_builder *b, uint32_t node)
{
	return b->v[node].number ? node : b->v[node].child;
}

static int
compare_nodes(const void *x, const void *y, void *ctx)
{
	const struct thread_builder *b = ctx;
	const struct node *p = &b->v[*(const uint32_t *)x], *q = &b->v[*(const uint32_t *)y];
	uint32_t m, n;

	if (p->date != q->date)
		return p->date < q->date ? -1 : 1;
	m = b->v[stand_in(b, *(const uint32_t *)x)].number;
	n = b->v[stand_in(b, *(const uint32_t *)y)].number;
	return (m > n) - (m < n);
}

/* Sorts a node's children by date, then by their places in the mailbox. */
static void
sort_children(struct thread_builder *b, uint32_t parent)
{
	size_t n = 0;
	uint32_t *at;

	if (!b->v[parent].child || !b->v[b->v[parent].child].next)
		return;
	for (uint32_t i = b->v[parent].child; i; i = b->v[i].next) {
		if (n == b->sorted_cap) {
			b->sorted_cap = n ? 2 * n : 256;
			b->sorted = mem_realloc(b->sorted, b->sorted_cap, sizeof(*b->sorted));
		}
		b->sorted[n++] = i;
	}
	qsort_r(b->sorted, n, sizeof(*b->sorted), compare_nodes, b);
	at = &b->v[parent].child;
	for (size_t i = 0; i < n; i++) {
		*at = b->sorted[i];
		at = &b->v[b->sorted[i]].next;
	}
	*at = 0;
}

/* Dummies take their date from their first child, whose siblings must have been sorted. */
static void
sort_dummies(struct thread_builder *b)
{
	for (uint32_t i = b->v[0].child; i; i = b->v[i].next) {
		if (b->v[i].number)
			continue;
		sort_children(b, i);
		b->v[i].date = b->v[b->v[i].child].date;
	}
}

static void
sort_all(struct thread_builder *b)
{
	for (uint32_t i = 1; i < b->n; i++)
		sort_children(b, i);
	sort_dummies(b);
	sort_children(b, 0);
}

/* ---- step 5: threads with one subject ---- */

static int
has_subject(const struct node *n)
{
	return n->subject.a || n->subject.b;
}

/* (B) */
static void
fill_subjects(struct thread_builder *b, struct table *subjects)
{
	for (uint32_t i = b->v[0].child; i; i = b->v[i].next) {
		const struct node *first = &b->v[stand_in(b, i)], *in_table;
		struct slot *slot;

		if (!has_subject(first))
			continue;
		slot = table_take(subjects, first->subject);
		in_table = &b->v[slot->node];
		if (!slot->node ||
			(in_table->number &&
				(!b->v[i].number || (in_table->is_reply && !b->v[i].is_reply))))
			slot->node = i;
	}
}

/*
 * (C), for one thread. Parents alone are changed, the lists are made anew afterwards; nothing but
 * what is under the root now is ever looked at. dummy_of: nodes made here have number 0 and no
 * subject.
 */
static void
merge_thread(struct thread_builder *b, struct slot *slot, uint32_t at)
{
	uint32_t other = slot->node, dummy;

	if (!b->v[at].number && !b->v[other].number) {
		for (uint32_t i = b->v[at].child; i; i = b->v[i].next)
			b->v[i].parent = other;
	} else if (!b->v[other].number || (b->v[at].is_reply && !b->v[other].is_reply)) {
		b->v[at].parent = other;
	} else {
		dummy = node_add(b);
		b->v[at].parent = dummy;
		b->v[other].parent = dummy;
		slot->node = dummy;
	}
}

static void
merge_subjects(struct thread_builder *b)
{
	struct table subjects = {0};

	fill_subjects(b, &subjects);
	for (uint32_t i = b->v[0].child; i; i = b->v[i].next) {
		const struct node *first = &b->v[stand_in(b, i)];
		struct slot *slot;

		if (!has_subject(first))
			continue;
		slot = table_slot(&subjects, first->subject);
		if (slot->node != i)
			merge_thread(b, slot, i);
	}
	free(subjects.v);
	gather_children(b);
}

/* ---- the algorithms ---- */

static void
build_references(struct thread_builder *b)
{
	prune(b);
	gather_children(b);
	sort_dummies(b);
	sort_children(b, 0);
	merge_subjects(b);
	sort_all(b);
}

/* The latest arrival of each thread becomes the date of its top, once its messages are sorted. */
static void
build_refs(struct thread_builder *b)
{
	uint32_t *top;

	prune(b);
	gather_children(b);
	for (uint32_t i = 1; i < b->n; i++)
		sort_children(b, i);
	top = mem_zalloc(b->n * sizeof(*top));
	for (uint32_t i = b->v[0].child; i; i = b->v[i].next) {
		top[i] = i;
		b->v[i].date = INT64_MIN;
	}
	for (uint32_t i = 1; i < b->n; i++) {
		uint32_t at = i, found;

		if (!b->v[i].number)
			continue;
		while (!top[at])
			at = b->v[at].parent;
		found = top[at];
		for (at = i; !top[at]; at = b->v[at].parent)
			top[at] = found;
	}
	for (uint32_t i = 1; i < b->n; i++)
		if (b->v[i].number && b->v[top[i]].date < b->v[i].arrival)
			b->v[top[i]].date = b->v[i].arrival;
	free(top);
	sort_children(b, 0);
}

/* The messages of a subject: the first by date is the top, the others are its children. */
static void
build_orderedsubject(struct thread_builder *b)
{
	struct table subjects = {0};

	gather_children(b);
	sort_children(b, 0);
	for (uint32_t i = b->v[0].child; i; i = b->v[i].next) {
		/* No subject is a subject here: zeros find each other too. */
		struct slot *slot = table_take(&subjects, b->v[i].subject);

		if (slot->node)
			b->v[i].parent = slot->node;
		else
			slot->node = i;
	}
	free(subjects.v);
	gather_children(b);
	sort_all(b);
}

/* ---- writing ---- */

/* Sets of siblings that are under way: the next of each. */
struct stack {
	uint32_t *v;
	size_t n, cap;
};

static void
push(struct stack *s, uint32_t node)
{
	if (s->n == s->cap) {
		s->cap = s->cap ? 2 * s->cap : 64;
		s->v = mem_realloc(s->v, s->cap, sizeof(*s->v));
	}
	s->v[s->n++] = node;
}

/* One thread from its beginning down to where it ends or splits; then its siblings. */
static void
write_chain(struct thread_builder *b, struct stack *todo, uint32_t at, struct buf *out)
{
	const char *gap = "";

	(void)buf_add_char(out, '(');
	for (; at; at = b->v[at].child) {
		if (b->v[at].number) {
			(void)buf_add_cstr(out, gap);
			(void)buf_add_u64(out, b->v[at].number);
			gap = " ";
		}
		if (b->v[at].child && b->v[b->v[at].child].next) {
			(void)buf_add_cstr(out, gap);
			push(todo, b->v[at].child);
			return;
		}
	}
	(void)buf_add_char(out, ')');
}

/* Without recursion: how deep threads go is up to who writes mail. */
static enum err
write_threads(struct thread_builder *b, struct buf *out)
{
	struct stack todo = {0};

	push(&todo, b->v[0].child);
	while (todo.n) {
		uint32_t at = todo.v[todo.n - 1];

		if (!at) {
			/* All siblings are written: so is the thread that split into them. */
			todo.n--;
			if (todo.n)
				(void)buf_add_char(out, ')');
			continue;
		}
		todo.v[todo.n - 1] = b->v[at].next;
		write_chain(b, &todo, at, out);
	}
	free(todo.v);
	return out->err;
}

enum err
thread_builder_write(struct thread_builder *b, struct buf *out)
{
	if (b->algorithm == THREAD_ORDEREDSUBJECT)
		build_orderedsubject(b);
	else if (b->algorithm == THREAD_REFS)
		build_refs(b);
	else
		build_references(b);
	return write_threads(b, out);
}
