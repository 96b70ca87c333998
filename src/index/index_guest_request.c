/* SPDX-License-Identifier: MIT */
#include "index/index_guest_private.h"

#include <stdlib.h>
#include <string.h>

#include "index/core_guest.h"
#include "index/index_rights.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

/*
 * Requests of a guest. Each asks for the rights that the folder's file gives him now, whatever his
 * session has asked for already, and does no more than they allow. Before an answer the guest's
 * index is brought into step.
 */

static struct index_core *
core_of(struct index_conn *c)
{
	return c->user->core;
}

/* E_NOTFOUND: of a mailbox without any right to it, and without "l", he learns nothing. */
static enum err
lacks(unsigned have, unsigned need)
{
	if (have == 0)
		return E_NOTFOUND;
	if ((have & need) == need)
		return OK;
	return have & (RIGHT_LOOKUP | RIGHT_READ) ? E_ACCESS : E_NOTFOUND;
}

enum err
index_guest_failed(struct index_conn *c, enum err e)
{
	if (e != E_CORRUPT)
		return e;
	index_guest_discard(c);
	return E_TEMPFAIL;
}

static enum err
rights_get(struct index_conn *c, uint32_t mailbox, unsigned *rights)
{
	const struct rights_who who = core_guest_who(index_guest_core(c->guest));

	return core_guest_rights(core_of(c), mailbox, &who, rights);
}

enum err
index_guest_need(struct index_conn *c, uint32_t mailbox, unsigned rights)
{
	unsigned have;
	enum err e = rights_get(c, mailbox, &have);

	return e ? e : lacks(have, rights);
}

static enum err
need_name(struct index_conn *c, struct str name, unsigned rights, uint32_t *mailbox)
{
	enum err e = index_core_lookup(core_of(c), name, mailbox);

	return e ? e : index_guest_need(c, *mailbox, rights);
}

/* k above a new name; where nothing is above it only the owner makes mailboxes. */
static enum err
need_above(struct index_conn *c, struct str name, uint32_t *parent)
{
	const struct rights_who who = core_guest_who(index_guest_core(c->guest));
	unsigned have;
	enum err e = core_guest_rights_above(core_of(c), name, &who, parent, &have);

	if (e)
		return e;
	return have & RIGHT_CREATE ? OK : E_ACCESS;
}

enum err
index_guest_tree_changed(struct index_conn *c)
{
	index_shared_learn(c->user);
	return index_guest_settle(c);
}

/* ---- mailboxes ---- */

/* Levels between are made too and inherit as well (RFC 4314 section 4, CREATE). */
static enum err
inherit(struct index_conn *c, uint32_t parent, struct str name)
{
	enum err e = OK;
	uint32_t id;

	while (e == OK && name.len > 0) {
		if (index_core_lookup(core_of(c), name, &id) || id == parent)
			break;
		e = core_guest_inherit(core_of(c), parent, id);
		index_guest_note(c->user, id);
		while (name.len > 0 && name.p[--name.len] != '/')
			;
	}
	return e;
}

static enum err
guest_create(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	struct str name = ipc_get_str(r);
	uint32_t use = ipc_get_u32(r), id, parent;
	struct buf body = {0};
	enum err e;

	if (ipc_reader_end(r))
		return E_PROTO;
	e = use ? E_ACCESS : need_above(c, name, &parent);
	if (e == OK)
		e = index_core_create(core_of(c), name, 0, &id);
	if (e == OK)
		e = inherit(c, parent, name);
	if (e == OK)
		e = index_guest_tree_changed(c);
	if (e)
		return e;
	ipc_put_u32(&body, id);
	index_answer_send(c, INDEX_MAILBOX, request, &body);
	return OK;
}

static enum err
guest_delete(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	struct str name = ipc_get_str(r);
	uint32_t id;
	enum err e;

	if (ipc_reader_end(r))
		return E_PROTO;
	e = need_name(c, name, RIGHT_REMOVE, &id);
	if (e == OK)
		e = index_core_delete(core_of(c), name);
	if (e == OK)
		e = index_guest_tree_changed(c);
	if (e == OK)
		index_answer_ok(c, request);
	return e;
}

