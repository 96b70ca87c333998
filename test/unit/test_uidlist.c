/* SPDX-License-Identifier: MIT */
/* Many files at once: their UIDs stand in a list until their names have them. */
#include "index/core_uidlist.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "index_core_user.h"
#include "lib/log.h"
#include "lib/mem.h"

enum { MANY = 3 * CORE_UIDLIST_MIN };

static int
exists(struct fixture *f, const char *below)
{
	char *path = mem_printf("%s/%s", f->maildir, below);
	int found = access(path, F_OK) == 0;

	free(path);
	return found;
}

static const char *
name_of(int i)
{
	static char name[64];

	snprintf(name, sizeof(name), "%d.M%dP1.other.example", 1600000000 + i / 2, 100 + i);
	return name;
}

/* The odd ones are read and lie in cur/. */
static void
put_many(struct fixture *f, const char *folder, int first, int end)
{
	char path[300];

	for (int i = first; i < end; i++) {
		snprintf(path, sizeof(path), "%s%s/%s%s", folder, i % 2 ? "cur" : "new", name_of(i),
			i % 2 ? ":2,S" : "");
		write_file(f, path, "Subject: many\n\nx\n");
	}
}

/* Each time another modification time, and no fresh one. */
static void
look(struct fixture *f)
{
	static int times;

	times++;
	run("touch -d '2001-02-03 04:05:%02d' %s/new %s/cur", times % 60, f->maildir, f->maildir);
	assert_int_equal(index_core_refresh(f->c, box_id(f, "INBOX")), OK);
}

/* As after a crash of the process: what waits stays so. */
static void
crash(struct fixture *f)
{
	index_core_close(&f->c, 0);
	reopen(f);
}

static void
lose_index(struct fixture *f)
{
	index_core_close(&f->c, 0);
	run("rm -rf %s", f->index_dir);
	reopen(f);
}

/* Messages first..end-1 have the UIDs from uid on; named: the files say so themselves. */
static void
check_many(struct fixture *f, int first, int end, uint32_t uid, int named)
{
	char base[100], path[300];

	for (int i = first; i < end; i++, uid++) {
		struct peek p = peek(f, box_id(f, "INBOX"), uid);

		assert_int_equal(p.found, OK);
		assert_int_equal(strncmp(p.m.name, name_of(i), strlen(name_of(i))), 0);
		snprintf(base, sizeof(base), "%s,S=17,U=%u", name_of(i), uid);
		if (named)
			assert_int_equal(strncmp(p.m.name, base, strlen(base)), 0);
		if (named)
			assert_int_equal(p.m.r.disk_size, 17);
		snprintf(path, sizeof(path), "%s/%s", p.m.r.in_new ? "new" : "cur", p.m.name);
		assert_true(exists(f, path));
	}
	check_counts(f, box_id(f, "INBOX"));
}

static void
background(struct fixture *f)
{
	while (index_core_background(f->c))
		;
}

static void
test_list_then_names(void **state)
{
	struct fixture *f = *state;

	put_many(f, "", 0, MANY);
	look(f);
	assert_true(exists(f, CORE_FILE_UIDLIST));
	check_many(f, 0, MANY, 1, 0);
	assert_true(exists(f, "new/1600000000.M100P1.other.example"));
	crash(f);
	check_many(f, 0, MANY, 1, 0);
	lose_index(f);
	check_many(f, 0, MANY, 1, 0);
	background(f);
	assert_false(exists(f, CORE_FILE_UIDLIST));
	check_many(f, 0, MANY, 1, 1);
	lose_index(f);
	check_many(f, 0, MANY, 1, 1);
	assert_int_equal(index_core_pending(f->c), 0);
}

/* What nobody has seen stays where other programs look for new mail; what was shown moves on. */
static void
test_new_mail(void **state)
{
	struct fixture *f = *state;
	uint32_t first;

	put_many(f, "", 0, MANY);
	look(f);
	background(f);
	assert_int_equal(count_files(f, "new"), MANY / 2);
	check_many(f, 0, MANY, 1, 1);
	put_many(f, "", MANY, 2 * MANY);
	look(f);
	assert_int_equal(index_core_claim_recent(f->c, box_id(f, "INBOX"), &first), OK);
	background(f);
	assert_int_equal(count_files(f, "new"), 0);
	check_many(f, 0, 2 * MANY, 1, 1);
}

/* Only a part of the names was done when the index was lost. */
static void
test_halfway(void **state)
{
	enum { COUNT = CORE_RENAMES_PER_STEP + MANY };
	struct fixture *f = *state;

	put_many(f, "", 0, COUNT);
	look(f);
	assert_int_equal(index_core_background(f->c), 1);
	assert_true(exists(f, CORE_FILE_UIDLIST));
	assert_int_equal(index_core_pending(f->c), MANY);
	check_many(f, 0, COUNT, 1, 0);
	crash(f);
	check_many(f, 0, COUNT, 1, 0);
	lose_index(f);
	check_many(f, 0, COUNT, 1, 0);
	assert_int_equal(index_core_pending(f->c), MANY);
	background(f);
	check_many(f, 0, COUNT, 1, 1);
	assert_false(exists(f, CORE_FILE_UIDLIST));
}

