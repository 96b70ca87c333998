/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "index/core_fsck.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

/* The checks of a user, and of each mailbox in turn. */

void
fsck_found(const struct fsck *f, const char *check, const char *mailbox, enum err e,
	const char *fmt, ...)
{
	struct index_fsck_finding x = {.check = check, .mailbox = mailbox};
	struct buf text = {0};
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	if (f->repair && e)
		buf_printf(&text, ": %s", err_text(e));
	x.detail = buf_cstr(&text);
	x.mended = f->repair && e == OK;
	log_event(LOGL_WARN, "index.fsck found", "maildir", f->core->maildir, "check", check,
		"mailbox", mailbox, "what", x.detail, "mended", x.mended ? "yes" : "no", NULL);
	f->fn(&x, f->arg);
	buf_free(&text);
}

void
fsck_text(const struct fsck *f, const char *check, const char *mailbox, const char *dir,
	const char *file, struct str want)
{
	struct buf text = {0};
	enum err e = core_text_read(f->core, dir, file, &text);

	if ((e == OK && str_equal(buf_str(&text), want)) || (e == E_NOTFOUND && want.len == 0)) {
		buf_free(&text);
		return;
	}
	e = f->repair ? core_text_write(f->core, dir, file, want) : OK;
	fsck_found(f, check, mailbox, e, "%s does not say what the index does", file);
	buf_free(&text);
}

/* ---- totals ---- */

struct totals {
	uint64_t messages, bytes, highest;
	struct core_box *boxes;
	size_t count;
};

static enum err
totals_step(struct core_tx *tx, void *arg)
{
	struct totals *t = arg;
	enum err e = core_box_list(tx, &t->boxes, &t->count);

	for (size_t i = 0; i < t->count; i++) {
		t->messages += t->boxes[i].r.messages;
		t->bytes += t->boxes[i].r.disk_bytes;
		if (t->boxes[i].r.highest_modseq > t->highest)
			t->highest = t->boxes[i].r.highest_modseq;
	}
	return e;
}

static enum err
raise_modseq(struct core_tx *tx, void *arg)
{
	tx->state.modseq = *(uint64_t *)arg;
	return OK;
}

/* maildirsize: the sum of all lines behind the first. */
static int
quota_file_sum(struct index_core *c, int64_t *bytes, int64_t *messages)
{
	struct buf text = {0};
	struct str rest;
	int ok = core_text_read(c, "", CORE_FILE_QUOTA, &text) == OK;

	*bytes = *messages = 0;
	rest = buf_str(&text);
	str_split(&rest, '\n');
	while (rest.p && ok) {
		struct str line = str_split(&rest, '\n');
		long long b, m;
		char row[64];

		if (line.len == 0)
			continue;
		snprintf(row, sizeof(row), "%.*s", STR_ARG(line));
		if (line.len >= sizeof(row) || sscanf(row, "%lld %lld", &b, &m) != 2) {
			ok = 0;
		} else {
			*bytes += b;
			*messages += m;
		}
	}
	buf_free(&text);
	return ok;
}

static void
check_quota_file(const struct fsck *f)
{
	struct index_core *c = f->core;
	int64_t bytes, messages;

	core_quota_flush(c);
	if (!c->state.bytes_limit && !c->state.messages_limit)
		return;
	if (quota_file_sum(c, &bytes, &messages) && bytes == (int64_t)core_quota_bytes(&c->state) &&
		messages == (int64_t)core_quota_messages(&c->state))
		return;
	if (f->repair) {
		c->quota_file_stale = 1;
		core_quota_flush(c);
	}
	fsck_found(f, "quota", NULL, OK, "maildirsize does not say what is used");
}

enum err
index_core_fsck_totals(struct index_core *c, int repair, index_fsck_fn *fn, void *arg)
{
	struct fsck f = {.core = c, .repair = repair, .fn = fn, .arg = arg};
	struct totals t = {0};
	enum err e = core_read(c, totals_step, &t);

	if (e == OK && (t.messages != c->state.messages || t.bytes != c->state.bytes)) {
		unsigned long long messages = c->state.messages, bytes = c->state.bytes;

		if (repair)
			e = index_core_quota_recount(c);
		fsck_found(&f, "quota", NULL, e,
			"the index has %llu messages and %llu bytes in all, its mailboxes have %llu and "
			"%llu",
			messages, bytes, (unsigned long long)t.messages,
			(unsigned long long)t.bytes);
	}
	if (e == OK && t.highest > c->state.modseq) {
		if (repair)
			e = core_run(c, raise_modseq, &t.highest);
		fsck_found(&f, "changes", NULL, e, "a mailbox is ahead of the last mod-sequence");
	}
	if (e == OK)
		check_quota_file(&f);
	free(t.boxes);
	return e;
}

/* ---- the tree ---- */

static enum err
special_text(struct core_tx *tx, void *arg)
{
	struct core_box *boxes = NULL;
	struct buf *text = arg;
	size_t count = 0;
	enum err e = core_box_list(tx, &boxes, &count);

	for (size_t i = 0; i < count && e == OK; i++) {
		const char *word = core_special_use_word(boxes[i].r.special_use);

		if (word)
			buf_printf(text, "%s %s\n", word,
				boxes[i].dir[0] ? boxes[i].dir + 1 : "INBOX");
	}
	free(boxes);
	return e;
}

static enum err
count_subscriptions(struct core_tx *tx, size_t *out)
{
	MDB_stat st;
	enum err e = index_err_of_mdb(
		mdb_stat(tx->txn, tx->core->env->dbi[INDEX_DB_SUBSCRIPTION], &st), "stat");

	*out = e ? 0 : st.ms_entries;
	return e;
}