static struct str
above(struct str name)
{
	while (name.len > 0 && name.p[--name.len] != '/')
		;
	return name;
}

/* INBOX would lose its messages and stay: that is its owner's to do. */
static enum err
guest_rename(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	struct str from = ipc_get_str(r), to = ipc_get_str(r);
	uint32_t id, parent;
	enum err e;

	if (ipc_reader_end(r))
		return E_PROTO;
	e = need_name(c, from, RIGHT_REMOVE, &id);
	if (e == OK && str_is_i(from, "INBOX"))
		e = E_ACCESS;
	if (e == OK && (above(to).len == 0 || !str_equal(above(from), above(to))))
		e = need_above(c, to, &parent);
	if (e == OK)
		e = index_core_rename(core_of(c), from, to);
	if (e == OK)
		e = index_guest_tree_changed(c);
	if (e == OK)
		index_answer_ok(c, request);
	return e;
}

/* ---- messages ---- */

/* \Seen is the guest's own wherever it comes from. */
static enum err
mark_seen(
	struct index_conn *c, uint32_t mailbox, const struct numset *uids, int on, uint64_t *modseq)
{
	return index_guest_failed(c,
		core_guest_seen(core_of(c), index_guest_core(c->guest), mailbox, uids, on, modseq));
}

struct coming {
	struct index_core_append *msgs;
	char **tmp;
	uint32_t n;
	struct numset seen; /* places of those that come with \Seen, from 1 */
};

static void
coming_free(struct index_conn *c, uint32_t mailbox, struct coming *in, int taken)
{
	for (uint32_t i = 0; i < in->n; i++) {
		free((void *)in->msgs[i].keywords);
		if (in->tmp[i] && !taken)
			core_guest_drop_file(core_of(c), mailbox, in->tmp[i]);
		free(in->tmp[i]);
	}
	numset_free(&in->seen);
	free(in->msgs);
	free(in->tmp);
}

/* What the guest says of the content is not believed: it is parsed here, later. */
static enum err
coming_take(struct index_conn *c, uint32_t mailbox, unsigned rights, struct coming *in)
{
	enum err e = OK;

	for (uint32_t i = 0; i < in->n && e == OK; i++) {
		struct index_core_append *m = &in->msgs[i];
		struct str name = m->tmp_name;

		e = core_guest_take_file(core_of(c), mailbox, index_guest_tmp(c->guest), name,
			&in->tmp[i], &m->stored_size);
		if (e)
			break;
		m->flags &= index_rights_flags(rights);
		if (m->flags & INDEX_SEEN)
			numset_add(&in->seen, i + 1);
		m->flags &= ~(unsigned)INDEX_SEEN;
		if (!(rights & RIGHT_WRITE))
			m->keyword_count = 0;
		m->tmp_name = str_of(in->tmp[i]);
		m->size = INDEX_SIZE_UNKNOWN;
		m->cache = (struct str){0};
		memset(m->email_id, 0, sizeof(m->email_id));
		memset(m->thread_id, 0, sizeof(m->thread_id));
	}
	return e;
}

static enum err
come(struct index_conn *c, uint32_t request, uint32_t mailbox, struct coming *in)
{
	struct numset uids = {0};
	uint32_t uidvalidity, first;
	uint64_t modseq, marked;
	enum err e = index_core_append(
		core_of(c), mailbox, in->msgs, in->n, &uidvalidity, &modseq, &first);

	if (e)
		return e;
	e = index_guest_settle(c);
	for (size_t i = 0; i < in->seen.count && e == OK; i++)
		numset_add_range(&uids, first + in->seen.ranges[i].first - 1,
			first + in->seen.ranges[i].last - 1);
	marked = 0;
	if (e == OK && !numset_is_empty(&uids))
		(void)mark_seen(c, mailbox, &uids, 1, &marked);
	numset_free(&uids);
	/* The messages are there; an error would say that they are not. */
	if (c->user)
		index_answer_committed(c, request, uidvalidity, modseq, first, in->n);
	coming_free(c, mailbox, in, 1);
	return OK;
}

