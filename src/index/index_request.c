/* SPDX-License-Identifier: MIT */
#include "index/index_request.h"

#include <stdlib.h>
#include <string.h>

#include "index/index_proto.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/metrics.h"

/* From frames to calls of the core and back. Each function answers unless it returns E_PROTO. */

void
index_answer_error(struct index_conn *c, uint32_t request, enum err e, const char *text)
{
	struct buf body = {0};

	ipc_put_u32(&body, (uint32_t)e);
	ipc_put_cstr(&body, text);
	index_answer_send(c, INDEX_ERROR, request, &body);
}

void
index_answer_ok(struct index_conn *c, uint32_t request)
{
	struct buf body = {0};

	index_answer_send(c, INDEX_OK, request, &body);
}

/* Ascending and disjoint ranges; else E_PROTO in r->err. */
void
index_frame_get_set(struct ipc_reader *r, struct numset *out)
{
	uint32_t n = ipc_get_u32(r);
	uint64_t least = 0;

	if (n > INDEX_PROTO_RANGES_MAX)
		r->err = E_PROTO;
	for (uint32_t i = 0; i < n && !r->err; i++) {
		uint32_t first = ipc_get_u32(r), last = ipc_get_u32(r);

		if (r->err)
			break;
		if (first < least || first > last || first == 0)
			r->err = E_PROTO;
		else
			numset_add_range(out, first, last);
		least = (uint64_t)last + 1;
	}
}

void
index_frame_put_set(struct buf *b, const struct numset *s)
{
	ipc_put_u32(b, (uint32_t)s->count);
	for (size_t i = 0; i < s->count; i++) {
		ipc_put_u32(b, s->ranges[i].first);
		ipc_put_u32(b, s->ranges[i].last);
	}
}

/* At most INDEX_KEYWORDS_MAX; the strings are borrowed from the frame. */
size_t
index_frame_get_keywords(struct ipc_reader *r, struct str words[INDEX_KEYWORDS_MAX])
{
	uint32_t n = ipc_get_u32(r);

	if (n > INDEX_KEYWORDS_MAX) {
		r->err = E_PROTO;
		return 0;
	}
	for (uint32_t i = 0; i < n; i++)
		words[i] = ipc_get_str(r);
	return r->err ? 0 : n;
}

typedef enum err request_fn(struct index_conn *c, uint32_t request, struct ipc_reader *r);

/* ---- mailboxes ---- */

static enum err
run_create(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	struct str name = ipc_get_str(r);
	uint32_t use = ipc_get_u32(r), id;
	struct buf body = {0};
	enum err e;

	if (ipc_reader_end(r))
		return E_PROTO;
	e = index_core_create(c->user->core, name, use, &id);
	if (e)
		return e;
	index_shared_learn(c->user);
	ipc_put_u32(&body, id);
	index_answer_send(c, INDEX_MAILBOX, request, &body);
	return OK;
}

static enum err
run_delete(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	struct str name = ipc_get_str(r);
	enum err e;

	if (ipc_reader_end(r))
		return E_PROTO;
	e = index_core_delete(c->user->core, name);
	if (e == OK) {
		index_shared_learn(c->user);
		index_answer_ok(c, request);
	}
	return e;
}

static enum err
run_rename(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	struct str from = ipc_get_str(r), to = ipc_get_str(r);
	enum err e;

	if (ipc_reader_end(r))
		return E_PROTO;
	e = index_core_rename(c->user->core, from, to);
	if (e == OK) {
		index_shared_learn(c->user);
		index_answer_ok(c, request);
	}
	return e;
}

static enum err
run_subscribe(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	struct str name = ipc_get_str(r);
	int on = ipc_get_u8(r);
	enum err e;

	if (ipc_reader_end(r))
		return E_PROTO;
	e = index_core_subscribe(c->user->core, name, on);
	if (e == OK)
		index_answer_ok(c, request);
	return e;
}

/* ---- messages ---- */

