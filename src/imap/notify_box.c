/* SPDX-License-Identifier: MIT */
#include "imap/notify_private.h"

#include <stdlib.h>
#include <string.h>

#include "imap/list.h"
#include "imap/rights.h"
#include "imap/status.h"
#include "imap/tree.h"
#include "lib/mem.h"

/*
 * The service says which mailbox changed, or that the tree did; what changed is found by comparing
 * with what the client knows. So many changes that come together are told as one, and a notice that
 * was lost costs nothing as long as another comes.
 */

/* ---- all mailboxes of one moment ---- */

static void
box_fini(struct notify_box *b)
{
	free(b->name);
	notify_entries_fini(&b->entries);
}

void
notify_boxes_fini(struct notify_boxes *b)
{
	for (size_t i = 0; i < b->n; i++)
		box_fini(&b->v[i]);
	free(b->v);
	*b = (struct notify_boxes){0};
}

static int
box_compare(const void *a, const void *b)
{
	const struct notify_box *x = a, *y = b;

	return strcmp(x->name, y->name);
}

struct notify_box *
notify_boxes_find(const struct notify_boxes *b, struct str name)
{
	struct notify_box key = {.name = str_dup(name)};
	struct notify_box *found =
		b->n ? bsearch(&key, b->v, b->n, sizeof(*b->v), box_compare) : NULL;

	free(key.name);
	return found;
}

struct notify_box *
notify_boxes_find_id(const struct notify_boxes *b, uint32_t id)
{
	for (size_t i = 0; i < b->n; i++)
		if (b->v[i].exists && b->v[i].id == id)
			return &b->v[i];
	return NULL;
}

/* What RFC 4314's "r" is needed for; names anybody may know who may list them. */
enum { NOTIFY_CONTENT = IMAP_NOTIFY_MESSAGES | IMAP_NOTIFY_FLAGS | IMAP_NOTIFY_METADATA };

static void
counts_take(struct notify_box *b, const struct index_mailbox *m)
{
	b->uidvalidity = m->uidvalidity;
	b->uidnext = m->uidnext;
	b->messages = m->messages;
	b->unseen = m->unseen;
	b->modseq = m->highest_modseq;
}

/* What is wanted of it. A mailbox that went meanwhile stays empty: its notice is on its way. */
static enum err
box_fill(struct imap_session *s, struct notify_box *b, size_t *entries)
{
	struct index_mailbox m = {0};
	enum err e = OK;

	if (!b->exists || !(b->events & NOTIFY_CONTENT))
		return OK;
	e = imap_rights_check(s, b->id, RIGHT_READ);
	b->no_access = e == E_ACCESS;
	if (e)
		return e == E_ACCESS || e == E_NOTFOUND ? OK : e;
	if (b->events & (IMAP_NOTIFY_MESSAGES | IMAP_NOTIFY_FLAGS)) {
		e = index_mailbox_get_id(s->index, b->id, &m);
		if (!e)
			counts_take(b, &m);
		index_mailbox_free(&m);
	}
	if (!e && (b->events & IMAP_NOTIFY_METADATA)) {
		e = notify_entries_load(s, b->id, NOTIFY_ENTRIES_MAX - *entries, &b->entries);
		*entries += b->entries.n;
	}
	return e == E_NOTFOUND ? OK : e;
}

