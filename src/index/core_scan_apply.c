/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "index/core_scan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/mem.h"

/* ---- fresh files get UIDs and names ---- */

/* Those that keep their UID first, the others in the order of their delivery. */
static int
compare_fresh(const void *a, const void *b)
{
	const struct scan_fresh *x = a, *y = b;

	if (x->uid != y->uid) {
		if (x->uid == 0 || y->uid == 0)
			return x->uid == 0 ? 1 : -1;
		return x->uid < y->uid ? -1 : 1;
	}
	if (x->n.time != y->n.time)
		return x->n.time < y->n.time ? -1 : 1;
	return strcmp(x->name, y->name);
}

static enum err
find_sizes(struct scan *s, struct scan_fresh *f)
{
	f->m.r.size = f->n.has_crlf_size ? f->n.crlf_size : INDEX_SIZE_UNKNOWN;
	f->m.r.disk_size = f->n.size;
	if (f->n.has_size)
		return OK;
	return core_file_size(
		s->core, s->fd[f->in_new ? 0 : 1], f->name, &f->m.r.disk_size, &f->m.r.internal_date);
}

/* The name with our fields in it; one that is too long for them is replaced. */
static void
new_name(struct scan *s, struct scan_fresh *f, uint32_t uid, struct buf *out, size_t *base_len)
{
	struct maildir_unique u = {.time_s = f->n.time ? f->n.time : core_now_s(),
		.pid = (uint32_t)getpid(),
		.counter = ++s->core->counter,
		.host = s->core->host};
	struct timespec ts;

	if (maildir_base_rebuild(&f->n, f->m.r.disk_size, f->m.r.size, uid, out)) {
		buf_reset(out);
		clock_gettime(CLOCK_REALTIME, &ts);
		u.usec = (uint32_t)(ts.tv_nsec / 1000);
		maildir_unique_build(&u, out);
		maildir_fields_build(f->m.r.disk_size, f->m.r.size, uid, out);
	}
	*base_len = out->len;
	if (f->n.has_info)
		maildir_info_build(f->n.flags, f->n.letters, f->n.others, out);
}

static void
name_one(struct scan *s, struct scan_fresh *f, uint32_t uid)
{
	int fd = s->fd[f->in_new ? 0 : 1];
	struct buf name = {0};
	size_t base_len;

	f->failed = 1;
	if (find_sizes(s, f))
		return;
	if (f->uid == uid) {
		core_message_set_name(&f->m, str_of(f->name), f->n.base.len);
		f->failed = 0;
		return;
	}
	new_name(s, f, uid, &name, &base_len);
	if (renameat(fd, f->name, fd, buf_cstr(&name)) == 0) {
		core_message_set_name(&f->m, buf_str(&name), base_len);
		f->uid = uid;
		f->failed = 0;
	} else if (errno != ENOENT) {
		log_event(LOGL_WARN, "index.file skipped", "maildir", s->core->maildir, "dir",
			s->box.dir, "file", f->name, "error", log_errno(errno), NULL);
	}
	buf_free(&name);
}

enum err
scan_name_fresh(struct scan *s)
{
	uint32_t next = s->box.r.uidnext;
	size_t renamed = 0;
	enum err e;

	for (size_t i = 0; i < s->fresh_count; i++)
		(void)maildir_name_parse(str_of(s->fresh[i].name), &s->fresh[i].n);
	qsort(s->fresh, s->fresh_count, sizeof(*s->fresh), compare_fresh);
	for (size_t i = 0; i < s->fresh_count; i++) {
		struct scan_fresh *f = &s->fresh[i];

		/* Sorting moved the names that these point into. */
		(void)maildir_name_parse(str_of(f->name), &f->n);
		if (f->uid && f->uid >= next)
			next = f->uid + 1;
		renamed += f->uid == 0;
	}
	s->box.r.uidnext = next;
	e = core_uid_reserve(s->core, &s->box, renamed);
	for (size_t i = 0; i < s->fresh_count && e == OK; i++) {
		struct scan_fresh *f = &s->fresh[i];

		name_one(s, f, f->uid ? f->uid : next);
		if (!f->failed && f->uid == next)
			next++;
	}
	s->box.r.uidnext = next;
	if (renamed) {
		core_sync_note(s->core, s->fd[0]);
		core_sync_note(s->core, s->fd[1]);
	}
	return e;
}

