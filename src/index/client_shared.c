/* SPDX-License-Identifier: MIT */
#include "index/client_shared.h"

#include <stdlib.h>
#include <string.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

/* ---- which owners there are ---- */

static struct str
domain_of(const char *user)
{
	const char *at = strrchr(user, '@');

	return at ? str_of(at + 1) : STR("");
}

/* "other/bob/" for bob of the same domain, "Public/" for the domain's public user. */
static char *
prefix_of(const struct index_user *u, const char *owner)
{
	struct str domain = domain_of(owner);
	size_t local = domain.len ? (size_t)(domain.p - owner) - 1 : strlen(owner);
	int same = str_equal(domain, domain_of(u->name));
	const char *public_name = u->conf->imap_namespace_public;

	/* One that would be read as a level of its own. */
	if (strchr(owner, '/'))
		return NULL;
	if (same && public_name[0] && str_is(str_make(owner, local), u->conf->acl_public_user))
		return mem_printf("%s/", public_name);
	if (!u->conf->imap_namespace_other[0])
		return NULL;
	return mem_printf("%s/%.*s/", u->conf->imap_namespace_other,
		same ? (int)local : (int)strlen(owner), owner);
}

static struct client_shared *
owner_slot(struct index_user *u, struct str owner)
{
	struct client_shared *s;
	char *name = str_dup(owner), *prefix;

	for (size_t i = 0; i < u->shared_count; i++) {
		if (!str_is(owner, u->shared[i].owner))
			continue;
		free(name);
		return &u->shared[i];
	}
	prefix = u->shared_count < CLIENT_SHARED_OWNERS_MAX ? prefix_of(u, name) : NULL;
	if (!prefix) {
		free(name);
		return NULL;
	}
	u->shared = mem_realloc(u->shared, u->shared_count + 1, sizeof(*u->shared));
	s = &u->shared[u->shared_count++];
	*s = (struct client_shared){.owner = name, .prefix = prefix};
	return s;
}

static void
ticket_drop(char **ticket)
{
	if (*ticket)
		explicit_bzero(*ticket, strlen(*ticket));
	MEM_FREE(*ticket);
}

static void
grant_take(struct index_user *u, struct str owner, struct str ticket)
{
	struct client_shared *s = owner_slot(u, owner);

	if (!s)
		return;
	s->listed = 1;
	ticket_drop(&s->ticket);
	s->ticket = str_dup(ticket);
	if (s->guest) {
		ticket_drop(&s->guest->ticket);
		s->guest->ticket = str_dup(ticket);
	}
}

/* Asks the service. Slots stay, since ids have their places in them. */
static enum err
owners_load(struct index_user *u)
{
	struct buf body = {0};
	struct ipc_msg m;
	struct ipc_reader r;
	enum err e = client_request(u, INDEX_SHARED_GET, &body, INDEX_SHARED, &m);

	if (e)
		return e;
	for (size_t i = 0; i < u->shared_count; i++)
		u->shared[i].listed = 0;
	r = ipc_reader_of(buf_str(&m.body));
	for (uint32_t n = ipc_get_u32(&r); n > 0 && !r.err; n--) {
		struct str owner = ipc_get_str(&r), ticket = ipc_get_str(&r);

		if (!r.err)
			grant_take(u, owner, ticket);
	}
	e = client_answer_end(u, &r);
	explicit_bzero(m.body.p, m.body.len);
	ipc_msg_free(&m);
	return e;
}

/* E_NOTFOUND: the owner's mail is gone, or he shares nothing any more. */
static enum err
owner_open(struct index_user *u, size_t slot)
{
	struct client_shared *s = &u->shared[slot];
	struct index_user *g = s->guest;
	enum err e;

	if (!g) {
		g = client_user_new(u->conf, s->owner);
		g->is_guest = 1;
		g->ticket = mem_strdup(s->ticket);
		s->guest = g;
	}
	/* A service that was restarted has no such connection any more. */
	client_check(g);
	e = client_connect(g);
	if (e == OK && !g->env)
		e = client_env_open_told(g);
	if (e == E_AUTH || e == E_NOTFOUND)
		e = E_NOTFOUND;
	return e;
}

static void
owner_close(struct client_shared *s)
{
	if (s->held)
		index_read_end(s->guest);
	s->held = s->watched = 0;
	index_close(&s->guest);
}

void
client_shared_close(struct index_user *u)
{
	for (size_t i = 0; i < u->shared_count; i++) {
		owner_close(&u->shared[i]);
		free(u->shared[i].owner);
		free(u->shared[i].prefix);
		ticket_drop(&u->shared[i].ticket);
	}
	MEM_FREE(u->shared);
	u->shared_count = 0;
	io_close(&u->watch_epoll);
}

void
index_share(struct index_user *u)
{
	u->shares = 1;
}