static void
get_id(struct ipc_reader *r, unsigned char out[16])
{
	struct str id = ipc_get_str(r);

	if (id.len == 16)
		memcpy(out, id.p, 16);
	else if (id.len)
		r->err = E_PROTO;
}

void
index_frame_get_append(struct ipc_reader *r, struct index_core_append *m)
{
	struct str *words = mem_alloc(INDEX_KEYWORDS_MAX * sizeof(*words));

	m->tmp_name = ipc_get_str(r);
	m->flags = ipc_get_u8(r);
	m->keywords = words;
	m->keyword_count = index_frame_get_keywords(r, words);
	m->size = ipc_get_u64(r);
	m->stored_size = ipc_get_u64(r);
	get_id(r, m->email_id);
	get_id(r, m->thread_id);
	m->cache = ipc_get_str(r);
	if (m->cache.len > INDEX_PROTO_CACHE_MAX)
		m->cache = (struct str){0};
	if (m->keyword_count == 0) {
		free(words);
		m->keywords = NULL;
	}
}

void
index_answer_committed(struct index_conn *c, uint32_t request, uint32_t uidvalidity,
	uint64_t modseq, uint32_t first, uint32_t n)
{
	struct buf body = {0};

	ipc_put_u32(&body, uidvalidity);
	ipc_put_u64(&body, modseq);
	ipc_put_u32(&body, n);
	for (uint32_t i = 0; i < n; i++)
		ipc_put_u32(&body, first + i);
	index_answer_send(c, INDEX_COMMITTED, request, &body);
}

static enum err
run_append(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	uint32_t mailbox = ipc_get_u32(r), n = ipc_get_u32(r), uidvalidity, first;
	struct index_core_append *msgs;
	uint64_t modseq;
	enum err e;

	if (r->err || n == 0 || n > INDEX_PROTO_APPEND_MAX)
		return E_PROTO;
	msgs = mem_zalloc(n * sizeof(*msgs));
	for (uint32_t i = 0; i < n && !r->err; i++)
		index_frame_get_append(r, &msgs[i]);
	e = ipc_reader_end(r);
	if (e == OK)
		e = index_core_append(
			c->user->core, mailbox, msgs, n, &uidvalidity, &modseq, &first);
	if (e == OK)
		index_answer_committed(c, request, uidvalidity, modseq, first, n);
	for (uint32_t i = 0; i < n; i++)
		free((void *)msgs[i].keywords);
	free(msgs);
	return e;
}

static enum err
run_replace(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	uint32_t from = ipc_get_u32(r), uid = ipc_get_u32(r);
	uint32_t mailbox = ipc_get_u32(r), n = ipc_get_u32(r), uidvalidity, new_uid;
	struct index_core_append m = {0};
	uint64_t modseq;
	enum err e;

	if (r->err || n != 1)
		return E_PROTO;
	index_frame_get_append(r, &m);
	e = ipc_reader_end(r);
	if (e == OK)
		e = index_core_replace(
			c->user->core, from, uid, mailbox, &m, &uidvalidity, &modseq, &new_uid);
	if (e == OK)
		index_answer_committed(c, request, uidvalidity, modseq, new_uid, 1);
	free((void *)m.keywords);
	return e;
}

static enum err
run_store(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	struct numset uids = {0}, conflicts = {0};
	struct str words[INDEX_KEYWORDS_MAX];
	struct index_core_store s = {.uids = &uids, .keywords = words};
	uint32_t mailbox = ipc_get_u32(r);
	struct buf body = {0};
	uint64_t modseq;
	unsigned op;
	enum err e;

	index_frame_get_set(r, &uids);
	op = ipc_get_u8(r);
	s.op = (enum index_store_op)op;
	s.flags = ipc_get_u8(r);
	s.unchanged_since = ipc_get_u64(r);
	s.keyword_count = index_frame_get_keywords(r, words);
	e = op > INDEX_STORE_REPLACE ? E_PROTO : ipc_reader_end(r);
	if (e == OK)
		e = index_core_store(c->user->core, mailbox, &s, &conflicts, &modseq);
	if (e == OK) {
		ipc_put_u64(&body, modseq);
		index_frame_put_set(&body, &conflicts);
		index_answer_send(c, INDEX_STORED, request, &body);
	}
	numset_free(&uids);
	numset_free(&conflicts);
	return e;
}

