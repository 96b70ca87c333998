/* SPDX-License-Identifier: MIT */
/* The views of imap_index.h: what a client has been told of its mailbox. */
#include "imap_index_box.h"

#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"

struct index_view {
	struct box *box;
	uint32_t id, uids[MESSAGES], n;
	uint64_t modseq, told[MESSAGES];
	uint64_t told_all; /* behind modseq while expunges wait */
};

enum err
index_view_open(struct index_user *u, uint32_t mailbox, struct index_view **out)
{
	struct index_view *v;
	struct box *b = memory_box_by_id(mailbox);

	(void)u;
	if (!b)
		return E_NOTFOUND;
	v = MEM_NEW(struct index_view);
	v->box = b;
	v->id = mailbox;
	v->modseq = v->told_all = memory_modseq;
	for (size_t i = 0; i < b->n; i++)
		v->uids[v->n++] = b->m[i].uid;
	*out = v;
	return OK;
}

void
index_view_close(struct index_view **v)
{
	free(*v);
	*v = NULL;
}

static void
sync_expunged(struct index_view *v, const struct index_view_events *ev, void *arg)
{
	for (uint32_t i = 0; i < v->n;) {
		uint32_t uid = v->uids[i];

		if (memory_message_find(v->box, uid)) {
			i++;
			continue;
		}
		v->n--;
		memmove(&v->uids[i], &v->uids[i + 1], (v->n - i) * sizeof(v->uids[0]));
		memmove(&v->told[i], &v->told[i + 1], (v->n - i) * sizeof(v->told[0]));
		ev->expunged(i + 1, uid, arg);
	}
}

static int
has_gone(const struct index_view *v)
{
	for (uint32_t i = 0; i < v->n; i++)
		if (!memory_message_find(v->box, v->uids[i]))
			return 1;
	return 0;
}

/* There is no log of what vanished: it does not go back far enough but for the present. */
enum err
index_vanished_since(
	struct index_user *u, uint32_t mailbox, uint64_t since, struct numset *out, int *complete)
{
	(void)u;
	numset_free(out);
	*complete = since == memory_modseq;
	return memory_box_by_id(mailbox) ? OK : E_NOTFOUND;
}

enum err
index_changed_since(struct index_user *u, uint32_t mailbox, uint64_t since, struct numset *out)
{
	struct box *b = memory_box_by_id(mailbox);

	(void)u;
	numset_free(out);
	if (!b)
		return E_NOTFOUND;
	for (size_t i = 0; i < b->n; i++)
		if (b->m[i].modseq > since)
			numset_add(out, b->m[i].uid);
	return OK;
}

enum err
index_view_sync(
	struct index_view *v, int with_expunges, const struct index_view_events *ev, void *arg)
{
	uint32_t before;

	if (!v->box->used || v->box->id != v->id)
		return E_NOTFOUND;
	if (with_expunges)
		sync_expunged(v, ev, arg);
	for (uint32_t i = 0; i < v->n; i++) {
		struct message *m = memory_message_find(v->box, v->uids[i]);
		struct index_message d;

		if (!m || m->modseq <= v->modseq || m->modseq <= v->told[i])
			continue;
		memory_message_describe(m, &d);
		ev->changed(i + 1, &d, arg);
	}
	before = v->n;
	for (size_t i = 0; i < v->box->n; i++)
		if (v->n == 0 || v->box->m[i].uid > v->uids[v->n - 1])
			v->uids[v->n++] = v->box->m[i].uid;
	v->modseq = memory_modseq;
	if (!has_gone(v))
		v->told_all = v->modseq;
	if (v->n > before)
		ev->exists(v->n, arg);
	return OK;
}

uint32_t
index_view_count(const struct index_view *v)
{
	return v->n;
}

uint32_t
index_view_uid(const struct index_view *v, uint32_t seq)
{
	return seq >= 1 && seq <= v->n ? v->uids[seq - 1] : 0;
}

uint32_t
index_view_lower(const struct index_view *v, uint32_t uid)
{
	uint32_t i = 0;

	while (i < v->n && v->uids[i] < uid)
		i++;
	return i + 1;
}

uint32_t
index_view_seq(const struct index_view *v, uint32_t uid)
{
	uint32_t seq = index_view_lower(v, uid);

	return seq <= v->n && v->uids[seq - 1] == uid ? seq : 0;
}

uint64_t
index_view_modseq(const struct index_view *v)
{
	return v->told_all;
}

void
index_view_told(struct index_view *v, uint32_t uid, uint64_t n)
{
	uint32_t seq = index_view_seq(v, uid);

	if (seq)
		v->told[seq - 1] = n;
}

/* Sessions of a test have no parent, and so do not sleep. */

enum err
index_view_keep(const struct index_view *v, struct buf *out)
{
	(void)v;
	(void)out;
	return E_UNSUPPORTED;
}

enum err
index_view_reopen(struct index_user *u, uint32_t mailbox, struct str kept, struct index_view **out)
{
	(void)u;
	(void)mailbox;
	(void)kept;
	*out = NULL;
	return E_UNSUPPORTED;
}

uint64_t
index_view_read_modseq(const struct index_view *v)
{
	return index_view_modseq(v);
}

enum err
index_sleep_token(struct index_user *u, uint32_t mailbox, struct buf *token)
{
	(void)u;
	(void)mailbox;
	(void)token;
	return E_UNSUPPORTED;
}
