/* SPDX-License-Identifier: MIT */
#include "imap_index.h"

#include <stdlib.h>
#include <string.h>

#include "imap_index_box.h"
#include "lib/mem.h"
#include "lib/sandbox.h"

static struct box boxes[BOXES];
static char *subscribed[BOXES];
static uint32_t next_id;
uint64_t memory_modseq;
static enum err failure;
static void (*on_watch)(void);

struct index_user {
	int unused;
};
static struct index_user the_user;

struct index_append {
	struct buf text;
	uint32_t box;
};

struct index_user *
memory_index_user(void)
{
	return &the_user;
}

struct box *
memory_box_by_id(uint32_t id)
{
	for (size_t i = 0; i < BOXES; i++)
		if (boxes[i].used && boxes[i].id == id)
			return &boxes[i];
	return NULL;
}

static struct box *
box_by_name(struct str name)
{
	for (size_t i = 0; i < BOXES; i++)
		if (boxes[i].used && str_is(name, boxes[i].name))
			return &boxes[i];
	return NULL;
}

static void
message_clear(struct message *m)
{
	free(m->text);
	*m = (struct message){0};
}

static void
box_clear(struct box *b)
{
	for (size_t i = 0; i < b->n; i++)
		message_clear(&b->m[i]);
	for (size_t i = 0; i < b->keyword_count; i++)
		free(b->keywords[i]);
	free(b->name);
	*b = (struct box){0};
}

static struct box *
box_add(struct str name, unsigned special_use)
{
	for (size_t i = 0; i < BOXES; i++) {
		if (boxes[i].used)
			continue;
		next_id++;
		boxes[i] = (struct box){.used = 1,
			.id = next_id,
			.uidvalidity = 999 + next_id,
			.uidnext = 1,
			.recent_from = 1,
			.special_use = special_use,
			.name = str_dup(name)};
		return &boxes[i];
	}
	abort();
}

void
memory_index_reset(void)
{
	for (size_t i = 0; i < BOXES; i++) {
		box_clear(&boxes[i]);
		MEM_FREE(subscribed[i]);
	}
	next_id = 0;
	memory_modseq = 1;
	failure = OK;
	on_watch = NULL;
	(void)box_add(STR("INBOX"), 0);
}

void
memory_index_mailbox(const char *name, unsigned special_use)
{
	(void)box_add(str_of(name), special_use);
}

static uint64_t
keyword_bit(struct box *b, const char *name)
{
	for (size_t i = 0; i < b->keyword_count; i++)
		if (str_is_i(str_of(name), b->keywords[i]))
			return UINT64_C(1) << i;
	b->keywords[b->keyword_count] = mem_strdup(name);
	return UINT64_C(1) << b->keyword_count++;
}

static struct message *
message_add(struct box *b, unsigned flags, struct str text)
{
	struct message *m = &b->m[b->n++];

	*m = (struct message){.uid = b->uidnext++,
		.flags = flags,
		.modseq = ++memory_modseq,
		.text = str_dup(text),
		.len = text.len};
	return m;
}

struct message *
memory_message_find(struct box *b, uint32_t uid)
{
	for (size_t i = 0; b && i < b->n; i++)
		if (b->m[i].uid == uid)
			return &b->m[i];
	return NULL;
}

static void
message_remove(struct box *b, struct message *m)
{
	size_t i = (size_t)(m - b->m);

	message_clear(m);
	memmove(m, m + 1, (b->n - i - 1) * sizeof(*m));
	b->n--;
	memory_modseq++;
}

void
memory_index_message(const char *mailbox, unsigned flags, const char *keyword)
{
	struct box *b = box_by_name(str_of(mailbox));
	struct message *m = message_add(b, flags, STR("Subject: x\r\n\r\nx\r\n"));

	if (keyword)
		m->keywords = keyword_bit(b, keyword);
}

void
memory_index_flag(const char *mailbox, uint32_t uid, unsigned flags)
{
	struct message *m = memory_message_find(box_by_name(str_of(mailbox)), uid);

	m->flags = flags;
	m->modseq = ++memory_modseq;
}

void
memory_index_remove(const char *mailbox, uint32_t uid)
{
	struct box *b = box_by_name(str_of(mailbox));

	message_remove(b, memory_message_find(b, uid));
}

void
memory_index_drop_mailbox(const char *name)
{
	box_clear(box_by_name(str_of(name)));
}

struct str
memory_index_text(const char *mailbox, uint32_t uid)
{
	struct message *m = memory_message_find(box_by_name(str_of(mailbox)), uid);

	return m ? str_make(m->text, m->len) : (struct str){NULL, 0};
}

void
memory_index_fail(enum err e)
{
	failure = e;
}

void
memory_index_on_watch(void (*call)(void))
{
	on_watch = call;
}