static enum err
run_expunge(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	struct numset uids = {0}, gone = {0};
	uint32_t mailbox = ipc_get_u32(r);
	int force = ipc_get_u8(r), all = ipc_get_u8(r);
	struct buf body = {0};
	uint64_t modseq;
	enum err e;

	index_frame_get_set(r, &uids);
	e = ipc_reader_end(r);
	if (e == OK)
		e = index_core_expunge(
			c->user->core, mailbox, all ? NULL : &uids, force, &gone, &modseq);
	if (e == OK) {
		ipc_put_u64(&body, modseq);
		index_frame_put_set(&body, &gone);
		index_answer_send(c, INDEX_EXPUNGED, request, &body);
	}
	numset_free(&uids);
	numset_free(&gone);
	return e;
}

static enum err
run_copy(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	uint32_t from = ipc_get_u32(r), to = ipc_get_u32(r), uidvalidity;
	struct index_core_pair *pairs = NULL;
	unsigned how = ipc_get_u32(r);
	struct numset uids = {0};
	struct buf body = {0};
	size_t count;
	enum err e;

	index_frame_get_set(r, &uids);
	e = ipc_reader_end(r);
	if (e == OK)
		e = index_core_copy(
			c->user->core, from, to, &uids, how, &uidvalidity, &pairs, &count);
	if (e == OK) {
		ipc_put_u32(&body, uidvalidity);
		ipc_put_u32(&body, (uint32_t)count);
		for (size_t i = 0; i < count; i++) {
			ipc_put_u32(&body, pairs[i].src);
			ipc_put_u32(&body, pairs[i].dst);
		}
		index_answer_send(c, INDEX_COPIED, request, &body);
	}
	free(pairs);
	numset_free(&uids);
	return e;
}

static enum err
run_claim_recent(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	uint32_t mailbox = ipc_get_u32(r), first;
	struct buf body = {0};
	enum err e = ipc_reader_end(r);

	if (e == OK)
		e = index_core_claim_recent(c->user->core, mailbox, &first);
	if (e)
		return e;
	ipc_put_u32(&body, first);
	index_answer_send(c, INDEX_RECENT, request, &body);
	return OK;
}

/* These two have no answer; only a broken frame or index is worth a word. */
static enum err
run_cache_put(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	uint32_t mailbox = ipc_get_u32(r), uid = ipc_get_u32(r);
	struct index_core_note n = {.mailbox = mailbox, .uid = uid, .blob = ipc_get_str(r)};

	(void)request;
	if (ipc_reader_end(r))
		return E_PROTO;
	atomic_fetch_add(&c->worker->parsed_by_sessions, 1);
	if (n.blob.len && n.blob.len <= INDEX_PROTO_CACHE_MAX)
		index_note_add(c->user, &n);
	return OK;
}

static enum err
run_facts_put(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	struct index_core_note n = {.has_facts = 1};

	(void)request;
	n.mailbox = ipc_get_u32(r);
	n.uid = ipc_get_u32(r);
	n.size = ipc_get_u64(r);
	n.date = (int64_t)ipc_get_u64(r);
	get_id(r, n.email_id);
	get_id(r, n.thread_id);
	if (ipc_reader_end(r))
		return E_PROTO;
	index_note_add(c->user, &n);
	return OK;
}

static enum err
run_locate(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	uint32_t mailbox = ipc_get_u32(r), uid = ipc_get_u32(r);
	struct buf path = {0}, body = {0};
	enum err e = ipc_reader_end(r);

	if (e == OK)
		e = index_core_locate(c->user->core, mailbox, uid, &path);
	if (e == OK) {
		ipc_put_str(&body, buf_str(&path));
		index_answer_send(c, INDEX_PATH, request, &body);
	}
	buf_free(&path);
	return e;
}

