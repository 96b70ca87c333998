/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "index/core_batch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

/*
 * Copies are hard links, moves renames: both under UIDs that were reserved on disk before. All
 * files are in place before the index changes; when one fails the others are taken back.
 */

struct item {
	uint32_t src_uid, dst_uid;
	struct core_message src, dst;
	int done;
};

struct copy {
	uint32_t from, to;
	const struct numset *uids;
	int move;
	unsigned without; /* flags that the new messages do not get */
	struct core_box src_box, dst_box;
	struct core_touch src_touch, dst_touch;
	struct item *items;
	size_t count, cap;
	uint64_t bytes;
};

static enum err
collect_one(struct core_tx *tx, struct core_box *b, uint32_t uid, struct core_message *m, void *arg)
{
	struct copy *cp = arg;
	struct item *it;

	(void)tx;
	(void)b;
	if (cp->count == cp->cap) {
		cp->cap = cp->cap ? cp->cap * 2 : 8;
		cp->items = mem_realloc(cp->items, cp->cap, sizeof(*cp->items));
	}
	it = &cp->items[cp->count++];
	it->src_uid = uid;
	it->src = *m;
	it->dst = *m;
	it->dst.r.flags &= ~cp->without;
	if (cp->without & INDEX_COPY_KEYWORDS)
		it->dst.r.keywords = (struct index_keywords){0};
	it->done = 0;
	cp->bytes += m->r.disk_size;
	return OK;
}

static enum err
translate_keywords(struct core_tx *tx, struct copy *cp, struct item *it,
	char names[INDEX_KEYWORDS_MAX][INDEX_KEYWORD_LEN_MAX + 1])
{
	struct str words[INDEX_KEYWORDS_MAX];
	size_t n = 0;

	for (int i = 0; i < INDEX_KEYWORDS_MAX; i++)
		if ((it->src.r.keywords.bits[i / 64] >> (i % 64) & 1) && names[i][0])
			words[n++] = str_of(names[i]);
	return core_keywords_resolve(tx, &cp->dst_box, words, n, 1, &it->dst.r.keywords);
}

static enum err
collect_step(struct core_tx *tx, void *arg)
{
	char names[INDEX_KEYWORDS_MAX][INDEX_KEYWORD_LEN_MAX + 1];
	struct copy *cp = arg;
	int translates = cp->from != cp->to && !(cp->without & INDEX_COPY_KEYWORDS);
	enum err e = core_box_get(tx, cp->from, &cp->src_box);

	cp->count = 0;
	cp->bytes = 0;
	if (e == OK)
		e = core_box_get(tx, cp->to, &cp->dst_box);
	if (e == OK)
		e = core_keywords_get(tx, cp->from, names);
	if (e == OK)
		e = core_each(tx, &cp->src_box, cp->uids, collect_one, cp);
	for (size_t i = 0; i < cp->count && e == OK && translates; i++) {
		const uint64_t *bits = cp->items[i].src.r.keywords.bits;

		if (bits[0] || bits[1])
			e = translate_keywords(tx, cp, &cp->items[i], names);
	}
	return e;
}