enum err
notify_boxes_load(struct imap_session *s, const struct notify_request *r, struct notify_boxes *out)
{
	struct imap_tree tree = {0};
	size_t entries = 0;
	enum err e = imap_tree_load(s->index, 1, &tree);

	*out = (struct notify_boxes){0};
	if (!e && tree.n > NOTIFY_BOXES_MAX)
		e = E_TOOBIG;
	if (!e)
		out->v = mem_alloc((tree.n + 1) * sizeof(*out->v));
	for (size_t i = 0; i < tree.n && !e; i++) {
		struct imap_tree_entry *t = &tree.v[i];
		struct notify_box *b = &out->v[out->n++];

		*b = (struct notify_box){.name = t->name,
			.exists = t->exists,
			.subscribed = t->subscribed,
			.has_children = t->has_children,
			.special_use = t->special_use,
			.id = t->id};
		t->name = NULL;
		b->events = notify_request_events(
			r, b->name, b->exists && !index_mailbox_is_shared(b->id), b->subscribed);
		e = box_fill(s, b, &entries);
	}
	imap_tree_free(&tree);
	if (e)
		notify_boxes_fini(out);
	else if (out->n)
		qsort(out->v, out->n, sizeof(*out->v), box_compare);
	return e;
}

/* ---- messages ---- */

static void
status_write(struct imap_session *s, const struct notify_box *b, unsigned items)
{
	struct index_mailbox m = {.id = b->id,
		.name = b->name,
		.uidvalidity = b->uidvalidity,
		.uidnext = b->uidnext,
		.messages = b->messages,
		.unseen = b->unseen,
		.highest_modseq = b->modseq};

	imap_status_write(s, &m, items);
}

void
notify_boxes_send_status(struct imap_session *s, const struct notify_boxes *b)
{
	for (size_t i = 0; i < b->n; i++) {
		const struct notify_box *box = &b->v[i];
		unsigned items = 0;

		if (!box->exists || !box->uidvalidity || (s->view && box->id == s->mailbox))
			continue;
		if (box->events & IMAP_NOTIFY_MESSAGES)
			items |= IMAP_STATUS_MESSAGES | IMAP_STATUS_UIDNEXT |
				 IMAP_STATUS_UIDVALIDITY;
		if (box->events & IMAP_NOTIFY_FLAGS)
			items |= IMAP_STATUS_UIDVALIDITY | IMAP_STATUS_HIGHESTMODSEQ;
		if (items)
			status_write(s, box, items);
	}
}

void
notify_boxes_send_refused(struct imap_session *s, const struct notify_boxes *b)
{
	for (size_t i = 0; i < b->n; i++)
		if (b->v[i].no_access) {
			struct imap_list_entry line = {.name = b->v[i].name,
				.exists = 1,
				.no_access = 1,
				.subscribed = b->v[i].subscribed,
				.has_children = b->v[i].has_children,
				.special_use = b->v[i].special_use};

			imap_list_send_entry(s, &line);
		}
}

/* STATUS for what differs (section 5.1 to 5.3). */
static void
counts_compare(struct imap_session *s, const struct notify_box *was, const struct notify_box *now)
{
	int condstore = (s->enabled & IMAP_CONDSTORE) != 0;
	unsigned items = 0;

	if (!now->uidvalidity || !was->uidvalidity)
		return;
	if ((now->events & IMAP_NOTIFY_MESSAGES) &&
		(was->messages != now->messages || was->uidnext != now->uidnext))
		items |= IMAP_STATUS_MESSAGES | IMAP_STATUS_UIDNEXT |
			 (condstore ? IMAP_STATUS_HIGHESTMODSEQ : 0);
	if (now->events & IMAP_NOTIFY_FLAGS) {
		if (was->unseen != now->unseen)
			items |= IMAP_STATUS_UNSEEN | IMAP_STATUS_UIDVALIDITY;
		if (condstore && was->modseq != now->modseq)
			items |= IMAP_STATUS_HIGHESTMODSEQ | IMAP_STATUS_UIDVALIDITY;
	}
	if ((now->events & (IMAP_NOTIFY_MESSAGES | IMAP_NOTIFY_FLAGS)) &&
		was->uidvalidity != now->uidvalidity)
		items |= IMAP_STATUS_UIDVALIDITY | IMAP_STATUS_MESSAGES | IMAP_STATUS_UIDNEXT;
	if (items)
		status_write(s, now, items);
}

