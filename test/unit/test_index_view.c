/* SPDX-License-Identifier: MIT */
#include "index/index_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "index/client_private.h"
#include "index/index_schema.h"
#include "lib/mem.h"

enum { BOX = 3 };

struct fixture {
	char dir[64];
	struct config *conf;
	struct index_user *u;
	struct index_view *v;
	struct buf told;
};

/* ---- the writer: another process, as roost-index is ---- */

struct change {
	enum { SET, VANISH, FLOOR, DROP, CACHE, END } what; /* CACHE: a record of flags bytes */
	uint32_t uid;
	uint64_t modseq;
	unsigned flags;
};

static int
put(MDB_txn *txn, MDB_dbi dbi, struct index_key key, const void *p, size_t len)
{
	MDB_val k = index_key_val(&key), v = {.mv_size = len, .mv_data = (void *)p};

	return mdb_put(txn, dbi, &k, &v, 0);
}

static int
del(MDB_txn *txn, MDB_dbi dbi, struct index_key key)
{
	MDB_val k = index_key_val(&key);

	return mdb_del(txn, dbi, &k, NULL);
}

/* The mod-sequence a message has now, 0 if it is not there. */
static uint64_t
modseq_of(MDB_txn *txn, struct index_env *e, uint32_t uid)
{
	struct index_key key = index_key_message(BOX, uid);
	struct index_message_record r;
	MDB_val k = index_key_val(&key), v;

	return mdb_get(txn, e->dbi[INDEX_DB_MESSAGE], &k, &v) == 0 &&
			       index_message_decode(&v, &r) == OK
		       ? r.modseq
		       : 0;
}

static void
message_put(MDB_txn *txn, struct index_env *e, const struct change *c)
{
	struct index_message_record r = {.modseq = c->modseq,
		.flags = c->flags,
		.internal_date = 1,
		.save_date = 1,
		.size = 10,
		.disk_size = 9,
		.name = STR("1.M1P1Q1.h,S=9,W=10:2,"),
		.base_len = 18};
	struct buf b = {0};
	uint64_t old = modseq_of(txn, e, c->uid);
	unsigned char kind = INDEX_CHANGE_CHANGED;

	if (old != 0) {
		del(txn, e->dbi[INDEX_DB_CHANGE], index_key_change(BOX, old, c->uid));
	}
	index_message_encode(&r, &b);
	put(txn, e->dbi[INDEX_DB_MESSAGE], index_key_message(BOX, c->uid), b.p, b.len);
	put(txn, e->dbi[INDEX_DB_CHANGE], index_key_change(BOX, c->modseq, c->uid), &kind, 1);
	buf_free(&b);
}

/* In the mailbox, and one under the same UID in its neighbours. */
static void
cache_put(MDB_txn *txn, struct index_env *e, const struct change *c)
{
	char *bytes = mem_zalloc(c->flags + 1);

	for (uint32_t box = BOX - 1; box <= BOX + 1; box++) {
		memset(bytes, (int)box, c->flags);
		put(txn, e->dbi[INDEX_DB_CACHE], index_key_message(box, c->uid), bytes, c->flags);
	}
	free(bytes);
}

static void
mailbox_put(MDB_txn *txn, struct index_env *e, uint64_t modseq, uint64_t floor_modseq)
{
	struct index_mailbox_record r = {.id = BOX,
		.uidvalidity = 7,
		.uidnext = 100,
		.highest_modseq = modseq,
		.vanished_floor = floor_modseq,
		.name = STR("INBOX")};
	struct buf b = {0};
	struct index_key id = index_key_u32(BOX);
	MDB_val k = {.mv_size = 5, .mv_data = (void *)"INBOX"}, v = index_key_val(&id);

	index_mailbox_encode(&r, &b);
	put(txn, e->dbi[INDEX_DB_MAILBOX], index_key_u32(BOX), b.p, b.len);
	mdb_put(txn, e->dbi[INDEX_DB_MAILBOX_NAME], &k, &v, 0);
	buf_free(&b);
}