/* For file systems and files that allow no (more) links. */
enum err
core_copy_bytes(struct index_core *c, int src_dir, const char *src, int tmp_dir, int dst_dir,
	const char *dst)
{
	struct timespec times[2];
	struct stat st;
	int in = openat(src_dir, src, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), out = -1;
	enum err e = OK;

	if (in < 0 || fstat(in, &st) != 0)
		goto fail;
	out = openat(tmp_dir, dst, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (out < 0)
		goto fail;
	for (off_t left = st.st_size; left > 0;) {
		ssize_t n = sendfile(out, in, NULL, (size_t)left);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			goto fail;
		if (n == 0)
			break;
		left -= n;
	}
	times[0] = st.st_atim;
	times[1] = st.st_mtim;
	if (futimens(out, times) != 0 || (c->fsync && fsync(out) != 0))
		goto fail;
	if (renameat(tmp_dir, dst, dst_dir, dst) == 0)
		goto out;
fail:
	e = err_from_errno(errno);
	if (out >= 0)
		unlinkat(tmp_dir, dst, 0);
out:
	io_close(&in);
	io_close(&out);
	return e;
}

enum err
core_copy_link(struct index_core *c, int src_dir, const char *src, const char *folder, int dst_dir,
	const char *dst)
{
	int tmp;
	enum err e;

	if (linkat(src_dir, src, dst_dir, dst, 0) == 0)
		return OK;
	if (errno != EMLINK && errno != EPERM && errno != EXDEV && errno != EOPNOTSUPP)
		return err_from_errno(errno);
	e = core_dir_open(c, folder, CORE_TMP, &tmp);
	if (e == OK)
		e = core_copy_bytes(c, src_dir, src, tmp, dst_dir, dst);
	io_close(&tmp);
	return e;
}

static enum err
place_one(struct index_core *c, struct copy *cp, struct item *it)
{
	int src = cp->src_touch.fd[it->src.r.in_new ? 0 : 1];
	int dst = cp->dst_touch.fd[it->dst.r.in_new ? 0 : 1];

	if (!cp->move)
		return core_copy_link(c, src, it->src.name, cp->dst_box.dir, dst, it->dst.name);
	return renameat(src, it->src.name, dst, it->dst.name) == 0 ? OK : err_from_errno(errno);
}

static void
take_back(struct copy *cp)
{
	for (size_t i = 0; i < cp->count; i++) {
		struct item *it = &cp->items[i];
		int dst = cp->dst_touch.fd[it->dst.r.in_new ? 0 : 1];

		if (!it->done)
			continue;
		if (cp->move)
			(void)renameat(dst, it->dst.name,
				cp->src_touch.fd[it->src.r.in_new ? 0 : 1], it->src.name);
		else
			(void)unlinkat(dst, it->dst.name, 0);
	}
}

static void
name_all(struct index_core *c, struct copy *cp)
{
	for (size_t i = 0; i < cp->count; i++) {
		struct item *it = &cp->items[i];

		it->dst_uid = cp->dst_box.r.uidnext + (uint32_t)i;
		core_final_name(c, it->dst_uid, &it->dst);
		/* RFC 9051 section 6.4.7: the internal date and flags stay as they are. */
		it->dst.r.internal_date = it->src.r.internal_date;
	}
}

/* One is done as a whole anyway. */
static enum err
begin_batch(struct index_core *c, const struct copy *cp)
{
	const int fds[] = {
		cp->src_touch.fd[0], cp->src_touch.fd[1], cp->dst_touch.fd[0], cp->dst_touch.fd[1]};
	struct core_batch_text t = {0};

	if (cp->count < 2)
		return OK;
	core_batch_from(&t, &cp->src_box);
	core_batch_to(&t, &cp->dst_box);
	for (size_t i = 0; i < cp->count; i++) {
		const struct item *it = &cp->items[i];
		struct core_batch_message m = {.kind = cp->move ? CORE_BATCH_MOVE : CORE_BATCH_COPY,
			.uid = it->dst_uid,
			.src_in_new = it->src.r.in_new,
			.dst_in_new = it->dst.r.in_new,
			.src = str_of(it->src.name),
			.dst = str_of(it->dst.name)};

		core_batch_message(&t, &m);
	}
	return core_batch_begin(c, &t, fds, sizeof(fds) / sizeof(fds[0]));
}

/*
 * A source that another program removed is as if it had not been asked for; *gone then, and its
 * UID is given to nobody.
 */
static enum err
place_all(struct index_core *c, struct copy *cp, int *gone)
{
	size_t kept = 0;

	*gone = 0;
	for (size_t i = 0; i < cp->count; i++) {
		struct item *it = &cp->items[i];
		enum err e = place_one(c, cp, it);

		if (e == E_NOTFOUND) {
			*gone = 1;
			continue;
		}
		if (e)
			return e;
		it->done = 1;
		if (kept != i) {
			cp->items[kept] = *it;
			it->done = 0;
		}
		kept++;
	}
	cp->count = kept;
	return OK;
}

static enum err
index_one(struct core_tx *tx, struct copy *cp, struct item *it, struct core_box *src,
	struct core_box *dst)
{
	struct buf blob = {0};
	MDB_val v;
	enum err e;

	/* Items were moved in memory. */
	it->src.r.name.p = it->src.name;
	it->dst.r.name.p = it->dst.name;
	e = core_message_add(tx, dst, it->dst_uid, &it->dst);
	if (e == OK && core_tx_get(tx, INDEX_DB_CACHE, index_key_message(src->r.id, it->src_uid),
			       &v) == OK) {
		buf_add(&blob, v.mv_data, v.mv_size);
		e = core_tx_put(tx, INDEX_DB_CACHE, index_key_message(dst->r.id, it->dst_uid),
			blob.p, blob.len);
		buf_free(&blob);
	}
	if (e == OK && core_keywords_has_more(&it->dst.r.keywords))
		e = core_pending_put(tx, dst->r.id, 0);
	if (e == OK && cp->move)
		e = core_message_remove(tx, src, it->src_uid, &it->src);
	return e;
}

static enum err
copy_step(struct core_tx *tx, void *arg)
{
	struct copy *cp = arg;
	struct core_box src = {0}, other = {0}, *dst = cp->from == cp->to ? &src : &other;
	enum err e = core_box_get(tx, cp->from, &src);

	if (e == OK && dst != &src)
		e = core_box_get(tx, cp->to, dst);
	if (e)
		return e;
	dst->r.uid_floor = cp->dst_box.r.uid_floor;
	for (size_t i = 0; i < cp->count && e == OK; i++) {
		e = index_one(tx, cp, &cp->items[i], &src, dst);
		dst->r.uidnext = cp->items[i].dst_uid + 1;
	}
	core_touch_end(tx->core, &cp->dst_touch, dst);
	if (cp->move && dst != &src)
		core_touch_end(tx->core, &cp->src_touch, &src);
	if (e == OK)
		e = core_box_put(tx, &src);
	if (e == OK && dst != &src)
		e = core_box_put(tx, dst);
	return e;
}

static enum err
copy_run(struct index_core *c, struct copy *cp, int *gone)
{
	/* What stays in the account cannot fill it, unless it did not count so far. */
	int moved = cp->move && !cp->src_box.r.quota_ignore;
	enum err e = OK;

	if (!cp->move || cp->from != cp->to)
		e = core_quota_check(c, &cp->dst_box, cp->bytes, cp->count, moved);

	if (e == OK)
		e = core_uid_reserve(c, &cp->dst_box, cp->count);
	if (e == OK)
		e = core_touch_begin(c, &cp->src_box, 1, 1, &cp->src_touch);
	if (e == OK)
		e = core_touch_begin(c, &cp->dst_box, 1, 1, &cp->dst_touch);
	if (e)
		return e;
	name_all(c, cp);
	e = begin_batch(c, cp);
	if (e)
		return e;
	e = place_all(c, cp, gone);
	if (e == OK)
		e = core_run(c, copy_step, cp);
	if (e) {
		take_back(cp);
		core_batch_cancel(c);
		return e;
	}
	core_batch_done(c);
	for (int i = 0; i < 2; i++)
		core_sync_note(c, cp->dst_touch.fd[i]);
	for (int i = 0; i < 2 && cp->move; i++)
		core_sync_note(c, cp->src_touch.fd[i]);
	return OK;
}

enum err
index_core_copy(struct index_core *c, uint32_t from, uint32_t to, const struct numset *uids,
	unsigned how, uint32_t *uidvalidity, struct index_core_pair **pairs, size_t *count)
{
	struct copy cp = {.from = from,
		.to = to,
		.uids = uids,
		.move = (how & INDEX_COPY_MOVE) != 0,
		.without = how >> 8,
		.src_touch = {.fd = {-1, -1}},
		.dst_touch = {.fd = {-1, -1}}};
	int gone = 0;
	enum err e = core_run(c, collect_step, &cp);

	if (e == E_TOOBIG && core_keywords_reclaim(c, to))
		e = core_run(c, collect_step, &cp);
	*pairs = NULL;
	*count = 0;
	if (e == OK && cp.count)
		e = copy_run(c, &cp, &gone);
	if (e == OK) {
		*pairs = mem_alloc((cp.count + 1) * sizeof(**pairs));
		for (size_t i = 0; i < cp.count; i++)
			(*pairs)[i] =
				(struct index_core_pair){cp.items[i].src_uid, cp.items[i].dst_uid};
		*count = cp.count;
	}
	*uidvalidity = cp.dst_box.r.uidvalidity;
	core_touch_close(&cp.src_touch);
	core_touch_close(&cp.dst_touch);
	free(cp.items);
	if (gone)
		(void)core_scan(c, from, 1);
	return e;
}
