/* SPDX-License-Identifier: MIT */
#include "index_core_user.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What a user may have; each message here has 20 bytes. */

static void
limits(struct fixture *f, uint64_t bytes, uint64_t messages, const char *rules)
{
	f->o.limits =
		(struct index_core_limits){.bytes = bytes, .messages = messages, .rules = rules};
	index_core_set_limits(f->c, &f->o.limits);
}

static enum err
put(struct fixture *f, const char *name)
{
	char dir[300] = "";
	uint32_t uid;

	if (strcmp(name, "INBOX") != 0)
		snprintf(dir, sizeof(dir), ".%s", name);
	return try_append(f, box_id(f, name), dir, 0, NULL, &uid);
}

static enum err
transfer(struct fixture *f, const char *from, const char *to, int move)
{
	struct index_core_pair *pairs;
	struct numset uids = set(1, UINT32_MAX);
	uint32_t v;
	size_t n;
	enum err e =
		index_core_copy(f->c, box_id(f, from), box_id(f, to), &uids, move, &v, &pairs, &n);

	free(pairs);
	numset_free(&uids);
	return e;
}

static void
used(struct fixture *f, uint64_t bytes, uint64_t messages)
{
	struct index_quota q;

	index_core_quota(f->c, &q);
	assert_int_equal(q.bytes, bytes);
	assert_int_equal(q.messages, messages);
}

static void
to_the_last_byte(void **state)
{
	struct fixture *f = *state;

	limits(f, 60, 0, NULL);
	assert_int_equal(put(f, "INBOX"), OK);
	assert_int_equal(put(f, "INBOX"), OK);
	assert_int_equal(put(f, "Sent"), OK);
	assert_int_equal(put(f, "Sent"), E_QUOTA);
	limits(f, 79, 0, NULL);
	assert_int_equal(put(f, "Sent"), E_QUOTA);
	limits(f, 80, 0, NULL);
	assert_int_equal(put(f, "Sent"), OK);
	limits(f, 0, 4, NULL);
	assert_int_equal(put(f, "Sent"), E_QUOTA);
	limits(f, 0, 5, NULL);
	assert_int_equal(put(f, "Sent"), OK);
	used(f, 100, 5);
}

static void
rules_add(void **state)
{
	struct fixture *f = *state;

	limits(f, 40, 0, "Trash:+20;Sent:+50%");
	assert_int_equal(put(f, "INBOX"), OK);
	assert_int_equal(put(f, "INBOX"), OK);
	assert_int_equal(put(f, "INBOX"), E_QUOTA);
	assert_int_equal(transfer(f, "INBOX", "Archive", 0), E_QUOTA);
	assert_int_equal(put(f, "Sent"), OK);
	assert_int_equal(put(f, "Trash"), E_QUOTA);
	/* A move fills nothing. */
	assert_int_equal(transfer(f, "INBOX", "Trash", 1), OK);
	assert_int_equal(transfer(f, "Trash", "Archive", 1), OK);
	used(f, 60, 3);
	check_counts(f, box_id(f, "Archive"));
}

static void
rules_ignore(void **state)
{
	struct fixture *f = *state;

	limits(f, 40, 0, "Junk:ignore;Junk/*:ignore");
	for (int i = 0; i < 3; i++)
		assert_int_equal(put(f, "Junk"), OK);
	used(f, 0, 0);
	assert_int_equal(put(f, "INBOX"), OK);
	/* What did not count so far has to fit. */
	assert_int_equal(transfer(f, "Junk", "INBOX", 1), E_QUOTA);
	assert_int_equal(transfer(f, "INBOX", "Junk", 1), OK);
	used(f, 0, 0);
	/* Under another name it counts, and no longer when it is called so again. */
	assert_int_equal(index_core_rename(f->c, STR("Junk"), STR("Old")), OK);
	used(f, 80, 4);
	check_counts(f, box_id(f, "Old"));
	assert_int_equal(index_core_rename(f->c, STR("Old"), STR("Junk/Old")), OK);
	used(f, 0, 0);
	assert_int_equal(put(f, "INBOX"), OK);
	rebuild(f);
	used(f, 20, 1);
	check_counts(f, box_id(f, "Junk/Old"));
	/* Rules that change count anew. */
	limits(f, 40, 0, NULL);
	used(f, 100, 5);
	limits(f, 40, 0, "Junk/Old:ignore");
	used(f, 20, 1);
	assert_int_equal(index_core_delete(f->c, STR("Junk/Old")), OK);
	used(f, 20, 1);
	check_counts(f, box_id(f, "INBOX"));
}

static void
rules_of_one_mailbox(void **state)
{
	struct fixture *f = *state;

	limits(f, 0, 0, "Archive:max=40:ignore;Sent:max_messages=1");
	assert_int_equal(put(f, "Archive"), OK);
	assert_int_equal(put(f, "Archive"), OK);
	assert_int_equal(put(f, "Archive"), E_QUOTA);
	assert_int_equal(put(f, "Sent"), OK);
	assert_int_equal(put(f, "Sent"), E_QUOTA);
	/* A move too, when the mailbox itself is full. */
	assert_int_equal(put(f, "INBOX"), OK);
	assert_int_equal(transfer(f, "INBOX", "Sent", 1), E_QUOTA);
	assert_int_equal(transfer(f, "INBOX", "INBOX", 1), OK);
	used(f, 40, 2);
}

