/* SPDX-License-Identifier: MIT */
/* What the index makes of a Maildir: after a loss, and after other programs. */
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
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "index_core_user.h"

static void
test_rebuild_is_the_same(void **state)
{
	static const char *const words[] = {"$Forwarded", "Work", NULL};
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX"), sent = box_id(f, "Sent");
	struct peek before[4], after;
	struct numset gone = {0}, two = set(2, 2);
	uint64_t modseq;

	append(f, "INBOX", 0, NULL);
	append(f, "INBOX", 0, NULL);
	append(f, "INBOX", INDEX_SEEN | INDEX_ANSWERED, words);
	append(f, "Sent", INDEX_SEEN, words + 1);
	assert_int_equal(store(f, inbox, 1, 1, INDEX_STORE_ADD, INDEX_FLAGGED, "Work"), OK);
	assert_int_equal(index_core_expunge(f->c, inbox, &two, 1, &gone, &modseq), OK);
	before[1] = peek(f, inbox, 1);
	before[3] = peek(f, inbox, 3);
	before[0] = peek(f, sent, 1);
	rebuild(f);
	for (int i = 0; i < 4; i++) {
		if (i == 2)
			continue;
		after = peek(f, i ? inbox : sent, i ? (uint32_t)i : 1);
		assert_int_equal(after.found, OK);
		assert_int_equal(after.box.r.uidvalidity, before[i].box.r.uidvalidity);
		assert_memory_equal(after.box.r.object_id, before[i].box.r.object_id, 16);
		assert_int_equal(after.m.r.flags, before[i].m.r.flags);
		assert_int_equal(after.m.r.size, before[i].m.r.size);
		assert_int_equal(after.m.r.disk_size, before[i].m.r.disk_size);
		assert_int_equal(after.m.r.save_date, before[i].m.r.save_date);
		assert_int_equal(has_keyword(&after, "Work"), 1);
		assert_true(after.m.r.modseq > before[i].m.r.modseq);
	}
	assert_int_equal(peek(f, inbox, 2).found, E_NOTFOUND);
	/* UIDs go on above all that can ever have been given. */
	assert_true(append(f, "INBOX", 0, NULL) >= 4);
	check_counts(f, inbox);
	numset_free(&gone);
	numset_free(&two);
}

static void
test_foreign_changes(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX");
	uint64_t before;
	struct peek p;

	append(f, "INBOX", 0, NULL);
	append(f, "INBOX", INDEX_SEEN, NULL);
	/* A delivery without a UID, read by another program, and one with somebody's UID. */
	write_file(f, "new/1700000000.M1P1.other.example", "Subject: x\n\nhello\n");
	write_file(f, "cur/1600000000.M1P1.other.example,U=1:2,SPz", "Subject: y\n\nhello\n");
	assert_int_equal(index_core_refresh(f->c, inbox), OK);
	p = peek(f, inbox, 3);
	assert_int_equal(p.m.r.flags, INDEX_SEEN);
	assert_int_equal(p.m.r.save_date, 1600000000);
	assert_non_null(strstr(p.m.name, ",S=18,U=3:2,PSz"));
	assert_int_equal(p.m.r.keywords.bits[0], 0);
	p = peek(f, inbox, 4);
	assert_int_equal(p.m.r.in_new, 1);
	assert_int_equal(p.m.r.size, INDEX_SIZE_UNKNOWN);
	assert_int_equal(p.box.r.messages, 4);

	/* Another program flags 1, moves it to cur/, and removes 2. */
	before = peek(f, inbox, 1).m.r.modseq;
	p = peek(f, inbox, 1);
	run("mv '%s/new/%s' '%s/cur/%s:2,F'", f->maildir, p.m.name, f->maildir, p.m.name);
	p = peek(f, inbox, 2);
	run("rm '%s/cur/%s'", f->maildir, p.m.name);
	age(f, "cur");
	assert_int_equal(index_core_refresh(f->c, inbox), OK);
	p = peek(f, inbox, 1);
	assert_int_equal(p.m.r.flags, INDEX_FLAGGED);
	assert_int_equal(p.m.r.in_new, 0);
	assert_true(p.m.r.modseq > before);
	assert_int_equal(peek(f, inbox, 2).found, E_NOTFOUND);
	check_counts(f, inbox);
}

static void
test_flags_of_both_sides(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX");
	struct peek p;

	append(f, "INBOX", INDEX_SEEN, NULL);
	p = peek(f, inbox, 1);
	/* Ours is in the index only yet; another program renames the file meanwhile. */
	assert_int_equal(store(f, inbox, 1, 1, INDEX_STORE_ADD, INDEX_FLAGGED, NULL), OK);
	run("mv '%s/cur/%s' '%s/cur/%.*s:2,RS'", f->maildir, p.m.name, f->maildir,
		(int)p.m.r.base_len, p.m.name);
	age(f, "cur");
	assert_int_equal(index_core_refresh(f->c, inbox), OK);
	while (index_core_background(f->c))
		;
	p = peek(f, inbox, 1);
	assert_int_equal(p.m.r.flags, INDEX_SEEN | INDEX_FLAGGED | INDEX_ANSWERED);
	assert_non_null(strstr(p.m.name, ":2,FRS"));
}

