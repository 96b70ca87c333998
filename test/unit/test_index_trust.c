/* SPDX-License-Identifier: MIT */
#include "index/index_core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "index/core_private.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "index_core_user.h"

/* Whether an index that is found is the one of this Maildir and whole (doc/storage.md). */

static void
test_is_gone(void **state)
{
	struct fixture *f = *state;

	assert_false(index_core_is_gone(f->c));
	run("mv %s/data.mdb %s/other.mdb", f->index_dir, f->index_dir);
	assert_true(index_core_is_gone(f->c));
	run("mv %s/other.mdb %s/data.mdb", f->index_dir, f->index_dir);
	run("mv %s %s.away && mkdir %s", f->maildir, f->maildir, f->maildir);
	assert_true(index_core_is_gone(f->c));
}

static ino_t
boot_inode(const struct fixture *f)
{
	char *path = mem_printf("%s/boot", f->index_dir);
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_size > 0);
	free(path);
	return st.st_ino;
}

/*
 * What says that the index can be believed is not touched when it is right, and else replaced as a
 * whole: who is killed in the midst of it leaves no index that is thrown away, with flags that no
 * file's name has yet.
 */
static void
test_boot_is_never_half_written(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX");
	ino_t before = boot_inode(f);

	append(f, "INBOX", 0, NULL);
	assert_int_equal(store(f, inbox, 1, 1, INDEX_STORE_ADD, INDEX_FLAGGED, NULL), OK);
	index_core_close(&f->c, 0);
	reopen(f);
	assert_int_equal(boot_inode(f), before);
	assert_int_equal(peek(f, inbox, 1).m.r.flags, INDEX_FLAGGED);
	/* Another boot, after a clean stop. */
	assert_int_equal(index_core_sync(f->c), OK);
	index_core_close(&f->c, 1);
	run("ln %s/boot %s/kept && echo another > %s/other && mv %s/other %s/boot", f->index_dir,
		f->index_dir, f->index_dir, f->index_dir, f->index_dir);
	before = boot_inode(f);
	reopen(f);
	assert_true(boot_inode(f) != before);
	run("cmp %s/boot %s/kept", f->index_dir, f->index_dir);
	assert_int_equal(peek(f, inbox, 1).m.r.flags, INDEX_FLAGGED);
}

/* INBOX's file as if a clock that is ahead by years had been set back. */
static void
test_modseq_after_clock_set_back(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX");
	uint64_t before, ahead;
	struct index_core *c = f->c;

	append(f, "INBOX", 0, NULL);
	before = peek(f, inbox, 1).m.r.modseq;
	assert_true(c->modseq_floor >= before);
	ahead = before + (UINT64_C(1) << 45);
	close_core(f);
	run("sed -i 's/^modseq-floor .*/modseq-floor %llu/' %s/roost-uidvalidity",
		(unsigned long long)ahead, f->maildir);
	/* The index does not know of that: it is an old one. */
	reopen(f);
	assert_true(peek(f, inbox, 1).m.r.modseq > ahead);
	before = peek(f, inbox, 0).box.r.highest_modseq;
	rebuild(f);
	assert_true(peek(f, inbox, 1).m.r.modseq > before);
	assert_true(peek(f, inbox, 0).box.r.vanished_floor > before);
	check_counts(f, inbox);
}

/* One that was put in the place of another, in the same boot. */
static void
test_old_index_put_back(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX"), uid;
	struct numset uids = set(2, 2), gone = {0};
	uint64_t modseq;

	append(f, "INBOX", 0, NULL);
	close_core(f);
	run("cp -a %s %s.old", f->index_dir, f->index_dir);
	reopen(f);
	append(f, "INBOX", 0, NULL);
	assert_int_equal(index_core_expunge(f->c, inbox, &uids, 1, &gone, &modseq), OK);
	numset_free(&uids);
	numset_free(&gone);
	close_core(f);
	run("rm -r %s && mv %s.old %s", f->index_dir, f->index_dir, f->index_dir);
	reopen(f);
	uid = append(f, "INBOX", 0, NULL);
	assert_true(uid > 2);
	check_counts(f, inbox);
}

static void
test_rebuild_of_a_removed_index(void **state)
{
	static const char *const words[] = {"$Work", NULL};
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX");
	uint64_t before, generation = index_core_generation(f->c);
	struct peek p;
	int same = 0;

	append(f, "INBOX", 0, words);
	assert_int_equal(store(f, inbox, 1, 1, INDEX_STORE_ADD, INDEX_FLAGGED, NULL), OK);
	before = peek(f, inbox, 1).m.r.modseq;
	run("rm -rf %s", f->index_dir);
	assert_true(index_core_is_gone(f->c));
	assert_int_equal(index_core_rebuild(&f->c, &same), OK);
	assert_true(same);
	assert_false(index_core_is_gone(f->c));
	assert_true(index_core_generation(f->c) != generation);
	p = peek(f, inbox, 1);
	/* Its rename was pending. */
	assert_int_equal(p.m.r.flags, INDEX_FLAGGED);
	assert_true(has_keyword(&p, "$Work"));
	assert_true(p.m.r.modseq > before);
	/* Another file of locks is as bad as another index. */
	run("rm %s/lock.mdb", f->index_dir);
	assert_true(index_core_is_gone(f->c));
	assert_int_equal(index_core_rebuild(&f->c, &same), OK);
	check_counts(f, inbox);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, core_user_setup, core_user_teardown)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_is_gone),
		TEST(test_boot_is_never_half_written),
		TEST(test_modseq_after_clock_set_back),
		TEST(test_old_index_put_back),
		TEST(test_rebuild_of_a_removed_index),
	};

	log_init("test", LOGL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