static enum err
guest_append(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	uint32_t mailbox = ipc_get_u32(r), n = ipc_get_u32(r);
	struct coming in = {.n = n};
	unsigned rights = 0;
	enum err e;

	if (r->err || n == 0 || n > INDEX_PROTO_APPEND_MAX)
		return E_PROTO;
	in.msgs = mem_zalloc(n * sizeof(*in.msgs));
	in.tmp = mem_zalloc(n * sizeof(*in.tmp));
	for (uint32_t i = 0; i < n && !r->err; i++)
		index_frame_get_append(r, &in.msgs[i]);
	e = ipc_reader_end(r);
	if (e == OK)
		e = rights_get(c, mailbox, &rights);
	if (e == OK)
		e = lacks(rights, RIGHT_INSERT);
	if (e == OK)
		e = coming_take(c, mailbox, rights, &in);
	if (e == OK)
		e = come(c, request, mailbox, &in);
	if (e)
		coming_free(c, mailbox, &in, 0);
	return e;
}

struct change {
	struct index_core_store s;
	uint32_t mailbox;
	unsigned rights;
	struct numset uids, conflicts;
	uint64_t modseq;
};

/*
 * E_ACCESS: nothing is left of what was named, since rights were taken away after his session had
 * looked at them.
 */
static enum err
change_may(const struct change *ch)
{
	unsigned may = index_rights_flags(ch->rights);
	int named = ch->s.flags || ch->s.keyword_count;
	int left = (ch->s.flags & may) || (ch->s.keyword_count && (ch->rights & RIGHT_WRITE));
	enum err e = lacks(ch->rights, 0);

	if (e)
		return e;
	if (!may)
		return E_ACCESS;
	return ch->s.op != INDEX_STORE_REPLACE && named && !left ? E_ACCESS : OK;
}

/* All but \Seen. */
static enum err
change_shared(struct index_conn *c, struct change *ch)
{
	unsigned may = index_rights_flags(ch->rights) & ~(unsigned)INDEX_SEEN;
	struct index_core_store s = ch->s;

	s.uids = &ch->uids;
	s.unchanged_since = UINT64_MAX;
	s.flags &= may;
	if (!(ch->rights & RIGHT_WRITE))
		s.keyword_count = 0;
	s.keep = ~may;
	s.keep_keywords = !(ch->rights & RIGHT_WRITE);
	if (s.op != INDEX_STORE_REPLACE && !s.flags && !s.keyword_count)
		return OK;
	return index_core_store(core_of(c), ch->mailbox, &s, NULL, &ch->modseq);
}

static enum err
change_seen(struct index_conn *c, struct change *ch)
{
	int named = (ch->s.flags & INDEX_SEEN) != 0;

	if (!(ch->rights & RIGHT_SEEN) || (ch->s.op != INDEX_STORE_REPLACE && !named))
		return OK;
	return mark_seen(c, ch->mailbox, &ch->uids,
		ch->s.op == INDEX_STORE_ADD || (ch->s.op == INDEX_STORE_REPLACE && named),
		&ch->modseq);
}

static enum err
change_do(struct index_conn *c, struct change *ch)
{
	struct numset left = {0};
	enum err e = rights_get(c, ch->mailbox, &ch->rights);

	if (e == OK)
		e = change_may(ch);
	/* What he knows is what his index says; nothing happens between this and the change. */
	if (e == OK)
		e = index_guest_settle(c);
	if (e == OK && ch->s.unchanged_since != UINT64_MAX) {
		e = index_guest_failed(
			c, core_guest_conflicts(index_guest_core(c->guest), ch->mailbox, &ch->uids,
				   ch->s.unchanged_since, &ch->conflicts));
		numset_subtract(&ch->uids, &ch->conflicts, &left);
		numset_copy(&ch->uids, &left);
		numset_free(&left);
	}
	if (e == OK && !numset_is_empty(&ch->uids))
		e = change_shared(c, ch);
	if (e == OK)
		e = index_guest_settle(c);
	if (e == OK && !numset_is_empty(&ch->uids))
		e = change_seen(c, ch);
	return e;
}