/* ---- annotations and rights ---- */

enum err
index_frame_get_metadata(
	struct ipc_reader *r, uint32_t *mailbox, struct index_metadata **list, uint32_t *count)
{
	struct index_metadata *l;
	uint32_t n;

	*list = NULL;
	*mailbox = ipc_get_u32(r);
	*count = n = ipc_get_u32(r);
	if (r->err || n == 0 || n > INDEX_PROTO_ENTRIES_MAX)
		return E_PROTO;
	l = mem_zalloc(n * sizeof(*l));
	for (uint32_t i = 0; i < n; i++) {
		l[i].name = ipc_get_str(r);
		l[i].is_nil = ipc_get_u8(r);
		l[i].value = ipc_get_str(r);
	}
	if (ipc_reader_end(r)) {
		free(l);
		return E_PROTO;
	}
	*list = l;
	return OK;
}

enum err
index_frame_get_acl(struct ipc_reader *r, struct index_acl_change *out)
{
	unsigned op;

	out->mailbox = ipc_get_u32(r);
	op = ipc_get_u8(r);
	out->identifier = ipc_get_str(r);
	out->rights = ipc_get_str(r);
	if (ipc_reader_end(r) || op > INDEX_ACL_DELETE)
		return E_PROTO;
	out->op = (enum index_acl_op)op;
	return OK;
}

static enum err
run_metadata_set(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	struct index_metadata *list;
	uint32_t mailbox, n;
	enum err e = index_frame_get_metadata(r, &mailbox, &list, &n);

	if (e == OK)
		e = index_core_metadata_set(c->user->core, mailbox, list, n);
	if (e == OK)
		index_answer_ok(c, request);
	free(list);
	return e;
}

static enum err
run_acl_set(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	struct index_acl_change acl;
	enum err e = index_frame_get_acl(r, &acl);

	if (e == OK)
		e = index_core_acl_set(
			c->user->core, acl.mailbox, acl.identifier, acl.op, acl.rights);
	if (e == OK) {
		index_shared_learn(c->user);
		index_guest_settle_all(c->user);
		index_answer_ok(c, request);
	}
	return e;
}

/* ---- URLs with an authorization ---- */

/* By this connection's own name alone, so that nobody else's table of keys is asked. */
static enum err
url_sign(struct index_conn *c, struct str text, const struct index_url_box *shared,
	char token[INDEX_URL_TOKEN_SIZE])
{
	struct imap_url url;
	char *user = NULL;
	enum err e = imap_url_parse_auth(text, 1, &url) ? E_RANGE : OK;

	if (e == OK) {
		user = imap_url_user(url.user, c->user->name);
		e = strcmp(user, c->user->name) == 0 ? OK : E_RANGE;
	}
	if (e == OK)
		e = index_core_url_token(c->user->core, &url, shared, token);
	free(user);
	imap_url_fini(&url);
	return e;
}

/* To the end of the frame. *is_shared: it is another's. */
static enum err
get_url_box(struct ipc_reader *r, struct index_url_box *out, int *is_shared)
{
	out->owner = ipc_get_str(r);
	out->object_id = ipc_get_str(r);
	*is_shared = out->owner.len > 0 || out->object_id.len > 0;
	if (ipc_reader_end(r) || (*is_shared && !index_url_box_is_sound(out)))
		return E_PROTO;
	return OK;
}

static enum err
run_url_sign(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	struct str text = ipc_get_str(r);
	char token[INDEX_URL_TOKEN_SIZE];
	struct index_url_box shared;
	struct buf body = {0};
	int first, is_shared;
	enum err e = get_url_box(r, &shared, &is_shared);

	if (e)
		return e;
	first = !index_core_url_any(c->user->core);
	e = url_sign(c, text, is_shared ? &shared : NULL, token);
	if (e)
		return e;
	if (first)
		index_shared_learn(c->user);
	ipc_put_cstr(&body, token);
	index_answer_send(c, INDEX_URL_SIGNED, request, &body);
	return OK;
}

