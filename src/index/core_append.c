/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "index/core_batch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "index/gzip.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

/*
 * Delivery: the UIDs are reserved on disk, each file gets its final name (that is the moment it
 * exists for other programs), the index follows. A crash in between leaves files whose UIDs were
 * given to nobody; the next look at the folder takes them in under these UIDs.
 */

struct append {
	const struct index_core_append *in;
	size_t n;
	struct core_message *msgs;
	struct core_box box;
	uint32_t mailbox;
	uint32_t first_uid;
	uint64_t bytes, messages; /* that the quota is asked for */
	/* A message that goes when these have come; uid 0: none. */
	uint32_t replaced_in, replaced_uid;
	struct core_box replaced_box;
	uint64_t replaced_bytes; /* that it takes of the quota, and */
	int replaced_counts; /* whether it counts there */
	uint64_t modseq;
	struct core_touch touch;
	int tmp_fd;
};

/* Keywords first: their letters must be known before a name can have them. */
static enum err
prepare_step(struct core_tx *tx, void *arg)
{
	struct append *a = arg;
	enum err e = core_box_get(tx, a->mailbox, &a->box);

	for (size_t i = 0; i < a->n && e == OK; i++) {
		a->msgs[i].r.flags = a->in[i].flags & INDEX_FLAGS_ALL;
		e = core_keywords_resolve(tx, &a->box, a->in[i].keywords, a->in[i].keyword_count, 1,
			&a->msgs[i].r.keywords);
	}
	return e;
}

static int
is_plain_name(struct str name)
{
	return name.len > 0 && name.len <= MAILDIR_NAME_MAX && name.p[0] != '.' &&
	       !str_has_control(name) && str_find(name, 0, '/') == name.len;
}

/*
 * What the quota counts. It is the client's word only as far as a compressed file bears it out: the
 * size at its end agrees.
 */
static enum err
stored_size(struct append *a, size_t i, const char *name, uint64_t file_size, uint64_t *out)
{
	uint64_t said = a->in[i].stored_size;
	uint32_t isize = 0;
	enum err e = E_NOTFOUND;
	int fd;

	*out = file_size;
	if (said == 0 || said == file_size)
		return OK;
	fd = openat(a->tmp_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0)
		e = gzip_isize(fd, file_size, &isize);
	io_close(&fd);
	if (e || isize != (uint32_t)said)
		return E_RANGE;
	*out = said;
	return OK;
}

