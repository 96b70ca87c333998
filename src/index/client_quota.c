/* SPDX-License-Identifier: MIT */
#include "index/client_shared.h"

#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"

/* Inside a read transaction. */
static enum err
state_get(struct index_user *u, struct index_state *out)
{
	MDB_val k = {.mv_size = 5, .mv_data = (void *)"state"}, v;

	if (mdb_get(u->txn, u->env->dbi[INDEX_DB_META], &k, &v) != 0 ||
		index_state_decode(&v, out)) {
		return client_corrupt(u, "state");
	}
	return OK;
}

static struct index_quota
user_quota(const struct index_state *s)
{
	return (struct index_quota){
		.bytes = s->bytes - s->ignored_bytes,
		.bytes_limit = s->bytes_limit,
		.messages = s->messages - s->ignored_messages,
		.messages_limit = s->messages_limit,
	};
}

static struct index_quota
mailbox_quota(const struct index_mailbox_record *m)
{
	return (struct index_quota){
		.bytes = m->disk_bytes,
		.bytes_limit = m->quota_max_bytes,
		.messages = m->messages,
		.messages_limit = m->quota_max_messages,
	};
}

static int
has_own_limit(const struct index_mailbox_record *m)
{
	return m->quota_max_bytes > 0 || m->quota_max_messages > 0;
}

enum err
index_quota_get(struct index_user *u, struct index_quota *out)
{
	struct index_state s = {0};
	enum err e;

	*out = (struct index_quota){0};
	e = index_read_begin(u);
	if (e) {
		return e;
	}
	e = state_get(u, &s);
	if (e == OK) {
		*out = user_quota(&s);
	}
	index_read_end(u);
	return e;
}

enum err
index_quota_check(struct index_user *u, uint32_t mailbox, uint64_t size_hint)
{
	struct index_mailbox_record box;
	struct index_state s = {0};
	/* Stored with LF alone it can come down to half; what is empty still is a byte or more. */
	int lf = strcmp(u->conf->maildir_line_endings, "lf") == 0;
	uint64_t least = lf ? size_hint / 2 + size_hint % 2 : size_hint;
	enum err e;

	/* What its owner may have is the service's to know. */
	if (index_mailbox_is_shared(mailbox)) {
		return OK;
	}
	e = index_read_begin(u);
	if (e) {
		return e;
	}
	e = client_mailbox_record(u, mailbox, &box);
	e = e ? e : state_get(u, &s);
	e = e ? e : index_quota_fits(&s, &box, least > 0 ? least : 1, 1, 0);
	index_read_end(u);
	return e;
}

/* ---- roots (RFC 9208) ---- */

static enum err
roots_add(struct index_quota_roots *r, const char *prefix, struct str name, struct index_quota use)
{
	struct index_quota_root *root = &r->items[r->count++];

	root->name = mem_printf("%s%.*s", prefix, STR_ARG(name));
	root->use = use;
	return OK;
}

enum err
index_quota_roots(struct index_user *u, uint32_t mailbox, struct index_quota_roots *out)
{
	struct index_mailbox_record m;
	struct index_state s = {0};
	enum err e;

	*out = (struct index_quota_roots){0};
	/* How much room another has is not told. */
	if (index_mailbox_is_shared(mailbox)) {
		return OK;
	}
	e = index_read_begin(u);
	if (e) {
		return e;
	}
	e = client_mailbox_record(u, mailbox, &m);
	e = e ? e : state_get(u, &s);
	if (e == OK && !m.quota_ignore) {
		e = roots_add(out, INDEX_QUOTA_ROOT_USER, STR(""), user_quota(&s));
	}
	if (e == OK && has_own_limit(&m)) {
		e = roots_add(out, INDEX_QUOTA_ROOT_MAILBOX, m.name, mailbox_quota(&m));
	}
	index_read_end(u);
	return e;
}

enum err
index_quota_root_get(struct index_user *u, struct str name, struct index_quota *out)
{
	size_t prefix = strlen(INDEX_QUOTA_ROOT_MAILBOX);
	struct index_mailbox_record m;
	struct index_mailbox box;
	enum err e;

	*out = (struct index_quota){0};
	if (str_is(name, INDEX_QUOTA_ROOT_USER)) {
		return index_quota_get(u, out);
	}
	if (name.len <= prefix || memcmp(name.p, INDEX_QUOTA_ROOT_MAILBOX, prefix) != 0) {
		return E_NOTFOUND;
	}
	e = index_read_begin(u);
	if (e) {
		return e;
	}
	e = index_mailbox_get(u, str_make(name.p + prefix, name.len - prefix), &box);
	if (e == OK) {
		e = client_mailbox_record(u, box.id, &m);
	}
	if (e == OK && !has_own_limit(&m)) {
		e = E_NOTFOUND;
	}
	if (e == OK) {
		*out = mailbox_quota(&m);
	}
	index_mailbox_free(&box);
	index_read_end(u);
	return e;
}

void
index_quota_roots_free(struct index_quota_roots *r)
{
	for (size_t i = 0; i < r->count; i++) {
		free(r->items[i].name);
	}
	*r = (struct index_quota_roots){0};
}

enum err
index_quota_rules(struct index_user *u, char **out)
{
	MDB_val k = {.mv_size = 5, .mv_data = (void *)"rules"}, v;
	enum err e = index_read_begin(u);

	*out = NULL;
	if (e) {
		return e;
	}
	if (mdb_get(u->txn, u->env->dbi[INDEX_DB_META], &k, &v) == 0) {
		*out = str_dup(str_make(v.mv_data, v.mv_size));
	} else {
		*out = mem_strdup("");
	}
	index_read_end(u);
	return OK;
}