/* ---- mailboxes ---- */

void
index_close(struct index_user **u)
{
	*u = NULL;
}

void
index_mailbox_free(struct index_mailbox *m)
{
	MEM_FREE(m->name);
}

static void
describe(const struct box *b, struct index_mailbox *out)
{
	*out = (struct index_mailbox){.id = b->id,
		.name = mem_strdup(b->name),
		.uidvalidity = b->uidvalidity,
		.uidnext = b->uidnext,
		.messages = (uint32_t)b->n,
		.recent_from = b->recent_from,
		.special_use = b->special_use,
		.highest_modseq = memory_modseq};
	for (size_t i = 0; i < b->n; i++)
		out->unseen += !(b->m[i].flags & INDEX_SEEN);
}

enum err
index_mailbox_get(struct index_user *u, struct str name, struct index_mailbox *out)
{
	struct box *b = box_by_name(name);

	(void)u;
	*out = (struct index_mailbox){0};
	if (!b)
		return E_NOTFOUND;
	describe(b, out);
	return OK;
}

enum err
index_mailbox_get_id(struct index_user *u, uint32_t id, struct index_mailbox *out)
{
	struct box *b = memory_box_by_id(id);

	(void)u;
	*out = (struct index_mailbox){0};
	if (!b)
		return E_NOTFOUND;
	describe(b, out);
	return OK;
}

enum err
index_mailbox_each(
	struct index_user *u, enum err (*cb)(const struct index_mailbox *m, void *arg), void *arg)
{
	enum err e = OK;

	(void)u;
	for (size_t i = 0; i < BOXES && !e; i++) {
		struct index_mailbox m;

		if (!boxes[i].used)
			continue;
		describe(&boxes[i], &m);
		e = cb(&m, arg);
		index_mailbox_free(&m);
	}
	return e;
}

enum err
index_subscription_each(struct index_user *u, enum err (*cb)(struct str name, void *arg), void *arg)
{
	(void)u;
	for (size_t i = 0; i < BOXES; i++)
		if (subscribed[i])
			(void)cb(str_of(subscribed[i]), arg);
	return OK;
}

enum err
index_mailbox_create(
	struct index_user *u, struct str name, unsigned special_use, struct index_mailbox *out)
{
	(void)u;
	(void)out;
	if (failure)
		return failure;
	if (name.len > INDEX_MAILBOX_NAME_MAX)
		return E_TOOBIG;
	if (name.len == 0 || str_find_str(name, STR("..")) < name.len)
		return E_RANGE;
	if (box_by_name(name))
		return E_EXISTS;
	(void)box_add(name, special_use);
	return OK;
}

enum err
index_mailbox_delete(struct index_user *u, struct str name)
{
	struct box *b = box_by_name(name);

	(void)u;
	if (failure)
		return failure;
	if (str_is(name, "INBOX"))
		return E_ACCESS;
	if (!b)
		return E_NOTFOUND;
	for (size_t i = 0; i < BOXES; i++)
		if (boxes[i].used && strncmp(boxes[i].name, b->name, name.len) == 0 &&
			boxes[i].name[name.len] == '/')
			return E_EXISTS;
	box_clear(b);
	return OK;
}

enum err
index_mailbox_rename(struct index_user *u, struct str from, struct str to)
{
	struct box *b = box_by_name(from);

	(void)u;
	if (failure)
		return failure;
	if (!b)
		return E_NOTFOUND;
	if (box_by_name(to))
		return E_EXISTS;
	free(b->name);
	b->name = str_dup(to);
	return OK;
}

enum err
index_subscribe(struct index_user *u, struct str name, int on)
{
	(void)u;
	if (failure)
		return failure;
	for (size_t i = 0; i < BOXES; i++) {
		if (subscribed[i] && str_is(name, subscribed[i])) {
			if (!on)
				MEM_FREE(subscribed[i]);
			return OK;
		}
	}
	for (size_t i = 0; i < BOXES && on; i++) {
		if (!subscribed[i]) {
			subscribed[i] = str_dup(name);
			return OK;
		}
	}
	return OK;
}

enum err
index_mailbox_keywords_epoch(struct index_user *u, uint32_t mailbox, uint64_t *epoch)
{
	(void)u;
	(void)mailbox;
	*epoch = 0;
	return OK;
}

enum err
index_mailbox_keywords(struct index_user *u, uint32_t mailbox, char ***names, size_t *count)
{
	struct box *b = memory_box_by_id(mailbox);

	(void)u;
	if (!b)
		return E_NOTFOUND;
	*count = b->keyword_count;
	*names = mem_zalloc((b->keyword_count + 1) * sizeof(char *));
	for (size_t i = 0; i < *count; i++)
		(*names)[i] = mem_strdup(b->keywords[i]);
	return OK;
}

