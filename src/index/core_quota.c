/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "index/core_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

/*
 * The index knows what is used, exactly. maildirsize is kept for other programs (Maildir++: the
 * first line is the limit, every further one a change), only for users who have a limit.
 */

/* Maildir++: over this many bytes the file is written anew. */
enum { QUOTA_FILE_MAX = 5120 };

uint64_t
core_quota_bytes(const struct index_state *s)
{
	return s->bytes - s->ignored_bytes;
}

uint64_t
core_quota_messages(const struct index_state *s)
{
	return s->messages - s->ignored_messages;
}

enum err
core_quota_check(struct index_core *c, const struct core_box *b, uint64_t bytes, uint64_t messages,
	int moved)
{
	return index_quota_fits(&c->state, &b->r, bytes, messages, moved);
}

void
index_core_quota(const struct index_core *c, struct index_quota *out)
{
	out->bytes = core_quota_bytes(&c->state);
	out->bytes_limit = c->state.bytes_limit;
	out->messages = core_quota_messages(&c->state);
	out->messages_limit = c->state.messages_limit;
}

/* ---- rules ---- */

void
core_quota_rules_set(struct index_core *c, const char *rules)
{
	struct buf why = {0};

	free(c->rules_text);
	c->rules_text = mem_strdup(rules ? rules : "");
	quota_rules_free(&c->rules);
	/* A directory of somebody else's may say anything. */
	if (quota_rules_add(&c->rules, str_of(c->rules_text), &why))
		log_event(LOGL_WARN, "index.quota rule", "maildir", c->maildir, "reason",
			buf_cstr(&why), NULL);
	buf_free(&why);
}

static uint64_t
percent_of(uint64_t n, uint64_t percent)
{
	if (n > UINT64_MAX / 2000)
		return UINT64_MAX / 2;
	return n / 100 * percent + n % 100 * percent / 100;
}

void
core_quota_box_rules(struct core_tx *tx, struct index_mailbox_record *m)
{
	const struct quota_rule *r = quota_rules_find(&tx->core->rules, m->name);
	static const struct quota_rule none;

	if (!r)
		r = &none;
	m->quota_ignore = r->ignore != 0;
	m->quota_more_bytes = percent_of(tx->state.bytes_limit, r->more_percent);
	if (m->quota_more_bytes < UINT64_MAX - r->more_bytes)
		m->quota_more_bytes += r->more_bytes;
	m->quota_more_messages = r->more_messages;
	m->quota_max_bytes = r->max_bytes;
	m->quota_max_messages = r->max_messages;
}

void
core_quota_box_again(struct core_tx *tx, struct core_box *b)
{
	if (b->r.quota_ignore) {
		tx->state.ignored_messages -= b->r.messages;
		tx->state.ignored_bytes -= b->r.disk_bytes;
	}
	core_quota_box_rules(tx, &b->r);
	if (b->r.quota_ignore) {
		tx->state.ignored_messages += b->r.messages;
		tx->state.ignored_bytes += b->r.disk_bytes;
	}
}

/* ---- limits ---- */

static const char rules_key[] = "rules";

static enum err
rules_are_known(struct core_tx *tx, void *arg)
{
	MDB_val k = {.mv_size = sizeof(rules_key) - 1, .mv_data = (void *)rules_key}, v;
	int *known = arg;
	enum err e = index_err_of_mdb(
		mdb_get(tx->txn, tx->core->env->dbi[INDEX_DB_META], &k, &v), "get rules");

	*known = e == OK && str_is(str_make(v.mv_data, v.mv_size), tx->core->rules_text);
	return e == E_NOTFOUND ? OK : e;
}

/* All mailboxes by the rules, and counted anew on the way. */
static enum err
limits_step(struct core_tx *tx, void *arg)
{
	const struct index_core_limits *l = arg;
	MDB_val k = {.mv_size = sizeof(rules_key) - 1, .mv_data = (void *)rules_key};
	MDB_val v = {.mv_size = strlen(tx->core->rules_text), .mv_data = tx->core->rules_text};
	struct core_box *boxes = NULL;
	size_t count = 0;
	enum err e = index_err_of_mdb(
		mdb_put(tx->txn, tx->core->env->dbi[INDEX_DB_META], &k, &v, 0), "put rules");

	tx->state.bytes_limit = l->bytes;
	tx->state.messages_limit = l->messages;
	tx->state.grace_bytes = l->grace_bytes;
	tx->state.quota_issued = l->issued;
	if (e == OK)
		e = core_box_list(tx, &boxes, &count);
	tx->state.messages = tx->state.bytes = 0;
	tx->state.ignored_messages = tx->state.ignored_bytes = 0;
	for (size_t i = 0; i < count && e == OK; i++) {
		boxes[i].r.quota_ignore = 0;
		core_quota_box_again(tx, &boxes[i]);
		tx->state.messages += boxes[i].r.messages;
		tx->state.bytes += boxes[i].r.disk_bytes;
		e = core_box_put(tx, &boxes[i]);
	}
	free(boxes);
	return e;
}

static int
same_limits(struct index_core *c, const struct index_core_limits *l)
{
	const struct index_state *s = &c->state;
	int known = 0;

	return s->bytes_limit == l->bytes && s->messages_limit == l->messages &&
	       s->grace_bytes == l->grace_bytes && core_read(c, rules_are_known, &known) == OK &&
	       known;
}

/*
 * A session of yesterday that connects again brings what was true then. What is further ahead than
 * a ticket lives was written by a clock that was wrong.
 */
