/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "index/core_scan.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

/*
 * What other programs did to a folder. The times of new/ and cur/ say whether there is anything to
 * look for; they tick every few milliseconds only, so a time that is as fresh as that is not
 * believed.
 */
enum { FRESH_NS = 20 * 1000 * 1000 };

/*
 * After a change of ours in new/ one of another program may be hidden (see core_touch_end), so
 * that it is read again at the next look. Where that takes long it is not done for each of many
 * deliveries: a look waits this many times what the last one took, but never longer than that.
 */
enum { UNCERTAIN_WAIT_FACTOR = 50, UNCERTAIN_WAIT_MAX_US = 2 * 1000 * 1000 };

static int64_t
monotonic_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static int64_t
monotonic_s(void)
{
	return monotonic_us() / 1000000 + 1;
}

static int
uncertain_is_due(const struct core_box_memory *mem)
{
	int64_t wait = mem->look_cost_us * UNCERTAIN_WAIT_FACTOR;

	if (wait > UNCERTAIN_WAIT_MAX_US)
		wait = UNCERTAIN_WAIT_MAX_US;
	return mem->new_uncertain && monotonic_us() - mem->look_end_us >= wait;
}

static enum err
box_step(struct core_tx *tx, void *arg)
{
	struct scan *s = arg;

	return core_box_get(tx, s->mailbox, &s->box);
}

void
scan_reset(struct scan *s)
{
	buf_reset(&s->names);
	s->entry_count = s->fresh_count = s->changed_count = 0;
	numset_free(&s->missing);
	s->escalate = 0;
}

static void
scan_fini(struct scan *s)
{
	(void)core_uidlist_write_end(&s->list);
	scan_reset(s);
	buf_free(&s->names);
	free(s->entries);
	free(s->sorted_entries);
	free(s->fresh);
	free(s->changed);
	if (s->has_list)
		core_uidlist_free(&s->listed);
	io_close(&s->fd[0]);
	io_close(&s->fd[1]);
}

/* 0: nothing to look for. */
static int
choose_mode(struct scan *s, int force)
{
	struct core_box_memory *mem = core_memory(s->core, s->mailbox);
	int64_t now = monotonic_s();

	if (mem->full_look_s == 0)
		mem->full_look_s = now;
	if (force || s->box.r.cur_mtime_ns == 0 || s->box.r.cur_mtime_ns != s->mtime_ns[1] ||
		now - mem->full_look_s > CORE_FULL_LOOK_S)
		s->mode = SCAN_FULL;
	else if (s->box.r.new_mtime_ns != s->mtime_ns[0])
		s->mode = SCAN_NEW;
	else if (uncertain_is_due(mem))
		s->mode = SCAN_ADDED;
	else
		return 0;
	return 1;
}

/*
 * readdir may miss a file that is renamed while it runs: what seems gone is looked for a second
 * time before it is believed.
 */
static enum err
look(struct scan *s)
{
	enum err e;

	for (int again = 0;;) {
		scan_reset(s);
		e = scan_read(s);
		if (e == OK)
			e = core_read(s->core, scan_compare, s);
		if (e)
			return e;
		if (s->escalate && s->mode != SCAN_FULL) {
			s->mode = SCAN_FULL;
			continue;
		}
		if (numset_is_empty(&s->missing) || again)
			return OK;
		again = 1;
	}
}

static void
set_times(struct scan *s, const int clean[2])
{
	struct core_box_memory *mem = core_memory(s->core, s->mailbox);
	int fresh = core_time_is_fresh(s->mtime_ns[0]);

	if (s->mode == SCAN_FULL) {
		mem->full_look_s = monotonic_s();
		s->box.r.cur_mtime_ns = core_time_is_fresh(s->mtime_ns[1]) ? 0 : s->mtime_ns[1];
		if (clean[1] && s->box.r.cur_mtime_ns)
			s->box.r.cur_mtime_ns = core_dir_mtime_ns(s->fd[1]);
	}
	s->box.r.new_mtime_ns = s->mtime_ns[0];
	if (clean[0])
		s->box.r.new_mtime_ns = core_dir_mtime_ns(s->fd[0]);
	mem->new_uncertain = fresh;
}

static void
note_cost(const struct scan *s, int64_t begin_us)
{
	struct core_box_memory *mem = core_memory(s->core, s->mailbox);

	mem->look_end_us = monotonic_us();
	mem->look_cost_us = mem->look_end_us - begin_us;
}