/* Flags by us and by others while the names are not done. */
static void
test_changes_meanwhile(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX");
	struct numset gone = {0}, five = set(5, 5);
	uint64_t modseq;

	put_many(f, "", 0, MANY);
	look(f);
	/* UIDs 1 and 2 are files 0 (new) and 1 (cur). */
	run("mv %s/new/%s %s/cur/%s:2,F", f->maildir, name_of(0), f->maildir, name_of(0));
	run("mv %s/cur/%s:2,S %s/cur/%s:2,RS", f->maildir, name_of(1), f->maildir, name_of(1));
	assert_int_equal(store(f, inbox, 3, 4, INDEX_STORE_ADD, INDEX_FLAGGED, "Work"), OK);
	assert_int_equal(index_core_expunge(f->c, inbox, &five, 1, &gone, &modseq), OK);
	look(f);
	for (int again = 0; again < 2; again++) {
		assert_int_equal(peek(f, inbox, 1).m.r.flags, INDEX_FLAGGED);
		assert_int_equal(peek(f, inbox, 2).m.r.flags, INDEX_SEEN | INDEX_ANSWERED);
		assert_int_equal(peek(f, inbox, 3).m.r.flags, INDEX_FLAGGED);
		assert_int_equal(peek(f, inbox, 4).m.r.flags, INDEX_FLAGGED | INDEX_SEEN);
		assert_int_equal(peek(f, inbox, 5).found, E_NOTFOUND);
		assert_int_equal(peek(f, inbox, 6).box.r.messages, MANY - 1);
		background(f);
		lose_index(f);
	}
	assert_false(exists(f, CORE_FILE_UIDLIST));
	numset_free(&gone);
	numset_free(&five);
}

/* A file that is put back after its message was expunged is another message. */
static void
test_expunged_is_gone(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX");
	struct numset gone = {0}, one = set(1, 1);
	uint64_t modseq;

	put_many(f, "", 0, MANY);
	look(f);
	assert_int_equal(index_core_expunge(f->c, inbox, &one, 1, &gone, &modseq), OK);
	put_many(f, "", 0, 1);
	look(f);
	assert_int_equal(peek(f, inbox, 1).found, E_NOTFOUND);
	assert_int_equal(peek(f, inbox, MANY + 1).found, OK);
	background(f);
	lose_index(f);
	assert_int_equal(peek(f, inbox, 1).found, E_NOTFOUND);
	assert_int_equal(peek(f, inbox, MANY + 1).found, OK);
	numset_free(&gone);
	numset_free(&one);
}

/* What a list cannot tell apart, or has no room for our fields, is renamed at once. */
static void
test_odd_names(void **state)
{
	struct fixture *f = *state;
	char longest[MAILDIR_NAME_MAX], path[300];
	uint32_t inbox = box_id(f, "INBOX");
	int found = 0;

	append(f, "INBOX", 0, NULL);
	put_many(f, "", 0, MANY);
	write_file(f, "new/1500000000.twin", "Subject: a\n\nx\n");
	write_file(f, "cur/1500000000.twin:2,S", "Subject: b\n\nx\n");
	write_file(f, "cur/1500000001.somebodys,U=700000:2,S", "Subject: c\n\nx\n");
	memset(longest, 'l', sizeof(longest));
	longest[MAILDIR_BASE_MAX - 5] = '\0';
	memcpy(longest, "1500000002.", 11);
	snprintf(path, sizeof(path), "cur/%s:2,", longest);
	write_file(f, path, "Subject: d\n\nx\n");
	look(f);
	for (int again = 0; again < 3; again++) {
		assert_int_equal(peek(f, inbox, 1).box.r.messages, MANY + 5);
		for (uint32_t uid = 1; uid <= MANY + 5; uid++)
			found += peek(f, inbox, uid).found == OK;
		assert_int_equal(found, (again + 1) * (MANY + 5));
		assert_int_equal(strncmp(peek(f, inbox, 4).m.name, "1500000001.somebodys", 20), 0);
		if (again == 1)
			background(f);
		lose_index(f);
	}
	assert_string_equal(peek(f, inbox, 4).m.name, "1500000001.somebodys,S=14,U=4:2,S");
	assert_false(exists(f, CORE_FILE_UIDLIST));
}

/* More files come while the first are still in the list. */
static void
test_second_flood(void **state)
{
	struct fixture *f = *state;

	put_many(f, "", 0, MANY);
	look(f);
	put_many(f, "", MANY, 2 * MANY);
	look(f);
	check_many(f, 0, 2 * MANY, 1, 0);
	assert_true(append(f, "INBOX", 0, NULL) == 2 * MANY + 1);
	lose_index(f);
	check_many(f, 0, 2 * MANY, 1, 0);
	background(f);
	check_many(f, 0, 2 * MANY, 1, 1);
	assert_int_equal(peek(f, box_id(f, "INBOX"), 1).box.r.messages, 2 * MANY + 1);
}

