/* SPDX-License-Identifier: MIT */
#include "index/client_shared.h"

#include <stdlib.h>
#include <string.h>

#include "lib/hex.h"
#include "lib/mem.h"

enum err
client_get(struct index_user *u, enum index_db db, struct index_key *key, MDB_val *out)
{
	MDB_val k = index_key_val(key);
	int rc;

	/* Of a guest's index, which could not be had when the user's transaction began. */
	if (u->depth == 0)
		return E_TEMPFAIL;
	rc = mdb_get(u->txn, u->env->dbi[db], &k, out);
	return rc == 0 ? OK : rc == MDB_NOTFOUND ? E_NOTFOUND : index_err_of_mdb(rc, "get");
}

/* ---- mailboxes ---- */

enum err
client_mailbox_record(struct index_user *u, uint32_t mailbox, struct index_mailbox_record *out)
{
	struct index_key key = index_key_u32(mailbox);
	MDB_val v;
	enum err e = client_mailbox_check(u, mailbox);

	e = e ? e : client_get(u, INDEX_DB_MAILBOX, &key, &v);
	if (e) {
		return e;
	}
	return index_mailbox_decode(&v, out) ? client_corrupt(u, "mailbox") : OK;
}

static void
mailbox_fill(const struct index_mailbox_record *r, struct index_mailbox *out)
{
	*out = (struct index_mailbox){
		.id = r->id,
		.name = str_dup(r->name),
		.uidvalidity = r->uidvalidity,
		.uidnext = r->uidnext,
		.messages = r->messages,
		.unseen = r->unseen,
		.deleted = r->deleted,
		.recent_from = r->recent_from,
		.highest_modseq = r->highest_modseq,
		.size_bytes = r->size_bytes,
		.special_use = r->special_use,
	};
	hex_write(r->object_id, sizeof(r->object_id), out->object_id);
}

void
index_mailbox_free(struct index_mailbox *m)
{
	MEM_FREE(m->name);
}

enum err
index_mailbox_get_id(struct index_user *u, uint32_t id, struct index_mailbox *out)
{
	struct index_mailbox_record r;
	uint32_t given = id;
	struct index_user *g = client_route(u, &id);
	enum err e;

	*out = (struct index_mailbox){0};
	e = index_read_begin(g);
	if (e) {
		return e;
	}
	e = client_mailbox_record(g, id, &r);
	if (e == OK) {
		mailbox_fill(&r, out);
	}
	index_read_end(g);
	if (e == OK && g != u) {
		client_shared_name(u, given, out);
	}
	return e;
}

/* The id behind a name, inside a transaction. */
static enum err
mailbox_id(struct index_user *u, struct str name, uint32_t *id)
{
	const struct str inbox = STR("INBOX");
	char clean[INDEX_MAILBOX_NAME_MAX];
	MDB_val k, v;
	int rc;

	/* LMDB takes no empty key and none over 511 bytes. */
	if (name.len == 0 || name.len > INDEX_MAILBOX_NAME_MAX) {
		return E_NOTFOUND;
	}
	/* RFC 9051 section 5.1: INBOX in any case, and so what is below it. */
	if (str_starts_i(name, inbox.p) && (name.len == inbox.len || name.p[inbox.len] == '/')) {
		memcpy(clean, name.p, name.len);
		memcpy(clean, inbox.p, inbox.len);
		name.p = clean;
	}
	k = (MDB_val){.mv_size = name.len, .mv_data = (void *)name.p};
	rc = mdb_get(u->txn, u->env->dbi[INDEX_DB_MAILBOX_NAME], &k, &v);
	if (rc != 0) {
		return rc == MDB_NOTFOUND ? E_NOTFOUND : index_err_of_mdb(rc, "mailbox name");
	}
	return index_key_get_u32(&v, id) ? client_corrupt(u, "mailbox name") : OK;
}

static enum err
mailbox_get_once(struct index_user *u, struct str name, struct index_mailbox *out)
{
	uint32_t id = 0;
	enum err e;

	*out = (struct index_mailbox){0};
	e = index_read_begin(u);
	if (e) {
		return e;
	}
	e = mailbox_id(u, name, &id);
	e = e ? e : index_mailbox_get_id(u, id, out);
	index_read_end(u);
	return e;
}

enum err
index_mailbox_get(struct index_user *u, struct str name, struct index_mailbox *out)
{
	enum err e = mailbox_get_once(u, name, out);

	if (e == E_NOTFOUND && client_shared_is_name(u, name)) {
		e = client_shared_get(u, name, out);
	}
	/* Another program may just have made it. */
	if (e == E_NOTFOUND && u->depth == 0 && u->ticket != NULL && index_refresh_tree(u) == OK) {
		e = mailbox_get_once(u, name, out);
	}
	return e;
}