/*
 * All at once; but while an index is built in pieces, whose pages LMDB uses again for the next one:
 * fresh memory for each page costs more than what is written to it.
 */
static enum err
take_in(struct scan *s)
{
	enum { PIECE = 4096 };
	size_t most = s->core->building ? PIECE : s->fresh_count;
	enum err e;

	do {
		s->apply_from = s->apply_to;
		s->apply_to = s->fresh_count - s->apply_from < most ? s->fresh_count
								    : s->apply_from + most;
		e = core_run(s->core, scan_apply, s);
	} while (e == OK && s->apply_to < s->fresh_count);
	return e;
}

static enum err
scan_run(struct scan *s, int force)
{
	int clean[2];
	int64_t begin = monotonic_us();
	enum err e = core_read(s->core, box_step, s);

	if (e == OK) {
		s->mtime_ns[0] = core_dir_mtime_at(s->core, s->box.dir, CORE_NEW);
		s->mtime_ns[1] = core_dir_mtime_at(s->core, s->box.dir, CORE_CUR);
		if (s->mtime_ns[0] && s->mtime_ns[1] && !choose_mode(s, force))
			return OK;
	}
	if (e == OK)
		e = core_dir_open(s->core, s->box.dir, CORE_NEW, &s->fd[0]);
	if (e == OK)
		e = core_dir_open(s->core, s->box.dir, CORE_CUR, &s->fd[1]);
	if (e)
		return e;
	s->mtime_ns[0] = core_dir_mtime_ns(s->fd[0]);
	s->mtime_ns[1] = core_dir_mtime_ns(s->fd[1]);
	if (!choose_mode(s, force))
		return OK;
	e = core_uidlist_read(s->core, s->box.dir, s->box.r.uidvalidity, &s->listed);
	if (e && e != E_NOTFOUND)
		return e;
	s->has_list = e == OK;
	if (s->has_list && s->mode == SCAN_FULL)
		core_uidlist_check_later(s->core, s->mailbox);
	s->virgin = s->box.r.highest_modseq == s->box.r.vanished_floor && s->box.r.messages == 0;
	e = look(s);
	/* Our own renames change the times too; nobody else's may hide behind them. */
	clean[0] = core_dir_mtime_ns(s->fd[0]) == s->mtime_ns[0];
	clean[1] = core_dir_mtime_ns(s->fd[1]) == s->mtime_ns[1];
	if (e == OK && s->fresh_count)
		e = scan_name_fresh(s);
	if (e)
		return e;
	set_times(s, clean);
	note_cost(s, begin);
	if (s->mode == SCAN_ADDED && s->fresh_count == 0)
		return OK;
	e = take_in(s);
	if (e == OK)
		e = core_uidlist_write_end(&s->list);
	if (e == OK && s->fresh_count + s->changed_count + numset_size(&s->missing))
		log_event(LOGL_INFO, "index.scan ok", "maildir", s->core->maildir, "dir",
			s->box.dir, "added", log_u64(s->fresh_count), "changed",
			log_u64(s->changed_count), "gone", log_u64(numset_size(&s->missing)), NULL);
	return e;
}

/* Some 5,000 names of usual length; on file systems whose directories say no size, 20,000 messages.
 */
enum { LONG_LOOK_BYTES = 384 << 10, LONG_LOOK_MESSAGES = 20000 };

int
index_core_look_is_long(struct index_core *c, uint32_t mailbox)
{
	struct scan s = {.core = c, .mailbox = mailbox, .fd = {-1, -1}};
	int64_t bytes;

	if (core_read(c, box_step, &s))
		return 0;
	s.mtime_ns[0] = core_dir_mtime_at(c, s.box.dir, CORE_NEW);
	s.mtime_ns[1] = core_dir_mtime_at(c, s.box.dir, CORE_CUR);
	if (!s.mtime_ns[0] || !s.mtime_ns[1] || !choose_mode(&s, 0))
		return 0;
	bytes = core_dir_size_at(c, s.box.dir, CORE_NEW);
	if (s.mode == SCAN_FULL)
		bytes += core_dir_size_at(c, s.box.dir, CORE_CUR);
	return bytes >= LONG_LOOK_BYTES ||
	       (s.mode == SCAN_FULL && s.box.r.messages >= LONG_LOOK_MESSAGES);
}