struct url_gone {
	struct buf boxes;
	uint32_t n;
};

static void
url_gone_one(const struct index_url_box *b, void *arg)
{
	struct url_gone *g = arg;

	ipc_put_str(&g->boxes, b->owner);
	ipc_put_str(&g->boxes, b->object_id);
	g->n++;
}

static enum err
run_url_reset(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	struct str mailbox = ipc_get_str(r);
	struct index_url_box shared;
	struct url_gone gone = {0};
	struct buf body = {0};
	int is_shared;
	enum err e = get_url_box(r, &shared, &is_shared);

	if (e)
		return e;
	if (is_shared) {
		e = index_core_url_reset_shared(c->user->core, &shared);
		url_gone_one(&shared, &gone);
	} else if (mailbox.len > 0) {
		e = index_core_url_reset(c->user->core, mailbox);
	} else {
		e = index_core_url_reset_all(c->user->core, url_gone_one, &gone);
	}
	if (e == OK) {
		index_shared_learn(c->user);
		ipc_put_u32(&body, gone.n);
		(void)buf_add_buf(&body, &gone.boxes);
		index_answer_send(c, INDEX_URL_GONE, request, &body);
	}
	buf_free(&gone.boxes);
	return e;
}

/* ---- news ---- */

/* 1: the look takes long, is done in another thread, and the answer follows it. */
static int
look_elsewhere(struct index_conn *c, uint32_t mailbox, uint32_t request)
{
	struct numset boxes = {0};
	int is_away;

	if (mailbox)
		numset_add(&boxes, mailbox);
	is_away = index_away_look(c->user, mailbox ? &boxes : NULL, c, request);
	numset_free(&boxes);
	return is_away;
}

static enum err
run_refresh(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	uint32_t mailbox = ipc_get_u32(r);
	enum err e = ipc_reader_end(r);

	if (e == OK && mailbox == INDEX_PROTO_TREE)
		e = index_core_refresh_tree(c->user->core);
	else if (e == OK && look_elsewhere(c, mailbox, request))
		return OK;
	else if (e == OK)
		e = index_core_refresh(c->user->core, mailbox);
	if (e == OK)
		index_answer_ok(c, request);
	return e;
}

static enum err
run_watch(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	uint32_t mailbox = ipc_get_u32(r);
	int on = ipc_get_u8(r);

	if (ipc_reader_end(r))
		return E_PROTO;
	if (mailbox == 0) {
		c->watch_all = on;
		if (!on)
			numset_free(&c->watch);
	} else if (on && c->watch.count >= INDEX_MAILBOXES_MAX) {
		return E_TOOBIG;
	} else if (on) {
		numset_add(&c->watch, mailbox);
	} else {
		numset_remove_range(&c->watch, mailbox, mailbox);
	}
	index_watch_sync(c->user);
	/* What another program did before the kernel watched is news now or never. */
	if (on && look_elsewhere(c, mailbox, request))
		return OK;
	if (on && index_core_refresh(c->user->core, mailbox) == E_CORRUPT)
		return E_CORRUPT;
	index_answer_ok(c, request);
	return OK;
}

static enum err
run_sleep_seal(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	uint32_t mailbox = ipc_get_u32(r);
	struct buf token = {0}, body = {0};
	enum err e = ipc_reader_end(r);

	if (e == OK)
		e = index_sleep_seal(c->user, mailbox, 0, &token);
	if (e == OK) {
		ipc_put_str(&body, buf_str(&token));
		index_answer_send(c, INDEX_SLEEP_TOKEN, request, &body);
	}
	buf_free(&token);
	return e;
}

