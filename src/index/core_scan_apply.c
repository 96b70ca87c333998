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

/*
 * Those that keep their UID come first, the others in the order of their delivery. The words stand
 * for what decides, the last one most: the bytes behind the time, the time, the UID less one (0,
 * none, is the highest then).
 */
enum { ORDER_WORDS = 3 };
struct order {
	uint64_t words[ORDER_WORDS];
	uint32_t at; /* in scan.fresh */
};

static int
compare_order(const void *a, const void *b, void *arg)
{
	const struct order *x = a, *y = b;
	const struct scan *s = arg;

	for (int i = ORDER_WORDS - 1; i >= 0; i--)
		if (x->words[i] != y->words[i])
			return x->words[i] < y->words[i] ? -1 : 1;
	return strcmp(scan_name(s, s->fresh[x->at].en->name_off),
		scan_name(s, s->fresh[y->at].en->name_off));
}

/* By one byte of a word, what is alike in the order that it has. */
static void
order_by_byte(const struct order *from, struct order *to, size_t count, int word, int shift)
{
	size_t places[256] = {0}, sum = 0;

	for (size_t i = 0; i < count; i++)
		places[from[i].words[word] >> shift & 255]++;
	for (size_t i = 0; i < 256; i++) {
		size_t n = places[i];

		places[i] = sum;
		sum += n;
	}
	for (size_t i = 0; i < count; i++)
		to[places[from[i].words[word] >> shift & 255]++] = from[i];
}

/* What the words do not decide. */
static void
order_rest(struct scan *s, struct order *order)
{
	for (size_t begin = 0, end; begin < s->fresh_count; begin = end) {
		for (end = begin + 1;
			end < s->fresh_count &&
			memcmp(order[end].words, order[begin].words, sizeof(order->words)) == 0;)
			end++;
		if (end - begin > 1)
			qsort_r(order + begin, end - begin, sizeof(*order), compare_order, s);
	}
}

/*
 * Takes order and returns it, or another, sorted: byte for byte, from the least on, for a
 * comparison of many waits for memory again and again. Bytes that all have alike are left out:
 * those are most.
 */
static struct order *
sort_order(struct scan *s, struct order *order)
{
	enum { MANY = 1000 };
	uint64_t differ[ORDER_WORDS] = {0};
	struct order *other;

	if (s->fresh_count < MANY) {
		qsort_r(order, s->fresh_count, sizeof(*order), compare_order, s);
		return order;
	}
	for (size_t i = 1; i < s->fresh_count; i++)
		for (int w = 0; w < ORDER_WORDS; w++)
			differ[w] |= order[i].words[w] ^ order[0].words[w];
	other = mem_large(s->fresh_count * sizeof(*other));
	for (int w = 0; w < ORDER_WORDS; w++) {
		for (int shift = 0; shift < 64; shift += 8) {
			struct order *sorted = other;

			if (!(differ[w] >> shift & 255))
				continue;
			order_by_byte(order, sorted, s->fresh_count, w, shift);
			other = order;
			order = sorted;
		}
	}
	free(other);
	order_rest(s, order);
	return order;
}

/* Entries and names lie anywhere in the new order: what comes soon is fetched ahead. */
static void
fetch_ahead(const struct scan *s, const struct order *order, size_t i)
{
	enum { ENTRIES = 24, NAMES = 12 };
	const char *p;

	if (i + ENTRIES < s->fresh_count) {
		p = (const char *)s->fresh[order[i + ENTRIES].at].en;
		__builtin_prefetch(p);
		__builtin_prefetch(p + 64);
	}
	if (i + NAMES < s->fresh_count) {
		p = scan_name(s, s->fresh[order[i + NAMES].at].en->name_off);
		__builtin_prefetch(p);
		__builtin_prefetch(p + 64);
	}
}

/* Afterwards entries and names stand in the order in which they are needed, one behind the other.
 */
static void
gather(struct scan *s, const struct order *order)
{
	struct scan_fresh *sorted = mem_large((s->fresh_count + 1) * sizeof(*sorted));
	struct scan_entry *entries = mem_large((s->fresh_count + 1) * sizeof(*entries));
	size_t bytes = s->names.len;

	buf_reserve(&s->names, bytes);
	for (size_t i = 0; i < s->fresh_count; i++) {
		struct scan_entry *en = &entries[i];

		fetch_ahead(s, order, i);
		sorted[i] = s->fresh[order[i].at];
		*en = *sorted[i].en;
		sorted[i].en = en;
		buf_add(&s->names, scan_name(s, en->name_off), en->name_len + 1u);
		en->name_off = s->names.len - en->name_len - 1;
	}
	free(s->fresh);
	free(s->sorted_entries);
	s->fresh = sorted;
	s->fresh_cap = s->fresh_count + 1;
	s->sorted_entries = entries;
}