static int
apply(const char *dir, const struct change *c)
{
	struct index_env *e;
	MDB_txn *txn;
	uint64_t modseq = 1, floor_modseq = 0;
	unsigned char kind = INDEX_CHANGE_VANISHED;

	if (index_env_open(dir, 1, 64 << 20, &e) || index_env_begin(e, 1, &txn)) {
		return 1;
	}
	for (; c->what != END; c++) {
		modseq = c->modseq;
		if (c->what == SET) {
			message_put(txn, e, c);
		} else if (c->what == CACHE) {
			cache_put(txn, e, c);
		} else if (c->what == FLOOR) {
			floor_modseq = c->modseq;
		} else {
			del(txn, e->dbi[INDEX_DB_CHANGE],
				index_key_change(BOX, modseq_of(txn, e, c->uid), c->uid));
			del(txn, e->dbi[INDEX_DB_MESSAGE], index_key_message(BOX, c->uid));
			if (c->what == VANISH) { /* DROP leaves no trace: trimmed */
				put(txn, e->dbi[INDEX_DB_CHANGE],
					index_key_change(BOX, c->modseq, c->uid), &kind, 1);
			}
		}
	}
	mailbox_put(txn, e, modseq, floor_modseq);
	if (mdb_txn_commit(txn) != 0) {
		return 1;
	}
	index_env_close(&e);
	return 0;
}

static void
write_changes(struct fixture *f, const struct change *c)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		_exit(apply(f->dir, c));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* ---- the reader ---- */

static void
on_expunged(uint32_t seq, uint32_t uid, void *arg)
{
	buf_printf(arg, "-%u/%u ", seq, uid);
}

static void
on_changed(uint32_t seq, const struct index_message *m, void *arg)
{
	buf_printf(arg, "~%u/%u:%u ", seq, m->uid, m->flags);
}

static void
on_exists(uint32_t count, void *arg)
{
	buf_printf(arg, "=%u ", count);
}

static const struct index_view_events events = {
	.expunged = on_expunged, .changed = on_changed, .exists = on_exists};

static void
expect(struct fixture *f, int with_expunges, const char *want)
{
	buf_reset(&f->told);
	assert_int_equal(index_view_sync(f->v, with_expunges, &events, &f->told), OK);
	assert_string_equal(buf_cstr(&f->told), want);
}

static int
setup(void **state)
{
	static const struct change start[] = {
		{SET, 1, 1, 0}, {SET, 2, 2, 0}, {SET, 5, 3, 0}, {SET, 9, 4, 0}, {END, 0, 0, 0}};
	struct fixture *f = MEM_NEW(struct fixture);

	memcpy(f->dir, "/tmp/roost-view-XXXXXX", 23);
	assert_non_null(mkdtemp(f->dir));
	f->conf = conf_defaults(f->dir);
	write_changes(f, start);
	assert_int_equal(client_user_create(f->conf, "a@example.test", f->dir, f->dir, &f->u), OK);
	assert_int_equal(index_view_open(f->u, BOX, &f->v), OK);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;
	char *data = mem_printf("%s/data.mdb", f->dir), *lock = mem_printf("%s/lock.mdb", f->dir);

	index_view_close(&f->v);
	index_close(&f->u);
	conf_free(&f->conf);
	buf_free(&f->told);
	unlink(data);
	unlink(lock);
	rmdir(f->dir);
	free(data);
	free(lock);
	free(f);
	return 0;
}

static void
places(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(index_view_count(f->v), 4);
	assert_int_equal(index_view_uid(f->v, 0), 0);
	assert_int_equal(index_view_uid(f->v, 3), 5);
	assert_int_equal(index_view_uid(f->v, 5), 0);
	assert_int_equal(index_view_seq(f->v, 9), 4);
	assert_int_equal(index_view_seq(f->v, 3), 0);
	assert_int_equal(index_view_seq(f->v, UINT32_MAX), 0);
	assert_int_equal(index_view_lower(f->v, 0), 1);
	assert_int_equal(index_view_lower(f->v, 3), 3);
	assert_int_equal(index_view_lower(f->v, 9), 4);
	assert_int_equal(index_view_lower(f->v, 10), 5);
	assert_int_equal(index_view_modseq(f->v), 4);
	expect(f, 1, "");
}

static void
changes_are_told_once(void **state)
{
	struct fixture *f = *state;

	write_changes(f, (struct change[]){{SET, 5, 5, INDEX_SEEN}, {SET, 10, 6, 0}, {SET, 1, 7, 2},
				 {SET, 12, 8, 0}, {SET, 10, 9, 1}, {END, 0, 0, 0}});
	expect(f, 1, "~1/1:2 ~3/5:1 =6 ");
	expect(f, 1, "");
	assert_int_equal(index_view_uid(f->v, 5), 10);
	assert_int_equal(index_view_uid(f->v, 6), 12);
}