static void
test_hostile_files(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX");
	char longest[256];

	run("ln -s /etc/passwd '%s/cur/1.link:2,S'", f->maildir);
	run("mkfifo '%s/cur/2.fifo:2,S'", f->maildir);
	run("mkdir '%s/new/3.dir'", f->maildir);
	run("touch '%s/new/.hidden'", f->maildir);
	memset(longest, 'x', sizeof(longest));
	longest[255] = '\0';
	run("touch '%s/new/%s'", f->maildir, longest);
	longest[210] = '\0';
	run("touch '%s/new/%s'", f->maildir, longest);
	run("touch '%s/cur/4.x,U=4294967295,S=99999999999999999999999:2,'", f->maildir);
	run("touch '%s/cur/5.x,U=0,U=-1,W=x:2,SSSS'", f->maildir);
	run("touch '%s/cur/'$(printf '6.ctl\\001x')", f->maildir);
	assert_int_equal(index_core_refresh(f->c, inbox), OK);
	assert_int_equal(peek(f, inbox, 0).box.r.messages, 3);
	for (uint32_t uid = 1; uid <= 3; uid++)
		assert_int_equal(peek(f, inbox, uid).found, OK);
	rebuild(f);
	assert_int_equal(peek(f, box_id(f, "INBOX"), 0).box.r.messages, 3);
}

static void
test_duplicate_uid(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX");
	struct peek p;

	append(f, "INBOX", 0, NULL);
	append(f, "INBOX", 0, NULL);
	p = peek(f, inbox, 1);
	run("cp '%s/new/%s' '%s/cur/0.copy,S=20,U=1:2,'", f->maildir, p.m.name, f->maildir);
	rebuild(f);
	assert_int_equal(peek(f, inbox, 0).box.r.messages, 3);
	assert_int_equal(peek(f, inbox, 1).found, OK);
	assert_int_equal(peek(f, inbox, 2).found, OK);
	check_counts(f, inbox);
}

static void
test_crash_between_file_and_index(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX");

	append(f, "INBOX", 0, NULL);
	/* The process died behind the rename of UID 2: nobody has heard of it. */
	index_core_close(&f->c, 0);
	write_file(f, "new/1700000000.M1P1Q1.mail.example.test,S=2,W=3,U=2", "x\n");
	reopen(f);
	assert_int_equal(peek(f, inbox, 2).found, OK);
	assert_int_equal(append(f, "INBOX", 0, NULL), 3);
	check_counts(f, inbox);
}

static void
test_crash_with_pending(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX");
	struct peek p;

	append(f, "INBOX", 0, NULL);
	append(f, "INBOX", 0, NULL);
	assert_int_equal(store(f, inbox, 1, 2, INDEX_STORE_ADD, INDEX_SEEN, NULL), OK);
	/* One rename was done, its record was not. */
	p = peek(f, inbox, 1);
	run("mv '%s/new/%s' '%s/cur/%s:2,S'", f->maildir, p.m.name, f->maildir, p.m.name);
	index_core_close(&f->c, 0);
	reopen(f);
	assert_int_equal(index_core_pending(f->c) > 0, 1);
	while (index_core_background(f->c))
		;
	for (uint32_t uid = 1; uid <= 2; uid++) {
		p = peek(f, inbox, uid);
		assert_int_equal(p.m.r.flags, INDEX_SEEN);
		assert_non_null(strstr(p.m.name, ":2,S"));
		assert_int_equal(p.m.r.in_new, 0);
	}
	assert_int_equal(count_files(f, "cur"), 2);
	check_counts(f, inbox);
}

static void
test_boots(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX"), uid;
	uint64_t modseq;

	append(f, "INBOX", 0, NULL);
	modseq = peek(f, inbox, 1).m.r.modseq;
	/* In order: the index is kept over a restart of the system. */
	while (index_core_background(f->c))
		;
	index_core_close(&f->c, 1);
	f->o.boot_id = "boot-2";
	reopen(f);
	assert_int_equal(peek(f, inbox, 1).m.r.modseq, modseq);
	assert_int_equal(append(f, "INBOX", 0, NULL), 2);
	/* Not in order, after a change: it is not believed. */
	index_core_close(&f->c, 0);
	f->o.boot_id = "boot-3";
	reopen(f);
	assert_true(peek(f, inbox, 1).m.r.modseq > modseq);
	uid = append(f, "INBOX", 0, NULL);
	assert_true(uid > 1000);
	assert_int_equal(peek(f, inbox, 2).found, OK);
}

