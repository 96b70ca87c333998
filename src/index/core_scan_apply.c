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
#include "lib/str.h"

/* ---- fresh files get UIDs and names ---- */

/* The bytes behind the time, so that most names need not be looked at for the order. */
static uint64_t
behind_time(const char *name)
{
	uint64_t out = 0;
	int n = 0;

	while (str_is_digit(*name))
		name++;
	for (; n < 8 && *name; n++)
		out = out << 8 | (unsigned char)*name++;
	return n < 8 ? out << (8 * (8 - n)) : out;
}

struct order {
	int64_t time;
	uint64_t behind;
	size_t at; /* in scan.fresh */
};

/* Those that keep their UID first, the others in the order of their delivery. */
static int
compare_fresh(const void *a, const void *b, void *arg)
{
	const struct order *x = a, *y = b;
	const struct scan *s = arg;
	uint32_t ux = s->fresh[x->at].uid, uy = s->fresh[y->at].uid;

	if (ux != uy) {
		if (ux == 0 || uy == 0)
			return ux == 0 ? 1 : -1;
		return ux < uy ? -1 : 1;
	}
	if (x->time != y->time)
		return x->time < y->time ? -1 : 1;
	if (x->behind != y->behind)
		return x->behind < y->behind ? -1 : 1;
	return strcmp(
		scan_name(s, s->fresh[x->at].name_off), scan_name(s, s->fresh[y->at].name_off));
}

static void
sort_fresh(struct scan *s)
{
	struct order *order = mem_alloc((s->fresh_count + 1) * sizeof(*order));
	struct scan_fresh *sorted = mem_alloc((s->fresh_count + 1) * sizeof(*sorted));

	for (size_t i = 0; i < s->fresh_count; i++)
		order[i] = (struct order){
			s->fresh[i].time, behind_time(scan_name(s, s->fresh[i].name_off)), i};
	qsort_r(order, s->fresh_count, sizeof(*order), compare_fresh, s);
	for (size_t i = 0; i < s->fresh_count; i++)
		sorted[i] = s->fresh[order[i].at];
	free(order);
	free(s->fresh);
	s->fresh = sorted;
	s->fresh_cap = s->fresh_count + 1;
}

/* What the name and the list say of its sizes; those of the file only when its name is built. */
static void
known_sizes(struct scan_fresh *f, const struct maildir_name *n)
{
	f->size = INDEX_SIZE_UNKNOWN;
	f->disk_size = 0;
	if (n->has_crlf_size)
		f->size = n->crlf_size;
	else if (f->line && f->line->crlf_size != UINT64_MAX)
		f->size = f->line->crlf_size;
	if (n->has_size)
		f->disk_size = n->size;
	else if (f->line && f->line->size != UINT64_MAX)
		f->disk_size = f->line->size;
}

/* The name with our fields in it; one that is too long for them is replaced. */
static void
new_name(struct scan *s, const struct scan_fresh *f, const struct maildir_name *n, uint32_t uid,
	struct buf *out)
{
	struct maildir_unique u = {.time_s = n->time ? n->time : core_now_s(),
		.pid = (uint32_t)getpid(),
		.counter = ++s->core->counter,
		.host = s->core->host};
	struct timespec ts;

	if (maildir_base_rebuild(n, f->disk_size, f->size, uid, out)) {
		buf_reset(out);
		clock_gettime(CLOCK_REALTIME, &ts);
		u.usec = (uint32_t)(ts.tv_nsec / 1000);
		maildir_unique_build(&u, out);
		maildir_fields_build(f->disk_size, f->size, uid, out);
	}
	if (n->has_info)
		maildir_info_build(n->flags, n->letters, n->others, out);
}

static void
name_one(struct scan *s, struct scan_fresh *f, uint32_t uid)
{
	const char *old = scan_name(s, f->name_off);
	int fd = s->fd[f->in_new ? 0 : 1];
	struct buf name = {0};
	struct maildir_name n;

	f->failed = 1;
	(void)maildir_name_parse(str_of(old), &n);
	known_sizes(f, &n);
	if (!n.has_size && !f->disk_size && !(f->line && f->uid == uid) &&
		core_file_size(s->core, fd, old, &f->disk_size, &f->internal_date))
		return;
	if (f->uid == uid) {
		f->failed = 0;
		return;
	}
	new_name(s, f, &n, uid, &name);
	if (renameat(fd, old, fd, buf_cstr(&name)) == 0) {
		f->name_off = s->names.len;
		buf_add(&s->names, buf_cstr(&name), name.len + 1);
		f->uid = uid;
		f->failed = 0;
	} else if (errno != ENOENT) {
		log_event(LOGL_WARN, "index.file skipped", "maildir", s->core->maildir, "dir",
			s->box.dir, "file", old, "error", log_errno(errno), NULL);
	}
	buf_free(&name);
}

/* ---- many at once: a list now, names later ---- */

static void
find_twins(const struct scan *s, struct core_bases *twice)
{
	struct core_bases all;

	core_bases_init(&all, s->entry_count);
	core_bases_init(twice, s->entry_count);
	for (size_t i = 0; i < s->entry_count; i++) {
		struct str base = core_uidlist_base(str_of(scan_name(s, s->entries[i].name_off)));

		if (!core_bases_add(&all, base))
			(void)core_bases_add(twice, base);
	}
	core_bases_fini(&all);
}