static int
is_outdated(const struct index_core *c, const struct index_core_limits *l)
{
	enum { AHEAD_S = 3600 };

	return l->issued && l->issued < c->state.quota_issued &&
	       c->state.quota_issued < core_now_s() + AHEAD_S;
}

void
core_quota_sizes_look(struct index_core *c, uint64_t bytes)
{
	c->sizes_count = bytes != 0;
	for (size_t i = 0; i < c->rules.count; i++)
		c->sizes_count |= c->rules.items[i].max_bytes != 0;
}

void
index_core_set_limits(struct index_core *c, const struct index_core_limits *l)
{
	const char *rules = l->rules ? l->rules : "";

	if (is_outdated(c, l))
		return;
	if (strcmp(c->rules_text, rules) != 0)
		core_quota_rules_set(c, rules);
	core_quota_sizes_look(c, l->bytes);
	if (same_limits(c, l)) {
		c->state.quota_issued = l->issued; /* written with the next change */
		return;
	}
	c->quota_file_stale = 1;
	if (core_run(c, limits_step, (void *)(uintptr_t)l)) {
		/* They hold here even if the index cannot take them now. */
		c->state.bytes_limit = l->bytes;
		c->state.messages_limit = l->messages;
	}
}

struct recount {
	struct core_box *boxes;
	size_t count;
};

static enum err
recount_list(struct core_tx *tx, void *arg)
{
	struct recount *r = arg;

	return core_box_list(tx, &r->boxes, &r->count);
}

static enum err
weigh_one(struct core_tx *tx, struct core_box *b, uint32_t uid, struct core_message *m, void *arg)
{
	struct core_box *sum = arg;

	(void)tx;
	(void)b;
	(void)uid;
	sum->r.messages++;
	sum->r.disk_bytes += m->r.disk_size;
	return OK;
}

/* The counts of a mailbox are what its messages say. */
static enum err
recount_step(struct core_tx *tx, void *arg)
{
	struct index_core_limits l = {.bytes = tx->state.bytes_limit,
		.messages = tx->state.messages_limit,
		.grace_bytes = tx->state.grace_bytes,
		.issued = tx->state.quota_issued};
	struct recount r = {0};
	enum err e = recount_list(tx, &r);

	(void)arg;
	for (size_t i = 0; i < r.count && e == OK; i++) {
		struct core_box sum = {0};

		e = core_each(tx, &r.boxes[i], NULL, weigh_one, &sum);
		r.boxes[i].r.messages = sum.r.messages;
		r.boxes[i].r.disk_bytes = sum.r.disk_bytes;
		if (e == OK)
			e = core_box_put(tx, &r.boxes[i]);
	}
	free(r.boxes);
	return e ? e : limits_step(tx, &l);
}

enum err
index_core_quota_recount(struct index_core *c)
{
	struct recount r = {0};
	enum err e = core_tree_look(c, 1);

	if (e == OK)
		e = core_read(c, recount_list, &r);
	for (size_t i = 0; i < r.count && e == OK; i++) {
		e = core_scan(c, r.boxes[i].r.id, 1);
		/* One folder that cannot be read must not keep the others away. */
		if (e == E_NOTFOUND || e == E_ACCESS)
			e = OK;
	}
	free(r.boxes);
	if (e == OK)
		e = core_run(c, recount_step, NULL);
	if (e == OK) {
		c->quota_file_stale = 1;
		core_quota_flush(c);
	}
	return e;
}

/* ---- maildirsize ---- */

static void
limit_line(const struct index_core *c, struct buf *out)
{
	if (c->state.bytes_limit)
		buf_printf(out, "%lluS", (unsigned long long)c->state.bytes_limit);
	if (c->state.messages_limit)
		buf_printf(out, "%s%lluC", out->len ? "," : "",
			(unsigned long long)c->state.messages_limit);
	buf_add_char(out, '\n');
}

/* Whether the file is short, whole, and has our limit in its first line. */
static int
is_usable(int fd, struct str first)
{
	char text[QUOTA_FILE_MAX];
	ssize_t n = pread(fd, text, sizeof(text), 0);

	if (n < (ssize_t)first.len || n >= QUOTA_FILE_MAX || text[n - 1] != '\n')
		return 0;
	return str_equal(str_make(text, first.len), first);
}

void
core_quota_flush(struct index_core *c)
{
	struct buf first = {0}, line = {0};
	int fd;

	if (c->quota_bytes_delta == 0 && c->quota_messages_delta == 0 && !c->quota_file_stale)
		return;
	if (!c->state.bytes_limit && !c->state.messages_limit)
		goto out;
	limit_line(c, &first);
	fd = openat(c->maildir_fd, CORE_FILE_QUOTA,
		O_RDWR | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0 && !c->quota_file_stale && is_usable(fd, buf_str(&first))) {
		buf_printf(&line, "%lld %lld\n", (long long)c->quota_bytes_delta,
			(long long)c->quota_messages_delta);
		if (io_write_all(fd, line.p, line.len))
			log_event(
				LOGL_WARN, "index.maildirsize failed", "maildir", c->maildir, NULL);
	} else {
		int fsync_was = c->fsync;

		buf_add_buf(&line, &first);
		buf_printf(&line, "%llu %llu\n", (unsigned long long)core_quota_bytes(&c->state),
			(unsigned long long)core_quota_messages(&c->state));
		/* It can be counted anew at any time. */
		c->fsync = 0;
		(void)core_text_write(c, "", CORE_FILE_QUOTA, buf_str(&line));
		c->fsync = fsync_was;
	}
	io_close(&fd);
out:
	c->quota_bytes_delta = c->quota_messages_delta = 0;
	c->quota_file_stale = 0;
	buf_free(&first);
	buf_free(&line);
}
