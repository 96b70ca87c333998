/* SPDX-License-Identifier: MIT */
#include "index/client_view.h"

#include "index/client_shared.h"

#include "lib/ipc.h"
#include "lib/mem.h"

/* What is kept of a view: u64 modseq, u64 told modseq, str UIDs, str of them the vanished ones. */

static void
put_set(struct buf *out, const struct numset *s)
{
	struct buf packed = {0};

	numset_pack(s, &packed);
	ipc_put_str(out, buf_str(&packed));
	buf_free(&packed);
}

enum err
index_view_keep(const struct index_view *v, struct buf *out)
{
	struct buf kept = BUF_INIT(INDEX_VIEW_KEPT_MAX);
	struct numset uids = {0};
	enum err e;

	if (v->told_count)
		return E_STATE;
	if (v->count > INDEX_VIEW_KEPT_MESSAGES_MAX)
		return E_TOOBIG;
	for (size_t i = 0; i < v->count; i++)
		numset_add(&uids, v->uids[i]);
	ipc_put_u64(&kept, v->modseq);
	ipc_put_u64(&kept, v->told_modseq);
	put_set(&kept, &uids);
	put_set(&kept, &v->gone);
	e = kept.err ? kept.err : buf_add_buf(out, &kept);
	numset_free(&uids);
	buf_free(&kept);
	return e;
}

static enum err
uids_fill(struct index_view *v, const struct numset *uids)
{
	uint64_t count = numset_size(uids);

	if (count > INDEX_VIEW_KEPT_MESSAGES_MAX || numset_contains(uids, 0))
		return E_PROTO;
	v->uids = mem_realloc(NULL, count ? count : 1, sizeof(*v->uids));
	v->cap = count ? count : 1;
	for (size_t i = 0; i < uids->count; i++)
		for (uint64_t uid = uids->ranges[i].first; uid <= uids->ranges[i].last; uid++)
			v->uids[v->count++] = (uint32_t)uid;
	return OK;
}

/* Those that vanished are among the UIDs of the view. */
static enum err
gone_check(const struct index_view *v)
{
	if (numset_size(&v->gone) > v->count)
		return E_PROTO;
	for (size_t i = 0; i < v->gone.count; i++)
		for (uint64_t uid = v->gone.ranges[i].first; uid <= v->gone.ranges[i].last; uid++)
			if (!index_view_seq(v, (uint32_t)uid))
				return E_PROTO;
	return OK;
}

enum err
index_view_reopen(struct index_user *u, uint32_t mailbox, struct str kept, struct index_view **out)
{
	struct index_view *v = MEM_NEW(struct index_view);
	struct ipc_reader r = ipc_reader_of(kept);
	struct numset uids = {0};
	struct str some, gone;
	enum err e;

	v->u = client_route(u, &mailbox);
	v->mailbox = mailbox;
	v->modseq = ipc_get_u64(&r);
	v->told_modseq = ipc_get_u64(&r);
	some = ipc_get_str(&r);
	gone = ipc_get_str(&r);
	e = ipc_reader_end(&r);
	e = e ? e : numset_unpack(some, &uids);
	e = e ? e : numset_unpack(gone, &v->gone);
	e = e ? e : uids_fill(v, &uids);
	e = e ? e : gone_check(v);
	if (e)
		index_view_close(&v);
	numset_free(&uids);
	*out = v;
	return e;
}

uint64_t
index_view_read_modseq(const struct index_view *v)
{
	return v->modseq;
}
