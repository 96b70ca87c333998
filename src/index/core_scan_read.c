/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "index/core_scan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "index/core_dirents.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

/* ---- reading ---- */

static int
is_regular(int fd, const struct dirent64 *d)
{
	struct stat st;

	if (d->d_type != DT_UNKNOWN)
		return d->d_type == DT_REG;
	return fstatat(fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
}

static void
reserve(struct scan *s, size_t entries, size_t name_bytes)
{
	s->entry_cap = s->entry_count + entries;
	s->entries = mem_realloc(s->entries, s->entry_cap, sizeof(*s->entries));
	mem_huge(s->entries, s->entry_cap * sizeof(*s->entries));
	(void)buf_reserve(&s->names, name_bytes);
	mem_huge(s->names.p, s->names.cap);
}

/*
 * Growing step by step would copy much of a large directory; its size says how much it is at most.
 * Names get room for those that are put into order behind them. 1: it is large.
 */
static int
reserve_for(struct scan *s, int fd)
{
	enum { ENTRY_BYTES_MIN = 56, LARGE = 1 << 20, HUGE_SIZE = 256 << 20 };
	struct stat st;

	if (fstat(fd, &st) != 0 || st.st_size < LARGE)
		return 0;
	if (st.st_size < HUGE_SIZE)
		reserve(s, (size_t)st.st_size / ENTRY_BYTES_MIN, 2 * (size_t)st.st_size);
	return 1;
}

static void
read_one(struct scan *s, int fd, const struct dirent64 *d, int in_new)
{
	struct str name = str_of(d->d_name);
	struct scan_entry *en;
	struct maildir_name n;

	if (d->d_name[0] == '.')
		return;
	if (maildir_name_parse(name, &n) || n.base.len > MAILDIR_NAME_MAX - 40 ||
		!is_regular(fd, d)) {
		log_event(LOGL_WARN, "index.file skipped", "maildir", s->core->maildir, "dir",
			s->box.dir, "file", d->d_name, NULL);
		return;
	}
	if (s->entry_count == s->entry_cap)
		reserve(s, s->entry_cap ? s->entry_cap : 64, 0);
	en = &s->entries[s->entry_count++];
	*en = (struct scan_entry){.name_off = s->names.len,
		.time = n.time,
		.size = n.has_size ? n.size : UINT64_MAX,
		.crlf_size = n.has_crlf_size ? n.crlf_size : UINT64_MAX,
		.base_hash = core_base_hash(n.has_info ? n.base : name),
		.uid = n.uid,
		.letters = n.letters,
		.flags = (unsigned char)n.flags,
		.base_len = (unsigned char)n.base.len,
		.name_len = (unsigned char)name.len,
		.has_info = n.has_info != 0,
		.in_new = in_new != 0};
	if (s->has_list)
		en->line = core_uidlist_find(&s->listed, name);
	if (en->line)
		en->uid = en->line->uid;
	en->has_uid = n.uid && en->uid == n.uid;
	buf_add(&s->names, name.p, name.len + 1);
}

static enum err
read_dir(struct scan *s, enum core_sub sub)
{
	struct core_dirents *all;
	const struct dirent64 *d;
	int fd, large;
	enum err e = core_dir_open(s->core, s->box.dir, sub, &fd);

	if (e)
		return e;
	large = reserve_for(s, fd);
	all = core_dirents_begin(fd, large);
	while ((d = core_dirents_next(all, &e)))
		read_one(s, fd, d, sub == CORE_NEW);
	core_dirents_end(&all);
	io_close(&fd);
	return e;
}

static int
compare_entries(const void *a, const void *b, void *arg)
{
	const struct scan_entry *x = a, *y = b;
	const char *names = arg;

	if (x->uid != y->uid)
		return x->uid < y->uid ? -1 : 1;
	return strcmp(names + x->name_off, names + y->name_off);
}

/* Those without a UID come first and are put into order when they get one. */
static void
sort_entries(struct scan *s)
{
	size_t front = 0;

	for (size_t i = 0; i < s->entry_count; i++) {
		struct scan_entry en = s->entries[i];

		if (en.uid)
			continue;
		s->entries[i] = s->entries[front];
		s->entries[front++] = en;
	}
	if (s->entry_count > front)
		qsort_r(s->entries + front, s->entry_count - front, sizeof(*s->entries),
			compare_entries, s->names.p);
}

enum err
scan_read(struct scan *s)
{
	enum err e = read_dir(s, CORE_NEW);

	/* cur/ last: a file that moves on meanwhile is seen twice and not missed. */
	if (e == OK && s->mode == SCAN_FULL)
		e = read_dir(s, CORE_CUR);
	sort_entries(s);
	return e;
}

/* ---- comparing ---- */

static void
add_fresh(struct scan *s, struct scan_entry *en, uint32_t uid)
{
	if (s->fresh_count == s->fresh_cap) {
		s->fresh_cap = s->fresh_cap ? s->fresh_cap * 2 : 16;
		s->fresh = mem_realloc(s->fresh, s->fresh_cap, sizeof(*s->fresh));
	}
	s->fresh[s->fresh_count++] = (struct scan_fresh){.en = en, .uid = uid};
}

/* Those without a UID, which come first. */
static void
reserve_fresh(struct scan *s)
{
	size_t count = 0;

	while (count < s->entry_count && s->entries[count].uid == 0)
		count++;
	if (count <= s->fresh_cap)
		return;
	free(s->fresh);
	s->fresh = mem_large(count * sizeof(*s->fresh));
	s->fresh_cap = count;
}

static void
add_changed(struct scan *s, const struct scan_entry *en, uint32_t uid)
{
	if (s->changed_count == s->changed_cap) {
		s->changed_cap = s->changed_cap ? s->changed_cap * 2 : 16;
		s->changed = mem_realloc(s->changed, s->changed_cap, sizeof(*s->changed));
	}
	s->changed[s->changed_count++] =
		(struct scan_changed){.name_off = en->name_off, .uid = uid, .in_new = en->in_new};
}

/* 2: the very file; 1: another name of it (fields added or removed); 0: another file. */
static int
likeness(const struct scan *s, const struct scan_entry *en, struct str record)
{
	struct maildir_name n;
	struct str x, y;

	if (maildir_name_parse(str_of(scan_name(s, en->name_off)), &n))
		return 0;
	if (str_equal(n.base, record))
		return 2;
	x = n.base;
	y = record;
	return str_equal(str_split(&x, ','), str_split(&y, ','));
}

/* Entries [*at, end) have the record's UID. */
static void
match_record(struct scan *s, uint32_t uid, const struct index_message_record *m, size_t *at)
{
	struct scan_entry *best = NULL;
	int best_likeness = 0;

	for (size_t i = *at; i < s->entry_count && s->entries[i].uid == uid; i++) {
		struct scan_entry *en = &s->entries[i];
		int like = likeness(s, en, str_make(m->name.p, m->base_len));

		/* Of the same file seen in both directories the one in cur/ is the later. */
		if (like > best_likeness || (like && like == best_likeness && !en->in_new)) {
			best = en;
			best_likeness = like;
		}
	}
	for (; *at < s->entry_count && s->entries[*at].uid == uid; (*at)++) {
		struct scan_entry *en = &s->entries[*at];

		if (en == best || (best && likeness(s, en, str_make(m->name.p, m->base_len))))
			continue;
		add_fresh(s, en, 0);
	}
	if (!best) {
		if (s->mode == SCAN_FULL || m->in_new)
			numset_add(&s->missing, uid);
		if (s->mode == SCAN_NEW && m->in_new)
			s->escalate = 1;
		return;
	}
	if (best->in_new != m->in_new || !str_is(m->name, scan_name(s, best->name_off)))
		add_changed(s, best, uid);
}

/* A file with a UID that no message has. */
static void
stray(struct scan *s, struct scan_entry *en, int first_of_uid)
{
	const struct index_mailbox_record *b = &s->box.r;
	int believed = 0;

	if (first_of_uid && s->virgin)
		believed = b->uid_floor == 1 ? en->uid < INT32_MAX : en->uid < b->uid_floor;
	else if (first_of_uid)
		believed = en->uid >= b->uidnext && en->uid < b->uid_floor;
	add_fresh(s, en, believed ? en->uid : 0);
}

static enum err
compare_all(struct scan *s, struct core_tx *tx, size_t *at)
{
	struct index_key key = index_key_message(s->mailbox, 0);
	MDB_val k = index_key_val(&key), v;
	struct index_message_record m;
	uint32_t id, uid, last = 0;
	MDB_cursor *cur;
	enum err e;

	e = index_err_of_mdb(
		mdb_cursor_open(tx->txn, tx->core->env->dbi[INDEX_DB_MESSAGE], &cur), "scan");
	if (e)
		return e;
	for (e = core_tx_next(cur, &k, &v, MDB_SET_RANGE); e == OK;
		e = core_tx_next(cur, &k, &v, MDB_NEXT)) {
		e = index_key_get_message(&k, &id, &uid);
		if (e || id != s->mailbox)
			break;
		e = index_message_decode(&v, &m);
		if (e)
			break;
		for (; *at < s->entry_count && s->entries[*at].uid < uid; (*at)++) {
			stray(s, &s->entries[*at], s->entries[*at].uid != last);
			last = s->entries[*at].uid;
		}
		match_record(s, uid, &m, at);
	}
	mdb_cursor_close(cur);
	return e == E_NOTFOUND ? OK : e;
}

/* For new/ alone: a look-up for each file. */
static enum err
compare_added(struct scan *s, struct core_tx *tx, size_t *at)
{
	struct core_message m;

	while (*at < s->entry_count) {
		uint32_t uid = s->entries[*at].uid, last = *at ? s->entries[*at - 1].uid : 0;
		enum err e = core_message_get(tx, s->mailbox, uid, &m);

		if (e == OK)
			match_record(s, uid, &m.r, at);
		else if (e == E_NOTFOUND)
			stray(s, &s->entries[(*at)++], uid != last);
		else
			return e;
	}
	return OK;
}

enum err
scan_compare(struct core_tx *tx, void *arg)
{
	struct scan *s = arg;
	size_t at = 0;
	uint32_t last = 0;
	enum err e;

	reserve_fresh(s);
	for (; at < s->entry_count && s->entries[at].uid == 0; at++)
		add_fresh(s, &s->entries[at], 0);
	if (s->mode == SCAN_ADDED)
		e = compare_added(s, tx, &at);
	else
		e = compare_all(s, tx, &at);
	for (; at < s->entry_count && e == OK; at++) {
		stray(s, &s->entries[at], s->entries[at].uid != last);
		last = s->entries[at].uid;
	}
	return e;
}