void
index_guest_told(struct index_conn *c, uint32_t mailbox, uint64_t modseq)
{
	struct index_user_entry *u = c->user;

	for (struct index_conn *x = u->conns; x; x = x->next)
		if (x->guest == c->guest)
			index_watch_tell(x, mailbox, modseq);
	index_sleep_notify(u->worker, u->name, mailbox);
}

static enum err
guest_store(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	struct str words[INDEX_KEYWORDS_MAX];
	struct change ch = {.s = {.keywords = words}, .mailbox = ipc_get_u32(r)};
	struct buf body = {0};
	unsigned op;
	enum err e;

	index_frame_get_set(r, &ch.uids);
	op = ipc_get_u8(r);
	ch.s.op = (enum index_store_op)op;
	ch.s.flags = ipc_get_u8(r);
	ch.s.unchanged_since = ipc_get_u64(r);
	ch.s.keyword_count = index_frame_get_keywords(r, words);
	e = op > INDEX_STORE_REPLACE ? E_PROTO : ipc_reader_end(r);
	if (e == OK)
		e = change_do(c, &ch);
	if (e == OK) {
		if (ch.modseq)
			index_guest_told(c, ch.mailbox, ch.modseq);
		ipc_put_u64(&body, ch.modseq);
		index_frame_put_set(&body, &ch.conflicts);
		index_answer_send(c, INDEX_STORED, request, &body);
	}
	numset_free(&ch.uids);
	numset_free(&ch.conflicts);
	return e;
}

static enum err
guest_expunge(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	struct numset uids = {0}, gone = {0};
	uint32_t mailbox = ipc_get_u32(r);
	int force = ipc_get_u8(r), all = ipc_get_u8(r);
	struct buf body = {0};
	uint64_t modseq;
	enum err e;

	index_frame_get_set(r, &uids);
	e = ipc_reader_end(r);
	/* What was not marked before is marked and expunged in one. */
	if (e == OK)
		e = index_guest_need(
			c, mailbox, force ? RIGHT_DELETE | RIGHT_EXPUNGE : RIGHT_EXPUNGE);
	if (e == OK)
		e = index_core_expunge(
			core_of(c), mailbox, all ? NULL : &uids, force, &gone, &modseq);
	if (e == OK)
		e = index_guest_settle(c);
	if (e == OK) {
		ipc_put_u64(&body, modseq);
		index_frame_put_set(&body, &gone);
		index_answer_send(c, INDEX_EXPUNGED, request, &body);
	}
	numset_free(&uids);
	numset_free(&gone);
	return e;
}

struct copying {
	uint32_t from, to, uidvalidity;
	unsigned how;
	struct numset uids;
	struct index_core_pair *pairs;
	size_t count;
};

/* Copies have the guest's \Seen, not the owner's. */
static enum err
copy_seen(struct index_conn *c, const struct copying *cp, const struct numset *seen)
{
	struct numset uids = {0};
	uint64_t modseq = 0;
	enum err e = OK;

	for (size_t i = 0; i < cp->count; i++)
		if (numset_contains(seen, cp->pairs[i].src))
			numset_add(&uids, cp->pairs[i].dst);
	if (!numset_is_empty(&uids))
		e = mark_seen(c, cp->to, &uids, 1, &modseq);
	numset_free(&uids);
	return e;
}