void
index_names_free(char ***names, size_t count)
{
	for (size_t i = 0; *names && i < count; i++)
		free((*names)[i]);
	MEM_FREE(*names);
}

/* ---- messages ---- */

enum err
index_read_begin(struct index_user *u)
{
	(void)u;
	return OK;
}

void
index_read_end(struct index_user *u)
{
	(void)u;
}

void
memory_message_describe(const struct message *m, struct index_message *out)
{
	*out = (struct index_message){
		.uid = m->uid, .modseq = m->modseq, .flags = m->flags, .size = m->len};
	out->internal_date = m->date;
	out->keywords.bits[0] = m->keywords;
}

enum err
index_message_get(struct index_user *u, uint32_t mailbox, uint32_t uid, struct index_message *out)
{
	struct message *m = memory_message_find(memory_box_by_id(mailbox), uid);

	(void)u;
	if (!m)
		return E_NOTFOUND;
	memory_message_describe(m, out);
	return OK;
}

enum err
index_message_facts(struct index_user *u, uint32_t mailbox, struct index_message *m)
{
	(void)u;
	(void)mailbox;
	(void)m; /* complete from the start */
	return OK;
}

enum err
index_message_each(struct index_user *u, uint32_t mailbox, uint32_t first, uint32_t last,
	enum err (*cb)(const struct index_message *m, void *arg), void *arg)
{
	struct box *b = memory_box_by_id(mailbox);
	struct index_message m;
	enum err e = OK;

	(void)u;
	for (size_t i = 0; b && i < b->n && !e; i++) {
		if (b->m[i].uid < first || b->m[i].uid > last)
			continue;
		memory_message_describe(&b->m[i], &m);
		e = cb(&m, arg);
	}
	return e;
}

enum err
index_cache_get(
	struct index_user *u, uint32_t mailbox, uint32_t uid, struct buf *scratch, struct str *out)
{
	(void)u;
	(void)mailbox;
	(void)uid;
	(void)scratch;
	(void)out;
	return E_NOTFOUND;
}

/* ---- cache records in their order ---- */

struct index_cache_walk {
	uint32_t mailbox;
	struct buf record;
};

enum err
index_cache_walk_begin(struct index_user *u, uint32_t mailbox, struct index_cache_walk **out)
{
	(void)u;
	*out = MEM_NEW(struct index_cache_walk);
	(*out)->mailbox = mailbox;
	return OK;
}

enum err
index_cache_walk_get(struct index_cache_walk *w, uint32_t uid, struct str *out)
{
	enum err e;

	buf_reset(&w->record);
	e = index_cache_get(NULL, w->mailbox, uid, &w->record, out);
	return e ? E_NOTFOUND : OK;
}

void
index_cache_walk_end(struct index_cache_walk **w)
{
	if (*w)
		buf_free(&(*w)->record);
	MEM_FREE(*w);
}

enum err
index_cache_peek(struct index_user *u, uint32_t mailbox, uint32_t uid, struct str *out)
{
	(void)u;
	(void)mailbox;
	(void)uid;
	*out = (struct str){NULL, 0};
	return E_NOTFOUND;
}

enum err
index_message_ids(struct index_user *u, uint32_t mailbox, struct index_message *m)
{
	(void)u;
	(void)mailbox;
	(void)m; /* complete from the start */
	return OK;
}

enum err
index_content_open(struct index_user *u, uint32_t mailbox, uint32_t uid, struct index_content *out)
{
	struct message *m = memory_message_find(memory_box_by_id(mailbox), uid);

	(void)u;
	if (!m)
		return E_NOTFOUND;
	*out = (struct index_content){.p = m->text, .len = m->len, .crlf = 1, .fd = -1};
	return OK;
}

void
index_content_prefetch(struct index_user *u, uint32_t mailbox, uint32_t uid)
{
	(void)u;
	(void)mailbox;
	(void)uid;
}

void
index_content_close(struct index_content *c)
{
	(void)c;
}

/* ---- changes ---- */

enum err
index_append_create(
	struct index_user *u, uint32_t mailbox, uint64_t size_hint, struct index_append **out)
{
	(void)u;
	(void)size_hint;
	if (failure)
		return failure;
	*out = MEM_NEW(struct index_append);
	(*out)->box = mailbox;
	return OK;
}

enum err
index_append_write(struct index_append *a, const void *p, size_t len)
{
	return buf_add(&a->text, p, len);
}

enum err
index_append_finish(struct index_append *a)
{
	(void)a;
	return OK;
}

static void
keywords_set(struct box *b, struct message *m, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		m->keywords |= keyword_bit(b, names[i]);
}

enum err
index_append_replace(struct index_user *u, uint32_t from, uint32_t uid, struct index_append *a,
	const struct index_append_info *info, uint32_t *uidvalidity, uint32_t *new_uid)
{
	(void)from;
	(void)uid;
	return index_append_commit(u, &a, info, 1, uidvalidity, new_uid);
}