static void
expunges_come_first_with_the_numbers_of_the_moment(void **state)
{
	struct fixture *f = *state;

	write_changes(f, (struct change[]){{VANISH, 5, 5, 0}, {VANISH, 1, 6, 0}, {SET, 9, 7, 1},
				 {SET, 11, 8, 0}, {VANISH, 11, 9, 0}, {END, 0, 0, 0}});
	expect(f, 1, "-1/1 -2/5 ~2/9:1 ");
	assert_int_equal(index_view_count(f->v), 2);
	assert_int_equal(index_view_modseq(f->v), 9);
}

static void
expunges_wait_when_they_must(void **state)
{
	struct fixture *f = *state;

	write_changes(f, (struct change[]){{VANISH, 2, 5, 0}, {SET, 9, 6, 4}, {SET, 20, 7, 0},
				 {END, 0, 0, 0}});
	expect(f, 0, "~4/9:4 =5 ");
	assert_int_equal(index_view_seq(f->v, 2), 2);
	/* Who asks for all changes behind this must still hear of the expunge. */
	assert_int_equal(index_view_modseq(f->v), 4);
	expect(f, 0, "");
	expect(f, 1, "-2/2 ");
	assert_int_equal(index_view_modseq(f->v), 7);
	expect(f, 1, "");
}

static void
what_the_client_did_itself_is_not_repeated(void **state)
{
	struct fixture *f = *state;

	write_changes(f,
		(struct change[]){{SET, 2, 5, 1}, {SET, 5, 5, 1}, {SET, 9, 6, 1}, {END, 0, 0, 0}});
	index_view_told(f->v, 5, 5);
	index_view_told(f->v, 2, 3); /* older than the change */
	index_view_told(f->v, 2, 5);
	index_view_told(f->v, 9, 5); /* somebody else changed it again */
	expect(f, 1, "~4/9:1 ");
	write_changes(f, (struct change[]){{SET, 5, 7, 2}, {END, 0, 0, 0}});
	expect(f, 1, "~3/5:2 ");
}

static void
compares_all_when_the_log_is_too_short(void **state)
{
	struct fixture *f = *state;

	write_changes(f, (struct change[]){{DROP, 1, 5, 0}, {DROP, 9, 6, 0}, {SET, 5, 7, 1},
				 {SET, 30, 8, 0}, {FLOOR, 0, 9, 0}, {END, 0, 0, 0}});
	expect(f, 0, "~3/5:1 =5 ");
	expect(f, 1, "-1/1 -3/9 ");
	assert_int_equal(index_view_count(f->v), 3);
	assert_int_equal(index_view_uid(f->v, 3), 30);
	expect(f, 1, "");
}

static void
an_index_that_went_back_tells_all(void **state)
{
	struct fixture *f = *state;

	write_changes(f, (struct change[]){{DROP, 2, 2, 0}, {FLOOR, 0, 3, 0}, {END, 0, 0, 0}});
	expect(f, 1, "-2/2 ~1/1:0 ~2/5:0 ~3/9:0 ");
	expect(f, 1, "");
}

static void
an_emptied_mailbox_fills_again(void **state)
{
	struct fixture *f = *state;

	write_changes(f, (struct change[]){{VANISH, 1, 5, 0}, {VANISH, 2, 5, 0}, {VANISH, 5, 5, 0},
				 {VANISH, 9, 5, 0}, {END, 0, 0, 0}});
	expect(f, 1, "-1/1 -1/2 -1/5 -1/9 ");
	assert_int_equal(index_view_lower(f->v, 1), 1);
	write_changes(f, (struct change[]){{SET, 10, 6, 0}, {END, 0, 0, 0}});
	expect(f, 1, "=1 ");
}

static void
a_mailbox_that_is_not_there(void **state)
{
	struct fixture *f = *state;
	struct index_view *v;

	assert_int_equal(index_view_open(f->u, BOX + 1, &v), E_NOTFOUND);
	assert_null(v);
}

static enum err
count_message(const struct index_message *m, void *arg)
{
	(void)m;
	++*(int *)arg;
	return OK;
}

static void
messages_in_a_range(void **state)
{
	struct fixture *f = *state;
	struct index_mailbox m;
	int n = 0;

	assert_int_equal(index_message_each(f->u, BOX, 2, 8, count_message, &n), OK);
	assert_int_equal(n, 2);
	n = 0;
	assert_int_equal(index_message_each(f->u, BOX, 0, UINT32_MAX, count_message, &n), OK);
	assert_int_equal(n, 4);
	assert_int_equal(index_mailbox_get(f->u, STR("inBox"), &m), OK);
	assert_int_equal(m.id, BOX);
	assert_string_equal(m.name, "INBOX");
	assert_string_equal(m.object_id, "00000000000000000000000000000000");
	index_mailbox_free(&m);
	assert_int_equal(index_mailbox_get(f->u, STR(""), &m), E_NOTFOUND);
	assert_int_equal(index_mailbox_get(f->u, STR("Sent"), &m), E_NOTFOUND);
	/* Nobody is behind the socket. */
	assert_int_equal(index_refresh(f->u, BOX), E_TEMPFAIL);
}

