/* SPDX-License-Identifier: MIT */
#include "index/client_shared.h"

/* Every change is one request; what can be wrong with it is the service's to say. */

/* ---- mailboxes ---- */

/*
 * Who is to be asked for a change of the tree: an owner for a name of his, which is as he knows it
 * then. An own mailbox with such a name from earlier days is still the user's. E_ACCESS: nobody's,
 * or a place among others' mailboxes where none can be.
 */
static enum err
name_route(struct index_user *u, struct str *name, struct index_user **who, size_t *slot)
{
	struct index_mailbox own = {0};
	struct str rest;
	int shares = u->shares;
	enum err e;

	*who = u;
	*slot = 0;
	if (!client_shared_is_name(u, *name)) {
		return OK;
	}
	u->shares = 0;
	e = index_mailbox_get(u, *name, &own);
	u->shares = shares;
	index_mailbox_free(&own);
	if (e != E_NOTFOUND) {
		return e;
	}
	e = client_shared_resolve(u, *name, who, slot, &rest);
	if (e == OK) {
		*name = rest;
	}
	return e;
}

enum err
index_mailbox_create(
	struct index_user *u, struct str name, unsigned special_use, struct index_mailbox *out)
{
	struct index_user *g;
	struct buf body = {0};
	struct ipc_msg m = {.fds = {-1, -1, -1, -1}};
	struct ipc_reader r;
	uint32_t id = 0;
	size_t slot = 0;
	enum err e = name_route(u, &name, &g, &slot);

	if (out != NULL) {
		*out = (struct index_mailbox){0};
	}
	if (e) {
		return e;
	}
	ipc_put_str(&body, name);
	ipc_put_u32(&body, special_use);
	e = client_request(g, INDEX_CREATE, &body, INDEX_MAILBOX, &m);
	if (e == OK) {
		r = ipc_reader_of(buf_str(&m.body));
		id = ipc_get_u32(&r);
		e = client_answer_end(g, &r);
	}
	if (e == OK && g != u) {
		id = client_shared_id(slot, id);
	}
	if (e == OK && out != NULL) {
		e = index_mailbox_get_id(u, id, out);
	}
	ipc_msg_free(&m);
	buf_free(&body);
	return e;
}

static enum err
request_ok(struct index_user *u, enum index_frame type, struct buf *body)
{
	enum err e = client_request(u, type, body, INDEX_OK, NULL);

	buf_free(body);
	return e;
}

enum err
index_mailbox_delete(struct index_user *u, struct str name)
{
	struct buf body = {0};
	size_t slot;
	enum err e = name_route(u, &name, &u, &slot);

	if (e) {
		return e;
	}
	ipc_put_str(&body, name);
	return request_ok(u, INDEX_DELETE, &body);
}

enum err
index_mailbox_rename(struct index_user *u, struct str from, struct str to)
{
	struct index_user *a, *b;
	struct buf body = {0};
	size_t slot;
	enum err e = name_route(u, &from, &a, &slot);

	e = e ? e : name_route(u, &to, &b, &slot);
	/* Whose mail would it be? */
	if (e == OK && a != b) {
		e = E_RANGE;
	}
	if (e) {
		return e;
	}
	ipc_put_str(&body, from);
	ipc_put_str(&body, to);
	return request_ok(a, INDEX_RENAME, &body);
}

enum err
index_subscribe(struct index_user *u, struct str name, int on)
{
	struct buf body = {0};

	ipc_put_str(&body, name);
	ipc_put_u8(&body, on != 0);
	return request_ok(u, INDEX_SUBSCRIBE, &body);
}

/* ---- messages ---- */

/* A million ranges are over what any command line can hold. */
static enum err
set_check(const struct numset *s)
{
	return s != NULL && s->count > INDEX_PROTO_RANGES_MAX ? E_TOOBIG : OK;
}

enum err
index_store(struct index_user *u, uint32_t mailbox, const struct numset *uids,
	enum index_store_op op, unsigned flags, const char *const *keywords, size_t keyword_count,
	uint64_t unchanged_since, struct numset *conflicts, uint64_t *modseq)
{
	struct buf body = {0};
	struct ipc_msg m;
	struct ipc_reader r;
	struct numset bad = {0};
	enum err e = set_check(uids);

	u = client_route(u, &mailbox);
	e = e ? e : client_mailbox_check(u, mailbox);
	if (e) {
		return e;
	}
	ipc_put_u32(&body, mailbox);
	client_put_set(&body, uids);
	ipc_put_u8(&body, (uint8_t)op);
	ipc_put_u8(&body, (uint8_t)flags);
	ipc_put_u64(&body, unchanged_since);
	ipc_put_u32(&body, (uint32_t)keyword_count);
	for (size_t i = 0; i < keyword_count; i++) {
		ipc_put_cstr(&body, keywords[i]);
	}
	e = client_request(u, INDEX_STORE, &body, INDEX_STORED, &m);
	if (e == OK) {
		uint64_t seq;

		r = ipc_reader_of(buf_str(&m.body));
		seq = ipc_get_u64(&r);
		client_get_set(&r, &bad);
		e = client_answer_end(u, &r);
		if (e == OK && modseq != NULL) {
			*modseq = seq;
		}
		if (e == OK && conflicts != NULL) {
			numset_copy(conflicts, &bad);
		}
	}
	numset_free(&bad);
	ipc_msg_free(&m);
	buf_free(&body);
	return e;
}