/* ---- into the index ---- */

static uint64_t
letters_to_bits(uint32_t letters, char names[INDEX_KEYWORDS_MAX][INDEX_KEYWORD_LEN_MAX + 1])
{
	uint64_t bits = 0;

	/* A letter that roost-keywords does not know means nothing. */
	for (int i = 0; i < CORE_LETTERS; i++)
		if ((letters >> i & 1) && names[i][0])
			bits |= UINT64_C(1) << i;
	return bits;
}

static enum err
apply_fresh(struct core_tx *tx, struct core_box *b, struct scan_fresh *f,
	char names[INDEX_KEYWORDS_MAX][INDEX_KEYWORD_LEN_MAX + 1])
{
	f->m.r.name.p = f->m.name;
	f->m.r.in_new = f->in_new;
	f->m.r.flags = f->n.flags;
	f->m.r.keywords.bits[0] = letters_to_bits(f->n.letters, names);
	f->m.r.save_date = f->n.time;
	return core_message_add(tx, b, f->uid, &f->m);
}

/* The name's difference to what it was last is what the other program did to the flags. */
static enum err
apply_changed(struct core_tx *tx, struct core_box *b, const struct scan_changed *ch,
	char names[INDEX_KEYWORDS_MAX][INDEX_KEYWORD_LEN_MAX + 1])
{
	struct core_message old, m;
	struct maildir_name was, is;
	uint64_t bits_was, bits_is;
	enum err e = core_message_get(tx, b->r.id, ch->uid, &old);

	if (e)
		return e;
	m = old;
	m.r.name.p = m.name;
	if (maildir_name_parse(old.r.name, &was) || maildir_name_parse(str_of(ch->name), &is))
		return OK;
	core_message_set_name(&m, str_of(ch->name), is.base.len);
	m.r.in_new = ch->in_new;
	m.r.flags = (m.r.flags | (is.flags & ~was.flags)) & ~(was.flags & ~is.flags);
	bits_was = letters_to_bits(was.letters, names);
	bits_is = letters_to_bits(is.letters, names);
	m.r.keywords.bits[0] |= bits_is & ~bits_was;
	m.r.keywords.bits[0] &= ~(bits_was & ~bits_is);
	return core_message_change(tx, b, ch->uid, &old, &m,
		m.r.flags != old.r.flags || m.r.keywords.bits[0] != old.r.keywords.bits[0]);
}

static enum err
apply_missing(
	struct core_tx *tx, struct core_box *b, uint32_t uid, struct core_message *m, void *arg)
{
	(void)arg;
	return core_message_remove(tx, b, uid, m);
}

enum err
scan_apply(struct core_tx *tx, void *arg)
{
	char names[INDEX_KEYWORDS_MAX][INDEX_KEYWORD_LEN_MAX + 1];
	struct scan *s = arg;
	struct core_box box;
	enum err e = core_box_get(tx, s->mailbox, &box);

	if (e == OK)
		e = core_keywords_get(tx, s->mailbox, names);
	if (e)
		return e;
	box.r.uidnext = s->box.r.uidnext;
	box.r.uid_floor = s->box.r.uid_floor;
	box.r.new_mtime_ns = s->box.r.new_mtime_ns;
	box.r.cur_mtime_ns = s->box.r.cur_mtime_ns;
	for (size_t i = 0; i < s->changed_count && e == OK; i++)
		e = apply_changed(tx, &box, &s->changed[i], names);
	if (e == OK && !numset_is_empty(&s->missing))
		e = core_each(tx, &box, &s->missing, apply_missing, NULL);
	for (size_t i = 0; i < s->fresh_count && e == OK; i++)
		if (!s->fresh[i].failed)
			e = apply_fresh(tx, &box, &s->fresh[i], names);
	if (e == OK && s->virgin)
		e = core_keywords_more_load(tx, &box);
	return e ? e : core_box_put(tx, &box);
}