static enum err
copy_do(struct index_conn *c, struct copying *cp)
{
	unsigned move = cp->how & INDEX_COPY_MOVE, rights = 0, lost;
	struct numset seen = {0};
	enum err e = index_guest_need(
		c, cp->from, move ? RIGHT_READ | RIGHT_DELETE | RIGHT_EXPUNGE : RIGHT_READ);

	if (e == OK)
		e = rights_get(c, cp->to, &rights);
	if (e == OK)
		e = lacks(rights, RIGHT_INSERT);
	if (e == OK)
		e = index_guest_settle(c);
	lost = (INDEX_FLAGS_ALL & ~index_rights_flags(rights)) | INDEX_SEEN;
	if (!(rights & RIGHT_WRITE))
		lost |= INDEX_COPY_KEYWORDS;
	if (e == OK && (rights & RIGHT_SEEN))
		e = index_guest_failed(c,
			core_guest_seen_of(index_guest_core(c->guest), cp->from, &cp->uids, &seen));
	if (e == OK)
		e = index_core_copy(core_of(c), cp->from, cp->to, &cp->uids,
			cp->how | INDEX_COPY_WITHOUT(lost), &cp->uidvalidity, &cp->pairs,
			&cp->count);
	if (e == OK && index_guest_settle(c) == OK)
		(void)copy_seen(c, cp, &seen);
	numset_free(&seen);
	return e;
}

static enum err
guest_copy(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	struct copying cp = {.from = ipc_get_u32(r)};
	struct buf body = {0};
	enum err e;

	cp.to = ipc_get_u32(r);
	cp.how = ipc_get_u32(r);
	index_frame_get_set(r, &cp.uids);
	e = ipc_reader_end(r);
	if (e == OK)
		e = copy_do(c, &cp);
	if (e == OK && c->user) {
		ipc_put_u32(&body, cp.uidvalidity);
		ipc_put_u32(&body, (uint32_t)cp.count);
		for (size_t i = 0; i < cp.count; i++) {
			ipc_put_u32(&body, cp.pairs[i].src);
			ipc_put_u32(&body, cp.pairs[i].dst);
		}
		index_answer_send(c, INDEX_COPIED, request, &body);
	}
	free(cp.pairs);
	numset_free(&cp.uids);
	return e;
}

static enum err
guest_content(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	uint32_t mailbox = ipc_get_u32(r), uid = ipc_get_u32(r);
	int fd = -1;
	enum err e = ipc_reader_end(r);

	if (e == OK)
		e = index_guest_need(c, mailbox, RIGHT_READ);
	if (e == OK)
		e = core_guest_file(core_of(c), mailbox, uid, &fd);
	if (e == OK)
		ipc_conn_send(c->ipc, INDEX_CONTENT, request, (struct str){0}, &fd, 1);
	io_close(&fd);
	return e;
}

static enum err
pass_over(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	(void)c;
	(void)request;
	(void)r;
	return OK;
}

/* ---- news ---- */

static enum err
guest_refresh(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	uint32_t mailbox = ipc_get_u32(r);
	enum err e = ipc_reader_end(r);

	if (e == OK && (mailbox == 0 || mailbox == INDEX_PROTO_TREE)) {
		e = index_core_refresh_tree(core_of(c));
	} else if (e == OK) {
		e = index_guest_need(c, mailbox, 0);
		if (e == OK)
			e = index_core_refresh(core_of(c), mailbox);
		/* Rights may have been changed by another program. */
		index_guest_note(c->user, mailbox);
	}
	if (e == OK)
		e = index_guest_settle(c);
	if (e == OK)
		index_answer_ok(c, request);
	return e;
}

static enum err
guest_watch(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	uint32_t mailbox = ipc_get_u32(r);
	int on = ipc_get_u8(r);
	enum err e = OK;

	if (ipc_reader_end(r))
		return E_PROTO;
	if (mailbox == 0) {
		c->watch_all = on;
		if (!on)
			numset_free(&c->watch);
	} else if (on) {
		e = index_guest_need(c, mailbox, RIGHT_READ);
		if (e == OK && c->watch.count >= INDEX_MAILBOXES_MAX)
			e = E_TOOBIG;
		if (e == OK)
			numset_add(&c->watch, mailbox);
	} else {
		numset_remove_range(&c->watch, mailbox, mailbox);
	}
	if (e)
		return e;
	index_watch_sync(c->user);
	if (on && index_core_refresh(core_of(c), mailbox) == E_CORRUPT)
		return E_CORRUPT;
	e = index_guest_settle(c);
	if (e == OK)
		index_answer_ok(c, request);
	return e;
}