/* ---- ids ---- */

uint32_t
client_shared_id(size_t slot, uint32_t mailbox)
{
	if (mailbox >> CLIENT_SHARED_ID_BITS)
		return 0;
	return CLIENT_SHARED_BIT | (uint32_t)slot << CLIENT_SHARED_ID_BITS | mailbox;
}

struct index_user *
client_route(struct index_user *u, uint32_t *mailbox)
{
	struct client_shared *s;
	uint32_t slot;

	if (!(*mailbox & CLIENT_SHARED_BIT))
		return u;
	slot = (*mailbox & ~CLIENT_SHARED_BIT) >> CLIENT_SHARED_ID_BITS;
	if (slot >= u->shared_count || !u->shared[slot].guest)
		return u;
	s = &u->shared[slot];
	*mailbox &= (1u << CLIENT_SHARED_ID_BITS) - 1;
	if (u->depth > 0 && !s->held && index_read_begin(s->guest) == OK)
		s->held = 1;
	return s->guest;
}

void
client_shared_release(struct index_user *u)
{
	for (size_t i = 0; i < u->shared_count; i++) {
		if (!u->shared[i].held)
			continue;
		u->shared[i].held = 0;
		index_read_end(u->shared[i].guest);
	}
}

int
index_mailbox_is_shared(uint32_t mailbox)
{
	return (mailbox & CLIENT_SHARED_BIT) != 0;
}

enum err
index_guest_rights(struct index_user *u, uint32_t mailbox, const char **owner, unsigned *rights)
{
	struct index_user *g = client_route(u, &mailbox);
	struct index_mailbox_record r;
	uint64_t n = 0;
	enum err e;

	*owner = NULL;
	*rights = 0;
	if (g == u)
		return mailbox & CLIENT_SHARED_BIT ? E_NOTFOUND : OK;
	*owner = g->name;
	e = index_read_begin(g);
	if (e)
		return e;
	e = client_mailbox_record(g, mailbox, &r);
	if (e == OK)
		e = client_meta(g, INDEX_META_RIGHTS, mailbox, &n);
	index_read_end(g);
	*rights = (unsigned)n;
	return e;
}

/* ---- names ---- */

static int
is_below(struct str name, const char *top)
{
	size_t len = strlen(top);

	return len > 0 && name.len >= len && memcmp(name.p, top, len) == 0 &&
	       (name.len == len || name.p[len] == '/');
}

int
client_shared_is_name(const struct index_user *u, struct str name)
{
	return u->shares && (is_below(name, u->conf->imap_namespace_other) ||
				    is_below(name, u->conf->imap_namespace_public));
}

/* "other/bob@example.test/x" of one's own domain is "other/bob/x". */
static int
has_prefix(const struct index_user *u, const struct client_shared *s, struct str name, size_t *len)
{
	size_t top = strlen(u->conf->imap_namespace_other), owner = strlen(s->owner);

	*len = strlen(s->prefix);
	if (name.len > *len && str_equal_i(str_make(name.p, *len), str_of(s->prefix)))
		return 1;
	*len = top + 1 + owner + 1;
	return is_below(name, u->conf->imap_namespace_other) && name.len > *len &&
	       str_is_i(str_make(name.p + top + 1, owner), s->owner) && name.p[*len - 1] == '/';
}

static enum err
resolve_known(struct index_user *u, struct str name, size_t *slot, struct str *rest)
{
	size_t len;

	for (*slot = 0; *slot < u->shared_count; ++*slot)
		if (u->shared[*slot].listed && has_prefix(u, &u->shared[*slot], name, &len)) {
			*rest = str_make(name.p + len, name.len - len);
			return OK;
		}
	return E_ACCESS;
}

enum err
client_shared_resolve(struct index_user *u, struct str name, struct index_user **guest,
	size_t *slot, struct str *rest)
{
	enum err e;

	*guest = NULL;
	if (!client_shared_is_name(u, name))
		return E_NOTFOUND;
	e = resolve_known(u, name, slot, rest);
	if (e == E_ACCESS && u->depth == 0) {
		e = owners_load(u);
		e = e ? e : resolve_known(u, name, slot, rest);
	}
	if (e == OK)
		e = owner_open(u, *slot);
	if (e == OK)
		*guest = u->shared[*slot].guest;
	return e == E_NOTFOUND ? E_ACCESS : e;
}

enum err
client_shared_open(struct index_user *u, struct str owner, struct index_user **guest)
{
	for (size_t i = 0; i < u->shared_count; i++) {
		enum err e;

		if (!u->shared[i].listed || !str_is(owner, u->shared[i].owner))
			continue;
		e = owner_open(u, i);
		*guest = u->shared[i].guest;
		return e;
	}
	return E_NOTFOUND;
}