static void
grace(void **state)
{
	struct fixture *f = *state;
	struct index_core_limits l = {.bytes = 30, .grace_bytes = 10};

	index_core_set_limits(f->c, &l);
	assert_int_equal(put(f, "INBOX"), OK);
	assert_int_equal(put(f, "INBOX"), OK);
	assert_int_equal(put(f, "INBOX"), E_QUOTA);
	used(f, 40, 2);
	/* Over the limit there is none. */
	l.grace_bytes = 1000;
	index_core_set_limits(f->c, &l);
	assert_int_equal(put(f, "INBOX"), E_QUOTA);
}

static void
an_old_ticket(void **state)
{
	struct fixture *f = *state;
	int64_t now = core_now_s();

	index_core_set_limits(f->c, &(struct index_core_limits){.bytes = 40, .issued = now});
	index_core_set_limits(f->c, &(struct index_core_limits){.bytes = 20, .issued = now - 10});
	assert_int_equal(put(f, "INBOX"), OK);
	assert_int_equal(put(f, "INBOX"), OK);
	index_core_set_limits(f->c, &(struct index_core_limits){.bytes = 60, .issued = now + 1});
	assert_int_equal(put(f, "INBOX"), OK);
}

static void
recount(void **state)
{
	struct fixture *f = *state;

	limits(f, 1000, 50, NULL);
	assert_int_equal(put(f, "INBOX"), OK);
	assert_int_equal(put(f, "Sent"), OK);
	while (index_core_background(f->c))
		;
	run("head -1 %s/maildirsize | grep -qx 1000S,50C", f->maildir);
	write_file(f, "maildirsize", "7S\n5 5\n");
	run("rm %s/.Sent/new/*", f->maildir);
	assert_int_equal(index_core_quota_recount(f->c), OK);
	used(f, 20, 1);
	check_counts(f, box_id(f, "Sent"));
	run("printf '1000S,50C\\n20 1\\n' | cmp - %s/maildirsize", f->maildir);
}

static void
maildirsize_stays_short(void **state)
{
	struct fixture *f = *state;

	limits(f, 1 << 30, 0, NULL);
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(put(f, "INBOX"), OK);
		(void)index_core_background(f->c);
	}
	run("test $(stat -c %%s %s/maildirsize) -lt 5200", f->maildir);
	/* What other programs add up from it. */
	run("test $(awk 'NR>1 {b+=$1; m+=$2} END {print b\"-\"m}' %s/maildirsize) = 20000-1000",
		f->maildir);
}

/* Foreign mail is taken for parsing once, mailbox by mailbox, a few at a time. */
static void
unparsed(void **state)
{
	struct fixture *f = *state;
	struct index_core_unparsed got[4];
	struct index_core_note note = {.has_facts = 1, .size = 30, .email_id = {1}};
	struct index_core_place at = {0};
	unsigned seen = 0, rounds = 0;
	char path[64];
	size_t n;
	int more = 1;

	for (int i = 0; i < 10; i++) {
		snprintf(path, sizeof(path), "%snew/17000000%02d.x.host", i % 2 ? ".Sent/" : "", i);
		write_file(f, path, "Subject: x\n\nfrom elsewhere\n");
	}
	age(f, "new");
	age(f, ".Sent/new");
	assert_int_equal(index_core_refresh(f->c, 0), OK);
	assert_int_equal(index_core_unparsed(f->c), 10);
	check_counts(f, box_id(f, "Sent"));
	while (more) {
		assert_true(rounds++ < 10);
		assert_int_equal(
			index_core_unparsed_take(f->c, &at, got, 4, 1 << 20, &n, &more), OK);
		for (size_t i = 0; i < n; i++) {
			note.mailbox = got[i].mailbox;
			note.uid = got[i].uid;
			assert_int_equal(index_core_notes_put(f->c, &note, 1), OK);
			snprintf(path, sizeof(path), "test -f %.40s", got[i].path);
			run("cd %s && %s", f->maildir, path);
			index_core_unparsed_free(&got[i]);
		}
		seen += (unsigned)n;
	}
	assert_int_equal(seen, 10);
	assert_int_equal(index_core_unparsed(f->c), 0);
	check_counts(f, box_id(f, "INBOX"));
	check_counts(f, box_id(f, "Sent"));
	/* A mailbox takes its share with it. */
	write_file(f, ".Sent/new/1800000000.x.host", "Subject: x\n\n");
	age(f, ".Sent/new");
	assert_int_equal(index_core_refresh(f->c, 0), OK);
	assert_int_equal(index_core_unparsed(f->c), 1);
	assert_int_equal(index_core_delete(f->c, STR("Sent")), OK);
	assert_int_equal(index_core_unparsed(f->c), 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, core_user_setup, core_user_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(to_the_last_byte),
		TEST(rules_add),
		TEST(rules_ignore),
		TEST(rules_of_one_mailbox),
		TEST(grace),
		TEST(an_old_ticket),
		TEST(recount),
		TEST(maildirsize_stays_short),
		TEST(unparsed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