enum err
index_expunge(struct index_user *u, uint32_t mailbox, const struct numset *uids, int force,
	struct numset *expunged)
{
	struct buf body = {0};
	struct ipc_msg m;
	struct ipc_reader r;
	struct numset gone = {0};
	enum err e = set_check(uids);

	u = client_route(u, &mailbox);
	e = e ? e : client_mailbox_check(u, mailbox);
	if (e) {
		return e;
	}
	ipc_put_u32(&body, mailbox);
	ipc_put_u8(&body, force != 0);
	ipc_put_u8(&body, uids == NULL);
	client_put_set(&body, uids);
	e = client_request(u, INDEX_EXPUNGE, &body, INDEX_EXPUNGED, &m);
	if (e == OK) {
		r = ipc_reader_of(buf_str(&m.body));
		ipc_get_u64(&r);
		client_get_set(&r, &gone);
		e = client_answer_end(u, &r);
		if (e == OK && expunged != NULL) {
			numset_copy(expunged, &gone);
		}
	}
	numset_free(&gone);
	ipc_msg_free(&m);
	buf_free(&body);
	return e;
}

enum err
index_copy(struct index_user *u, uint32_t from, uint32_t to, const struct numset *uids,
	unsigned how, struct index_copied *out)
{
	uint32_t given_from = from, given_to = to, n;
	struct index_user *a = client_route(u, &from), *b = client_route(u, &to);
	struct buf body = {0};
	struct ipc_msg m;
	struct ipc_reader r;
	enum err e = client_mailbox_check(a, from);

	*out = (struct index_copied){0};
	if (a != b) {
		return client_copy_across(u, given_from, given_to, uids, how, out);
	}
	u = a;
	e = e ? e : client_mailbox_check(u, to);
	e = e ? e : set_check(uids);
	if (e) {
		return e;
	}
	ipc_put_u32(&body, from);
	ipc_put_u32(&body, to);
	ipc_put_u32(&body, how);
	client_put_set(&body, uids);
	e = client_request(u, INDEX_COPY, &body, INDEX_COPIED, &m);
	if (e == OK) {
		r = ipc_reader_of(buf_str(&m.body));
		out->uidvalidity = ipc_get_u32(&r);
		n = ipc_get_u32(&r);
		for (uint32_t i = 0; i < n && !r.err; i++) {
			uint32_t src = ipc_get_u32(&r), dst = ipc_get_u32(&r);

			if (!r.err) {
				numset_add(&out->src, src);
				numset_add(&out->dst, dst);
			}
		}
		e = client_answer_end(u, &r);
	}
	if (e) {
		numset_free(&out->src);
		numset_free(&out->dst);
	}
	ipc_msg_free(&m);
	buf_free(&body);
	return e;
}

enum err
index_claim_recent(struct index_user *u, uint32_t mailbox, uint32_t *first)
{
	struct buf body = {0};
	struct ipc_msg m;
	struct ipc_reader r;
	enum err e = client_mailbox_check(u, mailbox);

	*first = UINT32_MAX;
	/* Nothing is \Recent to a guest. */
	if (e || index_mailbox_is_shared(mailbox)) {
		return e;
	}
	ipc_put_u32(&body, mailbox);
	e = client_request(u, INDEX_CLAIM_RECENT, &body, INDEX_RECENT, &m);
	if (e == OK) {
		uint32_t uid;

		r = ipc_reader_of(buf_str(&m.body));
		uid = ipc_get_u32(&r);
		e = client_answer_end(u, &r);
		if (e == OK) {
			*first = uid;
		}
	}
	ipc_msg_free(&m);
	buf_free(&body);
	return e;
}

enum err
index_refresh(struct index_user *u, uint32_t mailbox)
{
	struct buf body = {0};
	enum err e;

	u = client_route(u, &mailbox);
	e = client_mailbox_check(u, mailbox);
	if (e) {
		return e;
	}
	ipc_put_u32(&body, mailbox);
	return request_ok(u, INDEX_REFRESH, &body);
}

enum err
index_refresh_tree(struct index_user *u)
{
	struct buf body = {0};

	ipc_put_u32(&body, INDEX_PROTO_TREE);
	return request_ok(u, INDEX_REFRESH, &body);
}