static void
counts_copy(struct notify_box *to, const struct notify_box *from)
{
	to->uidvalidity = from->uidvalidity;
	to->uidnext = from->uidnext;
	to->messages = from->messages;
	to->unseen = from->unseen;
	to->modseq = from->modseq;
}

enum err
notify_box_look(struct imap_session *s, struct notify_box *box)
{
	struct index_mailbox m = {0};
	struct notify_box now = *box;
	enum err e = OK;

	if (!(box->events & NOTIFY_CONTENT))
		return OK;
	/* While it cannot be read nothing is told; what it was is kept for when it can (5.9). */
	e = imap_rights_check(s, box->id, RIGHT_READ);
	if (e)
		return e == E_ACCESS ? OK : e;
	if ((box->events & (IMAP_NOTIFY_MESSAGES | IMAP_NOTIFY_FLAGS)) &&
		!(s->view && box->id == s->mailbox)) {
		e = index_mailbox_get_id(s->index, box->id, &m);
		if (!e) {
			counts_take(&now, &m);
			counts_compare(s, box, &now);
			counts_copy(box, &now);
		}
		index_mailbox_free(&m);
	}
	if (!e && (box->events & IMAP_NOTIFY_METADATA))
		e = notify_entries_look(s, box->id, box->name, &box->entries);
	return e;
}

/* ---- names ---- */

static struct str
parent_of(const char *name)
{
	const char *slash = strrchr(name, '/');

	return str_make(name, slash ? (size_t)(slash - name) : 0);
}

static struct str
leaf_of(const char *name)
{
	const char *slash = strrchr(name, '/');

	return str_of(slash ? slash + 1 : name);
}

/*
 * It came along when what it lies below was renamed, and this is told: nothing more is (section
 * 5.4).
 */
static int
came_along(const struct notify_boxes *was, const struct notify_boxes *now, const char *from,
	const char *to)
{
	for (;;) {
		struct str p = parent_of(from), q = parent_of(to);
		struct notify_box *old, *new;

		if (!p.len || !q.len || !str_equal(leaf_of(from), leaf_of(to)))
			return 0;
		old = notify_boxes_find(was, p);
		new = notify_boxes_find(now, q);
		if (!old || !new || old == new || str_is(p, new->name))
			return 0;
		if (old->exists)
			return new->exists && old->id == new->id && (new->events &IMAP_NOTIFY_NAME);
		from = old->name;
		to = new->name;
	}
}

static int
is_quiet(const char *name, char *const *quiet, size_t count)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < count; i++) {
		size_t other = strlen(quiet[i]), common = len < other ? len : other;

		if (strncmp(name, quiet[i], common) == 0 &&
			(len == other || (len < other ? quiet[i][len] : name[other]) == '/'))
			return 1;
	}
	return 0;
}

static void
list_send(struct imap_session *s, const struct notify_box *b, int exists)
{
	struct imap_list_entry line = {.name = b->name,
		.exists = exists,
		.subscribed = b->subscribed,
		.has_children = b->has_children,
		.special_use = exists ? b->special_use : 0,
		.old_name = b->old_name};

	imap_list_send_entry(s, &line);
}

struct compare {
	struct imap_session *s;
	struct notify_boxes *was, *now;
	char *const *quiet;
	size_t quiet_count;
};

/* The level above a mailbox that came or went is affected, too. */
static void
parent_tell(struct compare *c, const char *name)
{
	struct notify_box *b = notify_boxes_find(c->now, parent_of(name));

	if (b && (b->events & IMAP_NOTIFY_NAME) && !is_quiet(name, c->quiet, c->quiet_count))
		b->tell = 1;
}

static void
gone_tell(struct compare *c, struct notify_box *old, struct notify_box *same)
{
	if (is_quiet(old->name, c->quiet, c->quiet_count))
		return;
	if ((old->events | (same ? same->events : 0)) & IMAP_NOTIFY_NAME) {
		if (same) {
			same->tell = 1;
		} else {
			old->has_children = 0;
			list_send(c->s, old, 0);
		}
	}
}