static void
expect_since(struct fixture *f, uint64_t since, const char *changed, const char *vanished, int all)
{
	struct numset set = {0};
	struct buf text = {0};
	int complete;

	assert_int_equal(index_changed_since(f->u, BOX, since, &set), OK);
	numset_format(&set, &text);
	assert_string_equal(buf_cstr(&text), changed);
	buf_reset(&text);
	assert_int_equal(index_vanished_since(f->u, BOX, since, &set, &complete), OK);
	assert_int_equal(complete, !all);
	numset_format(&set, &text);
	assert_string_equal(buf_cstr(&text), vanished);
	numset_free(&set);
	buf_free(&text);
}

static void
tells_what_happened_since(void **state)
{
	struct fixture *f = *state;

	write_changes(f, (struct change[]){{VANISH, 5, 5, 0}, {SET, 2, 6, 1}, {SET, 12, 7, 0},
				 {VANISH, 1, 8, 0}, {SET, 9, 9, 1}, {END, 0, 0, 0}});
	expect_since(f, 0, "2,9,12", "1,5", 0);
	expect_since(f, 4, "2,9,12", "1,5", 0);
	expect_since(f, 5, "2,9,12", "1", 0);
	expect_since(f, 7, "9", "1", 0);
	expect_since(f, 9, "", "", 0);
	/* Never given out: the index went back. */
	expect_since(f, 10, "", "", 1);
	write_changes(f, (struct change[]){{SET, 2, 10, 0}, {SET, 2, 11, 0}, {FLOOR, 0, 12, 0},
				 {END, 0, 0, 0}});
	expect_since(f, 9, "2", "", 1);
	expect_since(f, 12, "", "", 0);
}

/* Every step-th UID: there are records up to 60, but for the multiples of 7. */
static void
walk_in_steps(struct fixture *f, uint32_t first, uint32_t step)
{
	struct index_cache_walk *w;

	assert_int_equal(index_read_begin(f->u), OK);
	assert_int_equal(index_cache_walk_begin(f->u, BOX, &w), OK);
	for (uint32_t uid = first; uid <= 100; uid += step) {
		struct str record;
		enum err e = index_cache_walk_get(w, uid, &record);

		if (uid % 7 == 0 || uid > 60) {
			assert_int_equal(e, E_NOTFOUND);
			continue;
		}
		assert_int_equal(e, OK);
		assert_int_equal(record.len, uid * 97);
		assert_int_equal(record.p[0], BOX);
		assert_int_equal(record.p[record.len - 1], BOX);
	}
	index_cache_walk_end(&w);
	assert_null(w);
	index_read_end(f->u);
}

/* Some records are missing, some are large, and other mailboxes have the same UIDs. */
static void
cache_records_in_their_order(void **state)
{
	struct fixture *f = *state;
	struct change c[64];
	size_t n = 0;

	for (uint32_t uid = 1; uid <= 60; uid++)
		if (uid % 7 != 0)
			c[n++] = (struct change){CACHE, uid, 4, uid * 97};
	c[n] = (struct change){END, 0, 0, 0};
	write_changes(f, c);
	for (uint32_t step = 1; step <= 20; step++)
		for (uint32_t first = 1; first <= 8; first++)
			walk_in_steps(f, first, step);
	walk_in_steps(f, 61, 1);
	walk_in_steps(f, 60, 50);
}

#define VIEW_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		VIEW_TEST(places),
		VIEW_TEST(changes_are_told_once),
		VIEW_TEST(expunges_come_first_with_the_numbers_of_the_moment),
		VIEW_TEST(expunges_wait_when_they_must),
		VIEW_TEST(what_the_client_did_itself_is_not_repeated),
		VIEW_TEST(compares_all_when_the_log_is_too_short),
		VIEW_TEST(an_index_that_went_back_tells_all),
		VIEW_TEST(an_emptied_mailbox_fills_again),
		VIEW_TEST(a_mailbox_that_is_not_there),
		VIEW_TEST(messages_in_a_range),
		VIEW_TEST(tells_what_happened_since),
		VIEW_TEST(cache_records_in_their_order),
	};

	return cmocka_run_group_tests_name("index_view", tests, NULL, NULL);
}