enum err
index_append_commit(struct index_user *u, struct index_append *const *a,
	const struct index_append_info *info, size_t n, uint32_t *uidvalidity, uint32_t *uids)
{
	struct box *b = memory_box_by_id(a[0]->box);

	(void)u;
	if (!b)
		return E_NOTFOUND;
	*uidvalidity = b->uidvalidity;
	for (size_t i = 0; i < n; i++) {
		struct message *m = message_add(b, info[i].flags, buf_str(&a[i]->text));

		m->date = info[i].internal_date;
		keywords_set(b, m, info[i].keywords, info[i].keyword_count);
		uids[i] = m->uid;
	}
	return OK;
}

void
index_append_free(struct index_append **a)
{
	if (*a)
		buf_free(&(*a)->text);
	MEM_FREE(*a);
}

enum err
index_store(struct index_user *u, uint32_t mailbox, const struct numset *uids,
	enum index_store_op op, unsigned flags, const char *const *keywords, size_t keyword_count,
	uint64_t unchanged_since, struct numset *conflicts, uint64_t *out)
{
	struct box *b = memory_box_by_id(mailbox);
	uint64_t bits = 0;

	(void)u;
	if (failure)
		return failure;
	if (conflicts)
		numset_free(conflicts);
	*out = ++memory_modseq;
	for (size_t i = 0; i < keyword_count; i++)
		bits |= keyword_bit(b, keywords[i]);
	for (size_t i = 0; i < b->n; i++) {
		struct message *m = &b->m[i];

		if (!numset_contains(uids, m->uid))
			continue;
		if (m->modseq > unchanged_since) {
			numset_add(conflicts, m->uid);
			continue;
		}
		m->flags = op == INDEX_STORE_ADD      ? m->flags | flags
			   : op == INDEX_STORE_REMOVE ? m->flags & ~flags
						      : flags;
		m->keywords = op == INDEX_STORE_ADD	 ? m->keywords | bits
			      : op == INDEX_STORE_REMOVE ? m->keywords & ~bits
							 : bits;
		m->modseq = memory_modseq;
	}
	return OK;
}

enum err
index_expunge(struct index_user *u, uint32_t mailbox, const struct numset *uids, int force,
	struct numset *expunged)
{
	struct box *b = memory_box_by_id(mailbox);

	(void)u;
	(void)expunged;
	if (failure)
		return failure;
	for (size_t i = 0; i < b->n;) {
		struct message *m = &b->m[i];

		if ((uids && !numset_contains(uids, m->uid)) ||
			(!force && !(m->flags & INDEX_DELETED)))
			i++;
		else
			message_remove(b, m);
	}
	return OK;
}

enum err
index_copy(struct index_user *u, uint32_t from, uint32_t to, const struct numset *uids,
	unsigned how, struct index_copied *out)
{
	struct box *a = memory_box_by_id(from), *b = memory_box_by_id(to);

	(void)u;
	if (failure)
		return failure;
	out->uidvalidity = b->uidvalidity;
	for (size_t i = 0; i < a->n;) {
		struct message *m = &a->m[i];
		struct message *copy;

		if (!numset_contains(uids, m->uid)) {
			i++;
			continue;
		}
		copy = message_add(b, m->flags, str_make(m->text, m->len));
		numset_add(&out->src, m->uid);
		numset_add(&out->dst, copy->uid);
		if (how & INDEX_COPY_MOVE)
			message_remove(a, m);
		else
			i++;
	}
	return OK;
}

enum err
index_claim_recent(struct index_user *u, uint32_t mailbox, uint32_t *first)
{
	struct box *b = memory_box_by_id(mailbox);

	(void)u;
	if (failure)
		return failure;
	*first = b->recent_from;
	b->recent_from = b->uidnext;
	return OK;
}

/* ---- news ---- */

enum err
index_refresh(struct index_user *u, uint32_t mailbox)
{
	(void)u;
	(void)mailbox;
	return failure;
}

enum err
index_refresh_tree(struct index_user *u)
{
	(void)u;
	return failure;
}

enum err
index_watch(struct index_user *u, uint32_t mailbox, int on)
{
	void (*call)(void) = on_watch;

	(void)u;
	(void)mailbox;
	if (on && call) {
		on_watch = NULL;
		call();
	}
	return OK;
}

int
index_watch_fd(struct index_user *u)
{
	(void)u;
	return -1;
}

enum err
index_watch_read(struct index_user *u, int *changed)
{
	(void)u;
	*changed = 1;
	return OK;
}

void
index_watch_changed(struct index_user *u, struct numset *mailboxes, int *tree)
{
	(void)u;
	numset_free(mailboxes);
	*tree = 1;
}