static enum err
run_quota_get(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	struct buf body = {0};
	struct index_quota q;

	if (ipc_reader_end(r))
		return E_PROTO;
	index_core_quota(c->user->core, &q);
	ipc_put_u64(&body, q.bytes);
	ipc_put_u64(&body, q.bytes_limit);
	ipc_put_u64(&body, q.messages);
	ipc_put_u64(&body, q.messages_limit);
	index_answer_send(c, INDEX_QUOTA, request, &body);
	return OK;
}

static enum err
run_corrupt(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	struct str what = ipc_get_str(r);
	struct index_user_entry *u = c->user;
	struct timeval now = {0, 0};

	if (ipc_reader_end(r))
		return E_PROTO;
	log_event(
		LOGL_ERROR, "index.corrupt reported", "user", u->name, "what", log_str(what), NULL);
	index_answer_ok(c, request);
	u->corrupt = 1;
	event_add(u->background, &now);
	return OK;
}

static enum err
run_shared_get(struct index_conn *c, uint32_t request, struct ipc_reader *r)
{
	struct buf body = {0};
	enum err e;

	if (ipc_reader_end(r))
		return E_PROTO;
	e = index_shared_grants(c, &body);
	if (e == OK)
		index_answer_send(c, INDEX_SHARED, request, &body);
	buf_free(&body);
	return e;
}

static const struct {
	uint16_t type;
	request_fn *run;
	const char *name;
} requests[] = {
	{INDEX_CREATE, run_create, "create"},
	{INDEX_DELETE, run_delete, "delete"},
	{INDEX_RENAME, run_rename, "rename"},
	{INDEX_SUBSCRIBE, run_subscribe, "subscribe"},
	{INDEX_APPEND, run_append, "append"},
	{INDEX_REPLACE, run_replace, "replace"},
	{INDEX_STORE, run_store, "store"},
	{INDEX_EXPUNGE, run_expunge, "expunge"},
	{INDEX_COPY, run_copy, "copy"},
	{INDEX_CLAIM_RECENT, run_claim_recent, "claim recent"},
	{INDEX_CACHE_PUT, run_cache_put, "cache put"},
	{INDEX_FACTS_PUT, run_facts_put, "facts put"},
	{INDEX_LOCATE, run_locate, "locate"},
	{INDEX_METADATA_SET, run_metadata_set, "set metadata"},
	{INDEX_ACL_SET, run_acl_set, "set rights"},
	{INDEX_REFRESH, run_refresh, "refresh"},
	{INDEX_WATCH, run_watch, "watch"},
	{INDEX_QUOTA_GET, run_quota_get, "quota"},
	{INDEX_CORRUPT, run_corrupt, "corrupt"},
	{INDEX_SLEEP_SEAL, run_sleep_seal, "sleep seal"},
	{INDEX_SHARED_GET, run_shared_get, "shared"},
	{INDEX_URL_SIGN, run_url_sign, "sign url"},
	{INDEX_URL_RESET, run_url_reset, "reset url key"},
};

static enum err
dispatch(struct index_conn *c, struct ipc_msg *m, const char **name)
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

enum err
index_request_run(struct index_conn *c, struct ipc_msg *m)
{
	struct index_user_entry *u = c->user;
	const char *name = "unknown";
	int64_t start = metrics_now_us();
	enum err e;

	/* Cheap, but not for nothing; where inotify works it was there before. */
	if ((m->type == INDEX_REFRESH || m->type == INDEX_WATCH) &&
		(index_user_look_for_files(u) || c->user != u))
		return OK;
	if (u->corrupt) {
		index_answer_error(c, m->request, E_TEMPFAIL, "the index is being rebuilt");
		return OK;
	}
	if (c->guest)
		e = index_guest_dispatch(c, m, &name);
	else
		e = dispatch(c, m, &name);
	if (c->user != u)
		return OK;
	if (e && e != E_PROTO)
		index_answer_error(c, m->request, e, name);
	if (e)
		metrics_add(METRIC_INDEX_ERRORS, 1);
	metrics_observe_us(METRIC_INDEX_REQUEST_DURATION, metrics_now_us() - start);
	index_user_touch(u);
	return e;
}