/* A name that was a mailbox and is none now: where did it go? */
static void
find_gone(struct compare *c, struct notify_box *old, struct notify_box *same)
{
	struct notify_box *to = notify_boxes_find_id(c->now, old->id), *before = NULL;

	if (to)
		before = notify_boxes_find(c->was, str_of(to->name));
	if (!to || (before && before->exists)) {
		gone_tell(c, old, same);
		parent_tell(c, old->name);
		return;
	}
	to->moved = 1;
	if (is_quiet(old->name, c->quiet, c->quiet_count) ||
		is_quiet(to->name, c->quiet, c->quiet_count) ||
		came_along(c->was, c->now, old->name, to->name))
		return;
	if (to->events & IMAP_NOTIFY_NAME) {
		to->tell = 1;
		to->old_name = old->name;
	} else {
		gone_tell(c, old, same);
	}
}

static void
names_compare(struct compare *c)
{
	for (size_t i = 0; i < c->was->n; i++) {
		struct notify_box *old = &c->was->v[i];
		struct notify_box *same = notify_boxes_find(c->now, str_of(old->name));

		if (old->exists && !(same && same->exists))
			find_gone(c, old, same);
		if (old->subscribed && !same && (old->events & IMAP_NOTIFY_SUBSCRIPTION) &&
			!is_quiet(old->name, c->quiet, c->quiet_count)) {
			old->subscribed = 0;
			list_send(c->s, old, 0);
		}
	}
	for (size_t i = 0; i < c->now->n; i++) {
		struct notify_box *b = &c->now->v[i];
		struct notify_box *old = notify_boxes_find(c->was, str_of(b->name));
		int quiet = is_quiet(b->name, c->quiet, c->quiet_count);

		if (b->exists && !(old && old->exists) && !b->moved) {
			b->tell |= (b->events & IMAP_NOTIFY_NAME) && !quiet;
			parent_tell(c, b->name);
		}
		if (b->subscribed != (old && old->subscribed))
			b->tell |= !quiet && ((b->events | (old ? old->events : 0)) &
						     IMAP_NOTIFY_SUBSCRIPTION);
	}
	for (size_t i = 0; i < c->now->n; i++)
		if (c->now->v[i].tell)
			list_send(c->s, &c->now->v[i], c->now->v[i].exists);
}

/* ---- all of it ---- */

/* The mailbox as the client knew it, under whatever name. */
static struct notify_box *
known_box(struct compare *c, const struct notify_box *b)
{
	struct notify_box *old = b->moved ? notify_boxes_find_id(c->was, b->id)
					  : notify_boxes_find(c->was, str_of(b->name));

	return old && old->exists ? old : NULL;
}

static void
content_compare(struct compare *c, struct notify_box *b)
{
	struct notify_box *old = known_box(c, b);
	struct notify_box fresh = {
		.uidvalidity = b->uidvalidity, .uidnext = 1, .modseq = b->modseq};
	struct imap_session *s = c->s;

	if (((s->view && b->id == s->mailbox) || b->no_access) && old && old->uidvalidity)
		counts_copy(b, old);
	else
		counts_compare(s, old ? old : &fresh, b);
	if (old && (old->events & b->events & IMAP_NOTIFY_METADATA)) {
		struct notify_entries now = b->entries;

		/* Those of before, brought up to now. */
		b->entries = old->entries;
		old->entries = now;
		(void)notify_entries_look(s, b->id, b->name, &b->entries);
	}
}

void
notify_boxes_compare(struct imap_session *s, struct notify_boxes *was, struct notify_boxes *now,
	char *const *quiet, size_t quiet_count)
{
	struct compare c = {s, was, now, quiet, quiet_count};

	names_compare(&c);
	for (size_t i = 0; i < now->n; i++) {
		if (now->v[i].exists)
			content_compare(&c, &now->v[i]);
		now->v[i].tell = now->v[i].moved = 0;
		now->v[i].old_name = NULL;
	}
}