void
client_shared_name(const struct index_user *u, uint32_t id, struct index_mailbox *m)
{
	uint32_t slot = (id & ~CLIENT_SHARED_BIT) >> CLIENT_SHARED_ID_BITS;
	char *name = mem_printf("%s%s", u->shared[slot].prefix, m->name);

	free(m->name);
	m->name = name;
	m->id = id;
}

/* From the owner's words to the user's. E_NOTFOUND: it cannot be said. */
static enum err
mailbox_translate(struct index_user *u, size_t slot, struct index_mailbox *m)
{
	uint32_t id = client_shared_id(slot, m->id);

	if (id) {
		client_shared_name(u, id, m);
		return OK;
	}
	index_mailbox_free(m);
	return E_NOTFOUND;
}

enum err
client_shared_get(struct index_user *u, struct str name, struct index_mailbox *out)
{
	struct index_user *g;
	struct str rest;
	size_t slot;
	enum err e = client_shared_resolve(u, name, &g, &slot, &rest);

	*out = (struct index_mailbox){0};
	if (e == OK)
		e = index_mailbox_get(g, rest, out);
	if (e == OK)
		e = mailbox_translate(u, slot, out);
	return e == E_ACCESS ? E_NOTFOUND : e;
}

struct each {
	struct index_user *u;
	size_t slot;
	enum err (*cb)(const struct index_mailbox *m, void *arg);
	void *arg;
};

static enum err
each_one(const struct index_mailbox *m, void *arg)
{
	const struct each *x = arg;
	struct index_mailbox own = *m;
	enum err e;

	own.name = mem_strdup(m->name);
	e = mailbox_translate(x->u, x->slot, &own);
	if (e == OK)
		e = x->cb(&own, x->arg);
	else if (e == E_NOTFOUND)
		e = OK;
	index_mailbox_free(&own);
	return e;
}

enum err
client_shared_each(
	struct index_user *u, enum err (*cb)(const struct index_mailbox *m, void *arg), void *arg)
{
	struct each x = {.u = u, .cb = cb, .arg = arg};
	enum err e = OK;

	/* What is known already is listed when the service is away. */
	if (u->depth == 0)
		(void)owners_load(u);
	for (x.slot = 0; x.slot < u->shared_count && e == OK; x.slot++) {
		struct client_shared *s = &u->shared[x.slot];

		if (!s->listed)
			continue;
		if (u->depth == 0 && owner_open(u, x.slot) == OK)
			(void)index_refresh_tree(s->guest);
		if (s->guest && s->guest->env)
			e = index_mailbox_each(s->guest, each_one, &x);
		/* One owner's trouble does not hide the others. */
		if (e == E_TEMPFAIL || e == E_ACCESS || e == E_CORRUPT)
			e = OK;
	}
	return e;
}

/* ---- news ---- */

enum err
client_shared_watch(struct index_user *u, int on)
{
	if (on)
		(void)owners_load(u);
	for (size_t i = 0; i < u->shared_count; i++) {
		struct client_shared *s = &u->shared[i];

		/* One owner's trouble is not the others'; he is looked at with the next list. */
		if (on && s->listed && owner_open(u, i) == OK)
			s->watched = index_watch(s->guest, 0, 1) == OK;
		else if (!on && s->watched)
			s->watched = index_watch(s->guest, 0, 0) != OK;
	}
	return OK;
}

void
client_shared_news(struct index_user *u, size_t slot)
{
	struct index_user *g = u->shared[slot].guest;

	for (size_t i = 0; i < g->watch_boxes.count; i++)
		for (uint64_t id = g->watch_boxes.ranges[i].first;
			id <= g->watch_boxes.ranges[i].last; id++) {
			uint32_t given = client_shared_id(slot, (uint32_t)id);

			if (given)
				numset_add(&u->watch_boxes, given);
		}
	u->watch_tree |= g->watch_tree;
	numset_free(&g->watch_boxes);
	g->watch_tree = 0;
}

/* ---- what a guest asks the service for ---- */

enum err
client_entries_get(struct index_user *g, enum index_frame type, uint32_t mailbox,
	enum err (*cb)(struct str name, struct str value, void *arg), void *arg)
{
	struct buf body = {0};
	struct ipc_msg m;
	struct ipc_reader r;
	enum err e;

	ipc_put_u32(&body, mailbox);
	e = client_request(g, type, &body, INDEX_ENTRIES, &m);
	buf_free(&body);
	if (e)
		return e;
	r = ipc_reader_of(buf_str(&m.body));
	for (uint32_t n = ipc_get_u32(&r); n > 0 && !r.err && e == OK; n--) {
		struct str name = ipc_get_str(&r), value = ipc_get_str(&r);

		if (!r.err)
			e = cb(name, value, arg);
	}
	if (e == OK)
		e = client_answer_end(g, &r);
	ipc_msg_free(&m);
	return e;
}