/* Goes through a whole sub-database in the order of its keys. */
static enum err
each_entry(struct index_user *u, enum index_db db,
	enum err (*cb)(struct index_user *u, const MDB_val *k, const MDB_val *v, void *ctx),
	void *ctx)
{
	MDB_cursor *c;
	MDB_val k, v;
	int rc;
	enum err e = index_read_begin(u);

	if (e) {
		return e;
	}
	rc = mdb_cursor_open(u->txn, u->env->dbi[db], &c);
	if (rc == 0) {
		while (e == OK && (rc = mdb_cursor_get(c, &k, &v, MDB_NEXT)) == 0) {
			e = cb(u, &k, &v, ctx);
		}
		mdb_cursor_close(c);
	}
	if (e == OK && rc != MDB_NOTFOUND) {
		e = index_err_of_mdb(rc, "list");
	}
	index_read_end(u);
	return e;
}

struct mailbox_each {
	enum err (*cb)(const struct index_mailbox *m, void *arg);
	void *arg;
};

static enum err
mailbox_entry(struct index_user *u, const MDB_val *k, const MDB_val *v, void *ctx)
{
	const struct mailbox_each *each = ctx;
	struct index_mailbox m = {0};
	uint32_t id;
	enum err e;

	(void)k;
	if (index_key_get_u32(v, &id)) {
		return client_corrupt(u, "mailbox name");
	}
	e = index_mailbox_get_id(u, id, &m);
	if (e == OK) {
		e = each->cb(&m, each->arg);
	} else if (e == E_NOTFOUND) {
		e = OK; /* of a dead id, see find_dead */
	}
	index_mailbox_free(&m);
	return e;
}

enum err
index_mailbox_each(
	struct index_user *u, enum err (*cb)(const struct index_mailbox *m, void *arg), void *arg)
{
	struct mailbox_each each = {.cb = cb, .arg = arg};
	enum err e = each_entry(u, INDEX_DB_MAILBOX_NAME, mailbox_entry, &each);

	return e == OK && u->shares ? client_shared_each(u, cb, arg) : e;
}

struct subscription_each {
	enum err (*cb)(struct str name, void *arg);
	void *arg;
};

static enum err
subscription_entry(struct index_user *u, const MDB_val *k, const MDB_val *v, void *ctx)
{
	const struct subscription_each *each = ctx;

	(void)u;
	(void)v;
	return each->cb(str_make(k->mv_data, k->mv_size), each->arg);
}

enum err
index_subscription_each(struct index_user *u, enum err (*cb)(struct str name, void *arg), void *arg)
{
	struct subscription_each each = {.cb = cb, .arg = arg};

	return each_entry(u, INDEX_DB_SUBSCRIPTION, subscription_entry, &each);
}

/* ---- keywords ---- */

static enum err
keywords_read(struct index_user *u, MDB_cursor *c, uint32_t mailbox, char ***names, size_t *count)
{
	struct index_key key = index_key_keyword(mailbox, 0);
	MDB_val k = index_key_val(&key), v;
	int rc = mdb_cursor_get(c, &k, &v, MDB_SET_RANGE);

	for (; rc == 0; rc = mdb_cursor_get(c, &k, &v, MDB_NEXT)) {
		uint32_t id;
		unsigned bit;

		if (index_key_get_keyword(&k, &id, &bit)) {
			return client_corrupt(u, "keyword");
		}
		if (id != mailbox) {
			return OK;
		}
		if (bit < *count || bit >= INDEX_KEYWORDS_MAX ||
			v.mv_size > INDEX_KEYWORD_LEN_MAX) {
			return client_corrupt(u, "keyword");
		}
		*names = mem_realloc(*names, bit + 1, sizeof(char *));
		while (*count < bit) {
			(*names)[(*count)++] = mem_strdup("");
		}
		(*names)[(*count)++] = mem_strndup(v.mv_data, v.mv_size);
	}
	return rc == MDB_NOTFOUND ? OK : index_err_of_mdb(rc, "keywords");
}

enum err
index_mailbox_keywords(struct index_user *u, uint32_t mailbox, char ***names, size_t *count)
{
	MDB_cursor *c;
	int rc;
	enum err e;

	*names = NULL;
	*count = 0;
	u = client_route(u, &mailbox);
	e = client_mailbox_check(u, mailbox);
	e = e ? e : index_read_begin(u);
	if (e) {
		return e;
	}
	rc = mdb_cursor_open(u->txn, u->env->dbi[INDEX_DB_KEYWORD], &c);
	if (rc == 0) {
		e = keywords_read(u, c, mailbox, names, count);
		mdb_cursor_close(c);
	} else {
		e = index_err_of_mdb(rc, "keywords");
	}
	index_read_end(u);
	if (e) {
		index_names_free(names, *count);
		*count = 0;
	}
	return e;
}