struct subscriptions {
	struct buf text;
	size_t before, after;
	int write;
};

/* What either of the two has, so that nobody loses one. */
static enum err
subscriptions_step(struct core_tx *tx, void *arg)
{
	struct subscriptions *s = arg;
	enum err e = count_subscriptions(tx, &s->before);

	if (e == OK)
		e = core_subscriptions_load(tx);
	if (e == OK)
		e = count_subscriptions(tx, &s->after);
	if (e == OK && s->after != s->before)
		core_tx_note(tx, 0);
	buf_reset(&s->text);
	if (e == OK)
		e = core_subscriptions_format(tx, &s->text);
	if (e == OK && !s->write)
		e = E_CANCELLED; /* only to see */
	return e;
}

static void
check_subscriptions(const struct fsck *f)
{
	struct subscriptions s = {.write = f->repair};
	enum err e = core_run(f->core, subscriptions_step, &s);

	if (e == E_CANCELLED)
		e = OK;
	if (e || s.after != s.before)
		fsck_found(f, "subscriptions", NULL, e, "%zu subscriptions are in the file alone",
			s.after - s.before);
	if (e == OK)
		fsck_text(f, "subscriptions", NULL, "", CORE_FILE_SUBSCRIPTIONS, buf_str(&s.text));
	buf_free(&s.text);
}

/* Entries of mailboxes that are not there. */
struct orphans {
	size_t count;
};

static int
has_mailbox(struct core_tx *tx, const MDB_val *k)
{
	const unsigned char *p = k->mv_data;
	uint32_t id;
	MDB_val v;

	if (k->mv_size < 4)
		return 0;
	id = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
	return core_tx_get(tx, INDEX_DB_MAILBOX, index_key_u32(id), &v) == OK;
}

static enum err
orphans_in(struct core_tx *tx, enum index_db db, struct orphans *o)
{
	MDB_cursor *cur;
	MDB_val k, v;
	enum err e =
		index_err_of_mdb(mdb_cursor_open(tx->txn, tx->core->env->dbi[db], &cur), "orphans");

	if (e)
		return e;
	for (e = core_tx_next(cur, &k, &v, MDB_FIRST); e == OK;
		e = core_tx_next(cur, &k, &v, MDB_NEXT)) {
		if (has_mailbox(tx, &k))
			continue;
		o->count++;
		e = index_err_of_mdb(mdb_cursor_del(cur, 0), "orphan");
		if (e)
			break;
	}
	mdb_cursor_close(cur);
	return e == E_NOTFOUND ? OK : e;
}

static enum err
orphans_step(struct core_tx *tx, void *arg)
{
	static const enum index_db dbs[] = {INDEX_DB_MESSAGE, INDEX_DB_CHANGE, INDEX_DB_CACHE,
		INDEX_DB_PENDING, INDEX_DB_KEYWORD};
	struct orphans *o = arg;
	enum err e = OK;

	o->count = 0;
	for (size_t i = 0; i < sizeof(dbs) / sizeof(dbs[0]) && e == OK; i++)
		e = orphans_in(tx, dbs[i], o);
	return e;
}

static enum err
orphans_count(struct core_tx *tx, void *arg)
{
	enum err e = orphans_step(tx, arg);

	return e ? e : E_CANCELLED;
}

static void
check_orphans(const struct fsck *f)
{
	struct orphans o = {0};
	enum err e = core_run(f->core, f->repair ? orphans_step : orphans_count, &o);

	if (e == E_CANCELLED)
		e = OK;
	if (e || o.count)
		fsck_found(f, "index", NULL, e, "%zu entries of mailboxes that are not there",
			o.count);
}

/* Each folder on disk is a mailbox, and the other way round. */
static enum err
check_tree(const struct fsck *f)
{
	struct totals before = {0}, after = {0};
	enum err e = core_read(f->core, totals_step, &before);

	/* Harmless also without repair: it is what every session's start does. */
	if (e == OK)
		e = core_tree_look(f->core, 1);
	if (e == OK)
		e = core_read(f->core, totals_step, &after);
	if (e == OK && before.count != after.count)
		fsck_found(f, "tree", NULL, OK, "the index had %zu mailboxes, %zu are there",
			before.count, after.count);
	free(before.boxes);
	free(after.boxes);
	return e;
}

static void
check_user_file(const struct fsck *f, const char *file)
{
	struct entry_list l, again = {0};
	size_t bad;

	if (entry_file_read(f->core->maildir_fd, "", file, &l, &bad) == E_CORRUPT)
		fsck_found(f, "metadata", NULL,
			f->repair ? core_entries_read(f->core, "", file, &again) : OK,
			"%s is none; it goes aside", file);
	entry_list_free(&l);
	entry_list_free(&again);
}

enum err
index_core_fsck_tree(struct index_core *c, int repair, index_fsck_fn *fn, void *arg)
{
	struct fsck f = {.core = c, .repair = repair, .fn = fn, .arg = arg};
	struct buf text = {0};
	enum err e = check_tree(&f);

	if (e == OK)
		e = core_read(c, special_text, &text);
	if (e == OK) {
		fsck_text(&f, "special-use", NULL, "", CORE_FILE_SPECIAL_USE, buf_str(&text));
		check_subscriptions(&f);
		check_orphans(&f);
	}
	check_user_file(&f, ENTRY_FILE_METADATA_SERVER);
	check_user_file(&f, ENTRY_FILE_URLAUTH);
	buf_free(&text);
	return e;
}

enum err
index_core_fsck_mailbox(
	struct index_core *c, uint32_t mailbox, int repair, index_fsck_fn *fn, void *arg)
{
	struct fsck f = {.core = c, .repair = repair, .fn = fn, .arg = arg};

	return fsck_box(&f, mailbox);
}