static void
sort_fresh(struct scan *s)
{
	struct order *order = mem_large((s->fresh_count + 1) * sizeof(*order));

	for (size_t i = 0; i < s->fresh_count; i++) {
		const struct scan_fresh *f = &s->fresh[i];

		order[i] = (struct order){
			.words = {behind_time(scan_name(s, f->en->name_off)), (uint64_t)f->en->time,
				(uint32_t)(f->uid - 1)},
			.at = (uint32_t)i,
		};
	}
	order = sort_order(s, order);
	gather(s, order);
	free(order);
}

/* What the list says of sizes and the name does not. */
static void
known_sizes(struct scan_entry *en)
{
	if (en->crlf_size == UINT64_MAX && en->line)
		en->crlf_size = en->line->crlf_size;
	if (en->size == UINT64_MAX && en->line)
		en->size = en->line->size;
}

/* The name with our fields in it; one that is too long for them is replaced. */
static void
new_name(struct scan *s, const struct scan_entry *en, const struct maildir_name *n, uint32_t uid,
	struct buf *out)
{
	struct maildir_unique u = {.time_s = n->time ? n->time : core_now_s(),
		.pid = (uint32_t)getpid(),
		.counter = ++s->core->counter,
		.host = s->core->host};
	struct timespec ts;

	if (maildir_base_rebuild(n, en->size, en->crlf_size, uid, out)) {
		buf_reset(out);
		clock_gettime(CLOCK_REALTIME, &ts);
		u.usec = (uint32_t)(ts.tv_nsec / 1000);
		maildir_unique_build(&u, out);
		maildir_fields_build(en->size, en->crlf_size, uid, out);
	}
	if (n->has_info)
		maildir_info_build(n->flags, n->letters, n->others, out);
}

static void
renamed_to(struct scan *s, struct scan_fresh *f, uint32_t uid, const struct buf *name)
{
	struct maildir_name n;

	f->en->name_off = s->names.len;
	buf_add(&s->names, name->p, name->len);
	buf_add_char(&s->names, '\0');
	f->en->name_len = (unsigned char)name->len;
	(void)maildir_name_parse(buf_str(name), &n);
	f->en->base_len = (unsigned char)n.base.len;
	f->en->has_uid = 1;
	f->uid = uid;
	f->failed = 0;
}

static void
name_one(struct scan *s, struct scan_fresh *f, uint32_t uid)
{
	const char *old = scan_name(s, f->en->name_off);
	int fd = s->fd[f->en->in_new ? 0 : 1];
	struct buf name = {0};
	struct maildir_name n;

	f->failed = 1;
	known_sizes(f->en);
	if (f->en->size == UINT64_MAX && !(f->en->line && f->uid == uid) &&
		core_file_size(s->core, fd, old, &f->en->size, &f->internal_date))
		return;
	if (f->uid == uid) {
		f->failed = 0;
		return;
	}
	(void)maildir_name_parse(str_of(old), &n);
	new_name(s, f->en, &n, uid, &name);
	if (renameat(fd, old, fd, buf_cstr(&name)) == 0)
		renamed_to(s, f, uid, &name);
	else if (errno != ENOENT)
		log_event(LOGL_WARN, "index.file skipped", "maildir", s->core->maildir, "dir",
			s->box.dir, "file", old, "error", log_errno(errno), NULL);
	buf_free(&name);
}

/* ---- many at once: a list now, names later ---- */

static uint64_t
hash_of_entry(const void *arg, size_t i)
{
	const struct scan *s = arg;

	return s->entries[i].base_hash;
}

/* 1: it has its UID by the list. */
static int
list_one(struct scan *s, struct scan_fresh *f, uint32_t uid, const struct core_bases *twice,
	struct buf *list)
{
	const char *name = scan_name(s, f->en->name_off);
	struct str base = str_make(name, f->en->has_info ? f->en->base_len : f->en->name_len);

	if (base.len > CORE_UIDLIST_BASE_MAX || f->en->line ||
		core_bases_has(twice, f->en->base_hash))
		return 0;
	/* An open and a read each, which those without a limit get with the rename. */
	known_sizes(f->en);
	if (s->core->sizes_count && f->en->size == UINT64_MAX &&
		core_file_size(s->core, s->fd[f->en->in_new ? 0 : 1], name, &f->en->size,
			&f->internal_date))
		f->en->size = UINT64_MAX;
	f->uid = uid;
	f->en->has_uid = 0;
	core_uidlist_line(uid, UINT64_MAX, UINT64_MAX, base, list);
	return 1;
}