enum err
client_meta(struct index_user *u, enum index_meta what, uint32_t mailbox, uint64_t *out)
{
	struct index_key key = index_key_meta(what, mailbox);
	MDB_val v;
	enum err e = index_read_begin(u);

	*out = 0;
	if (e) {
		return e;
	}
	e = client_get(u, INDEX_DB_META, &key, &v);
	if (e == OK && v.mv_size == sizeof(*out)) {
		memcpy(out, v.mv_data, sizeof(*out));
	}
	index_read_end(u);
	return e == E_NOTFOUND ? OK : e;
}

enum err
index_mailbox_keywords_epoch(struct index_user *u, uint32_t mailbox, uint64_t *epoch)
{
	u = client_route(u, &mailbox);
	return client_meta(u, INDEX_META_KEYWORDS, mailbox, epoch);
}

void
index_names_free(char ***names, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free((*names)[i]);
	}
	MEM_FREE(*names);
}

/* ---- messages ---- */

static void
message_fill(uint32_t uid, const struct index_message_record *r, struct index_message *out)
{
	*out = (struct index_message){
		.uid = uid,
		.modseq = r->modseq,
		.flags = r->flags,
		.keywords = r->keywords,
		.internal_date = r->internal_date,
		.save_date = r->save_date,
		.size = r->size,
		.disk_size = r->disk_size,
		.file = str_make(r->name.p, r->base_len),
	};
	memcpy(out->email_id, r->email_id, sizeof(out->email_id));
	memcpy(out->thread_id, r->thread_id, sizeof(out->thread_id));
}

enum err
index_message_facts(struct index_user *u, uint32_t mailbox, struct index_message *m)
{
	struct index_message_record r;
	struct client_facts facts;
	enum err e;

	if (m->size != INDEX_SIZE_UNKNOWN && m->internal_date != 0)
		return OK;
	u = client_route(u, &mailbox);
	e = client_message_record(u, mailbox, m->uid, &r);
	e = e ? e : client_facts(u, mailbox, m->uid, &r, &facts);
	if (e == E_NOTFOUND) {
		/* The file went a moment ago and the service does not know yet. */
		facts.size = m->size == INDEX_SIZE_UNKNOWN ? m->disk_size : m->size;
		facts.internal_date = m->internal_date ? m->internal_date : m->save_date;
		e = OK;
	}
	if (!e) {
		m->size = facts.size;
		m->internal_date = facts.internal_date;
	}
	return e;
}

enum err
client_message_record(
	struct index_user *u, uint32_t mailbox, uint32_t uid, struct index_message_record *out)
{
	struct index_key key = index_key_message(mailbox, uid);
	MDB_val v;
	enum err e = client_mailbox_check(u, mailbox);

	e = e ? e : client_get(u, INDEX_DB_MESSAGE, &key, &v);
	if (e) {
		return e;
	}
	return index_message_decode(&v, out) ? client_corrupt(u, "message") : OK;
}

enum err
index_message_get(struct index_user *u, uint32_t mailbox, uint32_t uid, struct index_message *out)
{
	struct index_message_record r;
	enum err e;

	u = client_route(u, &mailbox);
	e = client_message_record(u, mailbox, uid, &r);
	if (!e)
		message_fill(uid, &r, out);
	return e;
}

static enum err
messages_walk(struct index_user *u, MDB_cursor *c, uint32_t mailbox, uint32_t first, uint32_t last,
	enum err (*cb)(const struct index_message *m, void *arg), void *arg)
{
	struct index_key key = index_key_message(mailbox, first);
	MDB_val k = index_key_val(&key), v;
	int rc = mdb_cursor_get(c, &k, &v, MDB_SET_RANGE);

	for (; rc == 0; rc = mdb_cursor_get(c, &k, &v, MDB_NEXT)) {
		struct index_message_record r;
		struct index_message m;
		uint32_t id, uid;
		enum err e;

		if (index_key_get_message(&k, &id, &uid)) {
			return client_corrupt(u, "message key");
		}
		if (id != mailbox || uid > last) {
			return OK;
		}
		if (index_message_decode(&v, &r)) {
			return client_corrupt(u, "message");
		}
		message_fill(uid, &r, &m);
		e = cb(&m, arg);
		if (e) {
			return e;
		}
	}
	return rc == MDB_NOTFOUND ? OK : index_err_of_mdb(rc, "messages");
}

enum err
index_message_each(struct index_user *u, uint32_t mailbox, uint32_t first, uint32_t last,
	enum err (*cb)(const struct index_message *m, void *arg), void *arg)
{
	MDB_cursor *c;
	int rc;
	enum err e;

	u = client_route(u, &mailbox);
	e = client_mailbox_check(u, mailbox);
	e = e ? e : index_read_begin(u);
	if (e) {
		return e;
	}
	rc = mdb_cursor_open(u->txn, u->env->dbi[INDEX_DB_MESSAGE], &c);
	if (rc == 0) {
		e = messages_walk(u, c, mailbox, first, last, cb, arg);
		mdb_cursor_close(c);
	} else {
		e = index_err_of_mdb(rc, "messages");
	}
	index_read_end(u);
	return e;
}