enum err
core_scan(struct index_core *c, uint32_t mailbox, int force)
{
	struct scan s = {.core = c, .mailbox = mailbox, .fd = {-1, -1}};
	enum err e = scan_run(&s, force);

	scan_fini(&s);
	return e;
}

enum err
core_scan_count(struct index_core *c, uint32_t mailbox, struct core_scan_counts *out)
{
	struct scan s = {.core = c, .mailbox = mailbox, .fd = {-1, -1}, .mode = SCAN_FULL};
	enum err e = core_read(c, box_step, &s);

	*out = (struct core_scan_counts){0};
	if (e == OK) {
		e = core_uidlist_read(c, s.box.dir, s.box.r.uidvalidity, &s.listed);
		s.has_list = e == OK;
		if (e == E_NOTFOUND)
			e = OK;
	}
	if (e == OK)
		e = look(&s);
	out->added = s.fresh_count;
	out->changed = s.changed_count;
	out->gone = numset_size(&s.missing);
	scan_fini(&s);
	return e;
}

struct all {
	struct core_box *boxes;
	size_t count;
};

static enum err
all_step(struct core_tx *tx, void *arg)
{
	struct all *a = arg;

	return core_box_list(tx, &a->boxes, &a->count);
}

enum err
index_core_refresh(struct index_core *c, uint32_t mailbox)
{
	struct all a = {0};
	enum err e;

	if (mailbox) {
		e = core_scan(c, mailbox, 0);
		/* No folder, but the index still has it: another program removed it. */
		if (e == E_NOTFOUND && core_tree_look(c, 1))
			log_event(LOGL_WARN, "index.tree failed", "maildir", c->maildir, NULL);
		return e;
	}
	e = core_tree_look(c, 0);
	if (e == OK)
		e = core_read(c, all_step, &a);
	for (size_t i = 0; i < a.count && e == OK; i++) {
		e = core_scan(c, a.boxes[i].r.id, 0);
		/* One folder that cannot be read must not keep the others away. */
		if (e == E_NOTFOUND || e == E_ACCESS)
			e = OK;
	}
	free(a.boxes);
	return e;
}

enum err
index_core_mailboxes(struct index_core *c, uint32_t **ids, size_t *count)
{
	struct all a = {0};
	enum err e = core_read(c, all_step, &a);
	size_t n = 0;

	*ids = mem_alloc((a.count + 1) * sizeof(**ids));
	for (int inbox = 1; inbox >= 0; inbox--)
		for (size_t i = 0; i < a.count; i++)
			if ((a.boxes[i].dir[0] == '\0') == inbox)
				(*ids)[n++] = a.boxes[i].r.id;
	*count = n;
	free(a.boxes);
	if (e) {
		free(*ids);
		*ids = NULL;
		*count = 0;
	}
	return e;
}

enum err
index_core_refresh_tree(struct index_core *c)
{
	return core_tree_look(c, 0);
}

int
index_core_tree_is_half_made(const struct index_core *c)
{
	return c->tree_half_made;
}

struct where {
	uint32_t mailbox, uid;
	struct core_box box;
	struct core_message m;
};

static enum err
where_step(struct core_tx *tx, void *arg)
{
	struct where *w = arg;
	enum err e = core_box_get(tx, w->mailbox, &w->box);

	return e ? e : core_message_get(tx, w->mailbox, w->uid, &w->m);
}

static int
exists(struct index_core *c, struct buf *path)
{
	return faccessat(c->maildir_fd, buf_cstr(path), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

enum err
index_core_locate(struct index_core *c, uint32_t mailbox, uint32_t uid, struct buf *path)
{
	struct where w = {.mailbox = mailbox, .uid = uid};

	for (int again = 0; again < 2; again++) {
		enum err e = core_read(c, where_step, &w);
		struct str dir = str_of(w.box.dir);

		if (e)
			return e;
		buf_reset(path);
		index_message_path(dir, &w.m.r, path);
		if (exists(c, path))
			return OK;
		buf_reset(path);
		index_message_wanted_path(dir, &w.m.r, uid, path);
		if (exists(c, path))
			return OK;
		e = again ? OK : core_scan(c, mailbox, 1);
		if (e)
			return e;
	}
	return E_NOTFOUND;
}