static enum err
name_all(struct scan *s, size_t renamed, uint32_t *next)
{
	struct core_bases twice = {0};
	struct buf list = {0};
	enum err e = OK;
	size_t head;
	int touched = 0;

	if (renamed >= CORE_UIDLIST_MIN) {
		core_bases_twins(&twice, s->entry_count, hash_of_entry, s);
		/* A line is the name's base, ":" and the UID. */
		core_uidlist_begin(s->has_list ? &s->listed : NULL,
			s->names.len / 2 + s->fresh_count * 13, &list);
	}
	head = list.len;
	for (size_t i = 0; i < s->fresh_count; i++) {
		struct scan_fresh *f = &s->fresh[i];

		if (f->uid || !twice.slots || !list_one(s, f, *next, &twice, &list)) {
			touched |= f->uid == 0;
			name_one(s, f, f->uid ? f->uid : *next);
		}
		if (!f->failed && f->uid == *next)
			(*next)++;
	}
	if (list.len > head)
		e = core_uidlist_write_begin(
			s->core, s->box.dir, s->box.r.uidvalidity, *next, &list, &s->list);
	/* In an index that others see are no UIDs that the disk does not have. */
	if (e == OK && !s->core->building)
		e = core_uidlist_write_end(&s->list);
	if (list.len > head || s->has_list)
		core_uidlist_check_later(s->core, s->mailbox);
	if (touched) {
		core_sync_note(s->core, s->fd[0]);
		core_sync_note(s->core, s->fd[1]);
	}
	buf_free(&list);
	core_bases_fini(&twice);
	return e;
}

static int
is_unreadable(const struct scan *s, const struct scan_fresh *f)
{
	const char *name = scan_name(s, f->en->name_off);

	return f->uid == 0 && faccessat(s->fd[f->en->in_new ? 0 : 1], name, R_OK, 0) != 0 &&
	       errno == EACCES;
}

/* Of very many files some are asked for: rights are wrong for all of a tree, or for none. */
static int
some_are_unreadable(const struct scan *s)
{
	enum { SAMPLES = 256, MANY = 4 * SAMPLES };
	size_t stride = s->fresh_count / SAMPLES;

	if (s->fresh_count < MANY)
		return 1;
	for (size_t i = 0; i < s->fresh_count; i += stride)
		if (is_unreadable(s, &s->fresh[i]))
			return 1;
	return 0;
}

/*
 * A file that we may not read would be a message that nobody can read. One that is a message
 * already keeps its UID, whatever became of its rights.
 */
static void
skip_unreadable(struct scan *s)
{
	size_t kept = 0;

	if (!some_are_unreadable(s))
		return;
	for (size_t i = 0; i < s->fresh_count; i++) {
		const struct scan_fresh *f = &s->fresh[i];

		if (is_unreadable(s, f)) {
			log_event(LOGL_WARN, "index.file skipped", "maildir", s->core->maildir,
				"dir", s->box.dir, "file", scan_name(s, f->en->name_off), "error",
				log_errno(errno), NULL);
			continue;
		}
		s->fresh[kept++] = s->fresh[i];
	}
	s->fresh_count = kept;
}

enum err
scan_name_fresh(struct scan *s)
{
	uint32_t next = s->box.r.uidnext;
	size_t renamed = 0;
	enum err e;

	skip_unreadable(s);
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
	const struct scan_entry *en = f->en;
	struct index_message_record r = {
		.in_new = en->in_new,
		.flags = en->flags,
		.save_date = en->time,
		.internal_date = f->internal_date,
		.size = en->crlf_size,
		.disk_size = en->size == UINT64_MAX ? 0 : en->size,
		.name = str_make(scan_name(s, en->name_off), en->name_len),
		.base_len = en->base_len,
	};
	int stale;

	r.keywords.bits[0] = letters_to_bits(en->letters, names);
	/* As core_message_is_stale finds it. */
	stale = !en->has_uid;
	if (en->in_new)
		stale |= en->flags || r.keywords.bits[0];
	else
		stale |= !en->has_info || en->letters != r.keywords.bits[0];
	return core_bulk_add(tx, bulk, b, f->uid, &r, stale);
}

/* They are in the order of their UIDs. */
static enum err
apply_fresh(struct core_tx *tx, struct scan *s, struct core_box *b,
	char names[INDEX_KEYWORDS_MAX][INDEX_KEYWORD_LEN_MAX + 1])
{
	struct core_bulk bulk;
	enum err e;

	if (s->apply_from == s->apply_to)
		return OK;
	e = core_bulk_begin(tx, b, s->fresh[s->apply_from].uid, &bulk);
	for (size_t i = s->apply_from; i < s->apply_to && e == OK; i++) {
		if (!s->fresh[i].failed)
			e = apply_one(tx, s, &bulk, b, &s->fresh[i], names);
	}
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
	for (size_t i = 0; s->apply_from == 0 && i < s->changed_count && e == OK; i++)
		e = apply_changed(tx, s, &box, &s->changed[i], names);
	if (e == OK && s->apply_from == 0 && !numset_is_empty(&s->missing))
		e = core_each(tx, &box, &s->missing, apply_missing, NULL);
	if (e == OK)
		e = apply_fresh(tx, s, &box, names);
	if (e == OK && s->virgin && s->apply_to == s->fresh_count)
		e = core_keywords_more_load(tx, &box);
	return e ? e : core_box_put(tx, &box);
}