/* A list of another UIDVALIDITY, or none that can be read, says nothing. */
static void
test_not_ours(void **state)
{
	struct fixture *f = *state;

	write_file(f, CORE_FILE_UIDLIST, "3 V5 N900\n800 :1600000000.M100P1.other.example\n");
	put_many(f, "", 0, 3);
	look(f);
	check_many(f, 0, 3, 1, 1);
	write_file(f, CORE_FILE_UIDLIST, "\x01rubbish\n\n9");
	put_many(f, "", 3, 5);
	look(f);
	check_many(f, 0, 5, 1, 1);
}

/* An adopted folder: UIDs and sizes are those of Dovecot's list. */
static void
test_adopted(void **state)
{
	struct fixture *f = *state;
	struct buf list = {0};
	char path[300];
	struct peek p;

	index_core_close(&f->c, 0);
	run("mkdir -p %s/.Old/cur %s/.Old/new %s/.Old/tmp", f->maildir, f->maildir, f->maildir);
	buf_add_cstr(&list, "3 V77 N5000\n");
	for (int i = 0; i < MANY; i++)
		buf_printf(&list, "%d W20 :%s\n", 1000 + i, name_of(i));
	put_many(f, ".Old/", 0, MANY + 1);
	snprintf(path, sizeof(path), ".Old/dovecot-uidlist");
	write_file(f, path, buf_cstr(&list));
	buf_free(&list);
	reopen(f);
	for (int again = 0; again < 4; again++) {
		for (uint32_t i = 0; i < MANY; i++) {
			p = peek(f, box_id(f, "Old"), 1000 + i);
			assert_int_equal(p.found, OK);
			assert_int_equal(p.m.r.size, 20);
		}
		assert_int_equal(p.box.r.uidvalidity, 77);
		assert_int_equal(p.box.r.messages, MANY + 1);
		assert_int_equal(peek(f, box_id(f, "Old"), 5000).found, OK);
		assert_int_equal(exists(f, ".Old/" CORE_FILE_UIDLIST), again < 3);
		if (again == 1)
			crash(f);
		else if (again == 2)
			background(f);
		lose_index(f);
	}
	assert_string_equal(peek(f, box_id(f, "Old"), 1001).m.name,
		"1600000000.M101P1.other.example,S=17,W=20,U=1001:2,S");
}

/* What cannot be renamed keeps the list, and the work ends all the same. */
static void
test_taken_name(void **state)
{
	struct fixture *f = *state;

	put_many(f, "", 0, MANY);
	look(f);
	/* A directory where a file is to go. */
	run("mkdir '%s/cur/%s,S=17,U=2:2,S'", f->maildir, name_of(1));
	background(f);
	assert_true(exists(f, CORE_FILE_UIDLIST));
	check_many(f, 0, MANY, 1, 0);
	lose_index(f);
	check_many(f, 0, MANY, 1, 0);
	run("rmdir '%s/cur/%s,S=17,U=2:2,S'", f->maildir, name_of(1));
	background(f);
	assert_false(exists(f, CORE_FILE_UIDLIST));
	check_many(f, 0, MANY, 1, 1);
}

/* Under a limit they count from the moment that they are messages. */
static void
test_they_count_at_once(void **state)
{
	struct fixture *f = *state;
	struct index_core_limits limits = {.bytes = 1 << 20};
	struct index_quota q;

	index_core_set_limits(f->c, &limits);
	put_many(f, "", 0, MANY);
	look(f);
	assert_true(exists(f, CORE_FILE_UIDLIST));
	index_core_quota(f->c, &q);
	assert_int_equal(q.bytes, MANY * strlen("Subject: many\n\nx\n"));
	background(f);
	index_core_quota(f->c, &q);
	assert_int_equal(q.bytes, MANY * strlen("Subject: many\n\nx\n"));
	check_many(f, 0, MANY, 1, 1);
	/* Also in an index that is made under one. */
	f->o.limits = limits;
	run("cd %s/new && for i in $(seq 100); do echo x >1700000000.M${i}P2.other; done",
		f->maildir);
	lose_index(f);
	index_core_quota(f->c, &q);
	assert_int_equal(q.bytes, MANY * strlen("Subject: many\n\nx\n") + 100 * 2);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, core_user_setup, core_user_teardown)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_list_then_names),
		TEST(test_new_mail),
		TEST(test_halfway),
		TEST(test_changes_meanwhile),
		TEST(test_expunged_is_gone),
		TEST(test_odd_names),
		TEST(test_second_flood),
		TEST(test_not_ours),
		TEST(test_adopted),
		TEST(test_taken_name),
		TEST(test_they_count_at_once),
	};

	log_init("test", LOGL_ERROR + 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