/* 1: it has its UID by the list. */
static int
list_one(struct scan *s, struct scan_fresh *f, uint32_t uid, const struct core_bases *twice,
	struct buf *lines)
{
	struct str name = str_of(scan_name(s, f->name_off)), base = core_uidlist_base(name);
	struct maildir_name n;

	if (base.len > CORE_UIDLIST_BASE_MAX || f->line || core_bases_has(twice, base))
		return 0;
	(void)maildir_name_parse(name, &n);
	known_sizes(f, &n);
	f->uid = uid;
	f->later = 1;
	core_uidlist_line(uid, UINT64_MAX, UINT64_MAX, base, lines);
	return 1;
}

static enum err
name_all(struct scan *s, size_t renamed, uint32_t *next)
{
	struct core_bases twice = {0};
	struct buf lines = {0};
	enum err e = OK;
	int touched = 0;

	if (renamed >= CORE_UIDLIST_MIN)
		find_twins(s, &twice);
	for (size_t i = 0; i < s->fresh_count; i++) {
		struct scan_fresh *f = &s->fresh[i];

		if (f->uid || !twice.slots || !list_one(s, f, *next, &twice, &lines)) {
			touched |= f->uid == 0;
			name_one(s, f, f->uid ? f->uid : *next);
		}
		if (!f->failed && f->uid == *next)
			(*next)++;
	}
	if (lines.len)
		e = lines.err ? lines.err
			      : core_uidlist_write(s->core, s->box.dir, s->box.r.uidvalidity, *next,
					s->has_list ? &s->listed : NULL, &lines);
	if (lines.len || s->has_list)
		core_uidlist_check_later(s->core, s->mailbox);
	if (touched) {
		core_sync_note(s->core, s->fd[0]);
		core_sync_note(s->core, s->fd[1]);
	}
	buf_free(&lines);
	core_bases_fini(&twice);
	return e;
}

enum err
scan_name_fresh(struct scan *s)
{
	uint32_t next = s->box.r.uidnext;
	size_t renamed = 0;
	enum err e;

	sort_fresh(s);
	for (size_t i = 0; i < s->fresh_count; i++) {
		struct scan_fresh *f = &s->fresh[i];

		if (f->uid && f->uid >= next)
			next = f->uid + 1;
		renamed += f->uid == 0;
	}
	s->box.r.uidnext = next;
	e = core_uid_reserve(s->core, &s->box, renamed);
	if (e == OK)
		e = name_all(s, renamed, &next);
	s->box.r.uidnext = next;
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
apply_one(struct core_tx *tx, struct scan *s, struct core_bulk *bulk, struct core_box *b,
	const struct scan_fresh *f, char names[INDEX_KEYWORDS_MAX][INDEX_KEYWORD_LEN_MAX + 1])
{
	struct core_message m;
	struct maildir_name n;
	enum err e = maildir_name_parse(str_of(scan_name(s, f->name_off)), &n);

	if (e)
		return e;
	memset(&m.r, 0, sizeof(m.r));
	core_message_set_name(&m, str_of(scan_name(s, f->name_off)), n.base.len);
	m.r.in_new = f->in_new;
	m.r.flags = n.flags;
	m.r.keywords.bits[0] = letters_to_bits(n.letters, names);
	m.r.save_date = n.time;
	m.r.internal_date = f->internal_date;
	m.r.size = f->size;
	m.r.disk_size = f->disk_size;
	return core_bulk_add(tx, bulk, b, f->uid, &m);
}

/* They are in the order of their UIDs. */
static enum err
apply_fresh(struct core_tx *tx, struct scan *s, struct core_box *b,
	char names[INDEX_KEYWORDS_MAX][INDEX_KEYWORD_LEN_MAX + 1])
{
	struct core_bulk bulk;
	enum err e;

	if (s->fresh_count == 0)
		return OK;
	e = core_bulk_begin(tx, b, s->fresh[0].uid, &bulk);
	for (size_t i = 0; i < s->fresh_count && e == OK; i++)
		if (!s->fresh[i].failed)
			e = apply_one(tx, s, &bulk, b, &s->fresh[i], names);
	core_bulk_end(&bulk);
	return e;
}

/* The name's difference to what it was last is what the other program did to the flags. */
static enum err
apply_changed(struct core_tx *tx, struct scan *s, struct core_box *b, const struct scan_changed *ch,
	char names[INDEX_KEYWORDS_MAX][INDEX_KEYWORD_LEN_MAX + 1])
{
	struct core_message old, m;
	struct str name = str_of(scan_name(s, ch->name_off));
	struct maildir_name was, is;
	uint64_t bits_was, bits_is;
	enum err e = core_message_get(tx, b->r.id, ch->uid, &old);

	if (e)
		return e;
	m = old;
	m.r.name.p = m.name;
	if (maildir_name_parse(old.r.name, &was) || maildir_name_parse(name, &is))
		return OK;
	core_message_set_name(&m, name, is.base.len);
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
		e = apply_changed(tx, s, &box, &s->changed[i], names);
	if (e == OK && !numset_is_empty(&s->missing))
		e = core_each(tx, &box, &s->missing, apply_missing, NULL);
	if (e == OK)
		e = apply_fresh(tx, s, &box, names);
	if (e == OK && s->virgin)
		e = core_keywords_more_load(tx, &box);
	return e ? e : core_box_put(tx, &box);
}