static enum err
look_at_file(struct append *a, size_t i)
{
	struct core_message *m = &a->msgs[i];
	char name[MAILDIR_NAME_MAX + 1];
	struct stat st;
	enum err e;

	if (!is_plain_name(a->in[i].tmp_name))
		return E_RANGE;
	snprintf(name, sizeof(name), "%.*s", STR_ARG(a->in[i].tmp_name));
	if (fstatat(a->tmp_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return err_from_errno(errno);
	if (!S_ISREG(st.st_mode))
		return E_RANGE;
	e = stored_size(a, i, name, (uint64_t)st.st_size, &m->r.disk_size);
	if (e)
		return e;
	m->r.size = a->in[i].size;
	m->r.internal_date = st.st_mtim.tv_sec;
	memcpy(m->r.email_id, a->in[i].email_id, sizeof(m->r.email_id));
	memcpy(m->r.thread_id, a->in[i].thread_id, sizeof(m->r.thread_id));
	if (!a->in[i].over_quota) {
		a->bytes += m->r.disk_size;
		a->messages++;
	}
	return OK;
}

void
core_final_name(struct index_core *c, uint32_t uid, struct core_message *m)
{
	uint32_t letters = (uint32_t)(m->r.keywords.bits[0] & ((1u << CORE_LETTERS) - 1));
	struct maildir_unique u = {.pid = (uint32_t)getpid(), .host = c->host};
	struct buf name = {0};
	struct timespec now;
	size_t base_len;

	clock_gettime(CLOCK_REALTIME, &now);
	u.time_s = now.tv_sec;
	u.usec = (uint32_t)(now.tv_nsec / 1000);
	u.counter = ++c->counter;
	maildir_unique_build(&u, &name);
	maildir_fields_build(m->r.disk_size, m->r.size, uid, &name);
	base_len = name.len;
	m->r.save_date = u.time_s;
	/* Mail that nobody has touched goes where other programs look for it. */
	m->r.in_new = m->r.flags == 0 && letters == 0;
	if (!m->r.in_new)
		maildir_info_build(m->r.flags, letters, 0, &name);
	core_message_set_name(m, buf_str(&name), base_len);
	buf_free(&name);
}

/* The directories of one that goes when this one is there are part of it. */
static void
open_replaced(struct index_core *c, const struct append *a, int fds[2])
{
	if (a->replaced_uid) {
		(void)core_dir_open(c, a->replaced_box.dir, CORE_NEW, &fds[0]);
		(void)core_dir_open(c, a->replaced_box.dir, CORE_CUR, &fds[1]);
	}
}

/* One message is there as a whole or not at all. */
static enum err
begin_batch(struct index_core *c, const struct append *a)
{
	int fds[CORE_BATCH_FDS] = {a->touch.fd[0], a->touch.fd[1], a->tmp_fd, -1, -1};
	struct core_batch_text t = {0};
	enum err e;

	if (a->n < 2 && !a->replaced_uid)
		return OK;
	core_batch_to(&t, &a->box);
	for (size_t i = 0; i < a->n; i++) {
		struct core_batch_message m = {.kind = CORE_BATCH_APPEND,
			.uid = a->first_uid + (uint32_t)i,
			.dst_in_new = a->msgs[i].r.in_new,
			.src = a->in[i].tmp_name,
			.dst = str_of(a->msgs[i].name)};

		core_batch_message(&t, &m);
	}
	if (a->replaced_uid) {
		core_batch_from(&t, &a->replaced_box);
		core_batch_replaced(&t, a->replaced_uid);
	}
	/* What recovery would take must still be there after a power cut. */
	if (c->fsync && fsync(a->tmp_fd) != 0) {
		buf_free(&t.text);
		return err_from_errno(errno);
	}
	open_replaced(c, a, &fds[3]);
	e = core_batch_begin(c, &t, fds, CORE_BATCH_FDS);
	io_close(&fds[3]);
	io_close(&fds[4]);
	return e;
}

static enum err
move_files(struct append *a)
{
	char tmp[MAILDIR_NAME_MAX + 1];

	for (size_t i = 0; i < a->n; i++) {
		struct core_message *m = &a->msgs[i];

		snprintf(tmp, sizeof(tmp), "%.*s", STR_ARG(a->in[i].tmp_name));
		if (renameat(a->tmp_fd, tmp, a->touch.fd[m->r.in_new ? 0 : 1], m->name) == 0)
			continue;
		enum err e = err_from_errno(errno);

		a->n = i;
		return e;
	}
	return OK;
}

static void
move_back(struct append *a)
{
	char tmp[MAILDIR_NAME_MAX + 1];

	for (size_t i = 0; i < a->n; i++) {
		snprintf(tmp, sizeof(tmp), "%.*s", STR_ARG(a->in[i].tmp_name));
		(void)renameat(
			a->touch.fd[a->msgs[i].r.in_new ? 0 : 1], a->msgs[i].name, a->tmp_fd, tmp);
	}
}

static enum err
append_step(struct core_tx *tx, void *arg)
{
	struct append *a = arg;
	struct core_box box;
	int more = 0;
	enum err e = core_box_get(tx, a->mailbox, &box);

	if (e)
		return e;
	box.r.uid_floor = a->box.r.uid_floor;
	for (size_t i = 0; i < a->n && e == OK; i++) {
		uint32_t uid = a->first_uid + (uint32_t)i;

		more |= core_keywords_has_more(&a->msgs[i].r.keywords);
		e = core_message_add(tx, &box, uid, &a->msgs[i]);
		if (e == OK && a->in[i].cache.len)
			e = core_tx_put(tx, INDEX_DB_CACHE, index_key_message(box.r.id, uid),
				a->in[i].cache.p, a->in[i].cache.len);
	}
	if (e == OK && more)
		e = core_pending_put(tx, box.r.id, 0);
	box.r.uidnext = a->first_uid + (uint32_t)a->n;
	core_touch_end(tx->core, &a->touch, &box);
	a->modseq = core_tx_modseq(tx);
	return e ? e : core_box_put(tx, &box);
}

/* RFC 8508 section 3.4: only what is taken on balance. */
static enum err
quota_check(struct index_core *c, const struct append *a)
{
	uint64_t bytes = a->bytes, messages = a->messages;

	if (a->replaced_counts) {
		bytes -= bytes < a->replaced_bytes ? bytes : a->replaced_bytes;
		messages--;
	}
	return bytes || messages ? core_quota_check(c, &a->box, bytes, messages, 0) : OK;
}

static enum err
append_run(struct index_core *c, struct append *a)
{
	int with_new = 0, with_cur = 0;
	enum err e = core_dir_open(c, a->box.dir, CORE_TMP, &a->tmp_fd);

	for (size_t i = 0; i < a->n && e == OK; i++) {
		e = look_at_file(a, i);
		if (a->msgs[i].r.flags || a->msgs[i].r.keywords.bits[0])
			with_cur = 1;
		with_new = 1;
	}
	if (e == OK)
		e = quota_check(c, a);
	if (e == OK)
		e = core_uid_reserve(c, &a->box, a->n);
	if (e == OK)
		e = core_touch_begin(c, &a->box, with_new, with_cur, &a->touch);
	if (e)
		return e;
	a->first_uid = a->box.r.uidnext;
	for (size_t i = 0; i < a->n; i++)
		core_final_name(c, a->first_uid + (uint32_t)i, &a->msgs[i]);
	e = begin_batch(c, a);
	if (e)
		return e;
	e = move_files(a);
	if (e == OK)
		e = core_run(c, append_step, a);
	if (e) {
		move_back(a);
		core_batch_cancel(c);
		return e;
	}
	for (size_t i = 0; i < a->n; i++)
		core_sync_note(c, a->touch.fd[a->msgs[i].r.in_new ? 0 : 1]);
	return OK;
}

static enum err
append_all(struct index_core *c, struct append *a)
{
	int with_keywords = 0;
	enum err e;

	a->msgs = mem_zalloc(a->n * sizeof(*a->msgs));
	for (size_t i = 0; i < a->n; i++)
		with_keywords |= a->in[i].keyword_count != 0;
	e = with_keywords ? core_run(c, prepare_step, a) : core_read(c, prepare_step, a);
	if (e == E_TOOBIG && core_keywords_reclaim(c, a->mailbox))
		e = core_run(c, prepare_step, a);
	if (e == OK)
		e = append_run(c, a);
	core_touch_close(&a->touch);
	io_close(&a->tmp_fd);
	free(a->msgs);
	return e;
}

enum err
index_core_append(struct index_core *c, uint32_t mailbox, const struct index_core_append *m,
	size_t n, uint32_t *uidvalidity, uint64_t *modseq, uint32_t *first_uid)
{
	struct append a = {
		.in = m, .n = n, .mailbox = mailbox, .tmp_fd = -1, .touch = {.fd = {-1, -1}}};
	enum err e = append_all(c, &a);

	core_batch_done(c);
	*uidvalidity = a.box.r.uidvalidity;
	*modseq = a.modseq;
	*first_uid = a.first_uid;
	return e;
}

/* ---- replacing ---- */

static enum err
replaced_step(struct core_tx *tx, void *arg)
{
	struct append *a = arg;
	struct core_message m;
	enum err e = core_box_get(tx, a->replaced_in, &a->replaced_box);

	if (e == OK)
		e = core_message_get(tx, a->replaced_in, a->replaced_uid, &m);
	if (e)
		return e;
	a->replaced_counts = !a->replaced_box.r.quota_ignore;
	a->replaced_bytes = m.r.disk_size;
	return OK;
}

/* All messages of the index but this one are left alone. */
static enum err
remove_message(struct index_core *c, uint32_t mailbox, uint32_t uid)
{
	struct numset uids = {0}, gone = {0};
	uint64_t modseq;
	enum err e;

	numset_add(&uids, uid);
	e = index_core_expunge(c, mailbox, &uids, 1, &gone, &modseq);
	numset_free(&uids);
	numset_free(&gone);
	return e;
}

enum err
index_core_replace(struct index_core *c, uint32_t from, uint32_t uid, uint32_t mailbox,
	const struct index_core_append *m, uint32_t *uidvalidity, uint64_t *modseq,
	uint32_t *new_uid)
{
	struct append a = {.in = m,
		.n = 1,
		.mailbox = mailbox,
		.replaced_in = from,
		.replaced_uid = uid,
		.tmp_fd = -1,
		.touch = {.fd = {-1, -1}}};
	enum err e = core_read(c, replaced_step, &a);

	if (e == OK)
		e = append_all(c, &a);
	if (e)
		return e;
	*uidvalidity = a.box.r.uidvalidity;
	*modseq = a.modseq;
	*new_uid = a.first_uid;
	e = remove_message(c, from, uid);
	/* The client is told that nothing happened, so the new one has to go. Its bytes are lost to
	   nobody: the client has them. */
	if (e) {
		(void)remove_message(c, mailbox, a.first_uid);
		core_batch_cancel(c);
	}
	core_batch_done(c);
	return e;
}