static void
test_foreign_folders(void **state)
{
	struct fixture *f = *state;
	uint32_t id;

	run("mkdir -p '%s/.New.Sub/cur' '%s/.New.Sub/new' '%s/.New.Sub/tmp'", f->maildir,
		f->maildir, f->maildir);
	run("mkdir -p '%s/..bad/cur' '%s/.&bad/cur' '%s/.nocur' '%s/.inbox/cur'", f->maildir,
		f->maildir, f->maildir, f->maildir);
	run("ln -s /tmp '%s/.link'", f->maildir);
	run("touch '%s/.New.Sub/new/1.x'", f->maildir);
	run("rm -r '%s/.Junk'", f->maildir);
	assert_int_equal(index_core_refresh(f->c, 0), OK);
	id = box_id(f, "New/Sub");
	assert_int_equal(peek(f, id, 1).found, OK);
	assert_int_equal(index_core_lookup(f->c, STR("Junk"), &id), E_NOTFOUND);
	assert_int_equal(index_core_lookup(f->c, STR(".bad"), &id), E_NOTFOUND);
	assert_int_equal(index_core_lookup(f->c, STR("link"), &id), E_NOTFOUND);
	/* A copied folder is another mailbox. */
	run("cp -r '%s/.New.Sub' '%s/.Twin'", f->maildir, f->maildir);
	assert_int_equal(index_core_refresh(f->c, 0), OK);
	assert_int_not_equal(box_id(f, "Twin"), box_id(f, "New/Sub"));
	assert_int_equal(peek(f, box_id(f, "Twin"), 0).box.r.messages, 1);
}

/* One transaction that is many times the size of the map, and a bound of ours that is no reason to
 * grow. */
static void
test_large_scan(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX");

	run("cd %s/cur && seq -f '%%.0f.M1P1Q1.host,S=5,W=6:2,S' 1600000001 1600010000 | xargs touch",
		f->maildir);
	assert_int_equal(index_core_refresh(f->c, inbox), OK);
	assert_int_equal(peek(f, inbox, 0).box.r.messages, 10000);
	assert_int_equal(store(f, inbox, 1, UINT32_MAX, INDEX_STORE_ADD, INDEX_FLAGGED, "x"), OK);
	rebuild(f);
	assert_int_equal(peek(f, box_id(f, "INBOX"), 10000).m.r.flags, INDEX_SEEN | INDEX_FLAGGED);
	check_counts(f, box_id(f, "INBOX"));
}

static void
test_clean_tmp(void **state)
{
	struct fixture *f = *state;

	/* An old date is a message's; how long the file has been there is what counts. */
	run("touch -d '2001-02-03' %s/.Sent/tmp/old", f->maildir);
	index_core_clean_tmp(f->c);
	assert_int_equal(count_files(f, ".Sent/tmp"), 1);
}

static void
test_unwritable(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX"), uid;

	append(f, "INBOX", 0, NULL);
	/* In the way of the delivery: a file where the directory should be. */
	run("mv %s/new %s/gone && touch %s/new", f->maildir, f->maildir, f->maildir);
	assert_int_not_equal(try_append(f, inbox, "", 0, NULL, &uid), OK);
	assert_int_equal(count_files(f, "tmp"), 1);
	assert_int_equal(peek(f, inbox, 0).box.r.messages, 1);
	run("rm %s/new && mv %s/gone %s/new", f->maildir, f->maildir, f->maildir);
	assert_int_equal(try_append(f, inbox, "", 0, NULL, &uid), OK);
	assert_int_equal(uid, 2);
}

static void
test_bad_index(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX");
	uint64_t generation = index_core_generation(f->c);

	append(f, "INBOX", 0, NULL);
	index_core_close(&f->c, 0);
	run("printf garbage > %s/data.mdb", f->index_dir);
	reopen(f);
	assert_int_equal(peek(f, inbox, 1).found, OK);
	assert_true(index_core_generation(f->c) != generation);
	index_core_close(&f->c, 0);
	run("head -c 65536 /dev/urandom > %s/data.mdb; rm %s/lock.mdb", f->index_dir, f->index_dir);
	reopen(f);
	assert_int_equal(peek(f, inbox, 1).found, OK);
}

static void
test_lost_uid_file(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX"), uidvalidity = peek(f, inbox, 0).box.r.uidvalidity;
	struct peek p;

	append(f, "INBOX", 0, NULL);
	append(f, "INBOX", 0, NULL);
	run("echo nonsense > %s/roost-uidvalidity", f->maildir);
	rebuild(f);
	p = peek(f, box_id(f, "INBOX"), 2);
	assert_int_equal(p.found, OK);
	assert_true(p.box.r.uidvalidity > uidvalidity);
	assert_int_equal(append(f, "INBOX", 0, NULL), 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, core_user_setup, core_user_teardown)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_rebuild_is_the_same),
		TEST(test_foreign_changes),
		TEST(test_flags_of_both_sides),
		TEST(test_hostile_files),
		TEST(test_duplicate_uid),
		TEST(test_crash_between_file_and_index),
		TEST(test_crash_with_pending),
		TEST(test_boots),
		TEST(test_foreign_folders),
		TEST(test_large_scan),
		TEST(test_clean_tmp),
		TEST(test_unwritable),
		TEST(test_bad_index),
		TEST(test_lost_uid_file),
	};

	log_init("test", LOGL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