static enum err
guest_sleep_seal(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	uint32_t mailbox = ipc_get_u32(r);
	struct buf token = {0}, body = {0};
	uint64_t modseq = 0;
	enum err e = ipc_reader_end(r);

	if (e == OK)
		e = index_guest_need(c, mailbox, RIGHT_READ);
	if (e == OK)
		e = index_guest_settle(c);
	if (e == OK)
		e = index_guest_failed(
			c, core_guest_modseq(index_guest_core(c->guest), mailbox, &modseq));
	if (e == OK)
		e = index_sleep_seal(c->user, mailbox, modseq, &token);
	if (e == OK) {
		ipc_put_str(&body, buf_str(&token));
		index_answer_send(c, INDEX_SLEEP_TOKEN, request, &body);
	}
	buf_free(&token);
	return e;
}

/* His index; what he says of the owner's counts for nothing. */
static enum err
guest_corrupt(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	(void)ipc_get_str(r);
	if (ipc_reader_end(r))
		return E_PROTO;
	index_answer_ok(c, request);
	index_guest_discard(c);
	return OK;
}

static enum err
refuse(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	(void)c;
	(void)request;
	(void)r;
	return E_ACCESS;
}

static const struct {
	uint16_t type;
	index_guest_request_fn *run;
	const char *name;
} requests[] = {
	{INDEX_CREATE, guest_create, "create"},
	{INDEX_DELETE, guest_delete, "delete"},
	{INDEX_RENAME, guest_rename, "rename"},
	{INDEX_SUBSCRIBE, refuse, "subscribe"},
	{INDEX_APPEND, guest_append, "append"},
	{INDEX_REPLACE, refuse, "replace"},
	{INDEX_STORE, guest_store, "store"},
	{INDEX_EXPUNGE, guest_expunge, "expunge"},
	{INDEX_COPY, guest_copy, "copy"},
	{INDEX_CLAIM_RECENT, refuse, "claim recent"},
	{INDEX_CACHE_PUT, pass_over, "cache put"},
	{INDEX_FACTS_PUT, pass_over, "facts put"},
	{INDEX_LOCATE, refuse, "locate"},
	{INDEX_CONTENT_OPEN, guest_content, "content"},
	{INDEX_METADATA_GET, index_guest_metadata_get, "get metadata"},
	{INDEX_METADATA_SET, index_guest_metadata_set, "set metadata"},
	{INDEX_ACL_GET, index_guest_acl_get, "get rights"},
	{INDEX_ACL_SET, index_guest_acl_set, "set rights"},
	{INDEX_REFRESH, guest_refresh, "refresh"},
	{INDEX_WATCH, guest_watch, "watch"},
	{INDEX_QUOTA_GET, refuse, "quota"},
	{INDEX_CORRUPT, guest_corrupt, "corrupt"},
	{INDEX_SLEEP_SEAL, guest_sleep_seal, "sleep seal"},
	{INDEX_URL_SIGN, refuse, "sign url"},
	{INDEX_URL_RESET, refuse, "reset url key"},
	{INDEX_URL_MAY, index_guest_url_may, "may sign url"},
	{INDEX_URL_TOLD, index_guest_url_told, "url key was reset"},
};

enum err
index_guest_dispatch(struct index_conn *c, struct ipc_msg *m, const char **name)
{
	struct ipc_reader r = ipc_reader_of(buf_str(&m->body));

	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		if (requests[i].type != m->type)
			continue;
		*name = requests[i].name;
		return requests[i].run(c, m->request, &r);
	}
	return E_PROTO;
}
