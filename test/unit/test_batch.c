/* SPDX-License-Identifier: MIT */
#include "index/core_batch.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "index_core_user.h"
#include "lib/log.h"

/*
 * A process that is killed in the middle of what is one thing to a client. These calls are wrapped
 * by the linker: before the one that the countdown reaches the process ends.
 */

static int countdown = -1; /* below 0: nobody counts */

static void
one_more_call(void)
{
	if (countdown >= 0 && countdown-- == 0)
		raise(SIGKILL);
}

#define WRAP(name, parameters, arguments)                                                          \
	int __real_##name parameters;                                                              \
	int __wrap_##name parameters;                                                              \
	int __wrap_##name parameters                                                               \
	{                                                                                          \
		one_more_call();                                                                   \
		return __real_##name arguments;                                                    \
	}
WRAP(renameat, (int a, const char *b, int c, const char *d), (a, b, c, d))
WRAP(renameat2, (int a, const char *b, int c, const char *d, unsigned e), (a, b, c, d, e))
WRAP(linkat, (int a, const char *b, int c, const char *d, int e), (a, b, c, d, e))
WRAP(unlinkat, (int a, const char *b, int c), (a, b, c))
WRAP(mdb_txn_commit, (MDB_txn * a), (a))

/* ---- what is done ---- */

enum { MESSAGES = 3 };

static void
transfer(struct fixture *f, unsigned how)
{
	struct index_core_pair *pairs = NULL;
	struct numset uids = set(1, MESSAGES);
	uint32_t uidvalidity;
	size_t count;

	assert_int_equal(index_core_copy(f->c, box_id(f, "INBOX"), box_id(f, "Sent"), &uids, how,
				 &uidvalidity, &pairs, &count),
		OK);
	free(pairs);
	numset_free(&uids);
}

static void
do_copy(struct fixture *f)
{
	transfer(f, 0);
}

static void
do_move(struct fixture *f)
{
	transfer(f, INDEX_COPY_MOVE);
}

static struct index_core_append
in_tmp(struct fixture *f, const char *name)
{
	char path[300];

	snprintf(path, sizeof(path), ".Sent/tmp/%s", name);
	write_file(f, path, "Subject: test\n\nbody\n");
	return (struct index_core_append){.tmp_name = str_of(name), .size = 23};
}

static void
do_append(struct fixture *f)
{
	static const char *const names[MESSAGES] = {"one", "two", "three"};
	struct index_core_append m[MESSAGES];
	uint32_t uidvalidity, first;
	uint64_t modseq;

	for (int i = 0; i < MESSAGES; i++) {
		m[i] = in_tmp(f, names[i]);
		m[i].flags = i % 2 ? INDEX_FLAGGED : 0;
	}
	assert_int_equal(index_core_append(f->c, box_id(f, "Sent"), m, MESSAGES, &uidvalidity,
				 &modseq, &first),
		OK);
}

static void
do_replace(struct fixture *f)
{
	struct index_core_append m = in_tmp(f, "new");
	uint32_t uidvalidity, uid;
	uint64_t modseq;

	assert_int_equal(index_core_replace(f->c, box_id(f, "INBOX"), 2, box_id(f, "Sent"), &m,
				 &uidvalidity, &modseq, &uid),
		OK);
}

static void
do_rename(struct fixture *f)
{
	assert_int_equal(index_core_rename(f->c, STR("Top"), STR("Other")), OK);
}

/* ---- what is there then ---- */

static uint32_t
messages(struct fixture *f, const char *name)
{
	uint32_t id = box_id(f, name);

	check_counts(f, id);
	return peek(f, id, 0).box.r.messages;
}

static int
exists(struct fixture *f, const char *below)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/%s", f->maildir, below);
	return access(path, F_OK) == 0;
}

/* The state as one word: 0 nothing happened, 1 all of it. */
static int
copied(struct fixture *f)
{
	assert_int_equal(messages(f, "INBOX"), MESSAGES);
	assert_int_equal(messages(f, "Sent") % MESSAGES, 0);
	return messages(f, "Sent") == MESSAGES;
}

static int
moved(struct fixture *f)
{
	assert_int_equal(messages(f, "INBOX") + messages(f, "Sent"), MESSAGES);
	assert_int_equal(messages(f, "Sent") % MESSAGES, 0);
	return messages(f, "Sent") == MESSAGES;
}

static int
appended(struct fixture *f)
{
	assert_int_equal(messages(f, "Sent") % MESSAGES, 0);
	return messages(f, "Sent") == MESSAGES;
}

static int
replaced(struct fixture *f)
{
	assert_int_equal(messages(f, "INBOX") + messages(f, "Sent"), MESSAGES);
	return messages(f, "Sent") == 1;
}

static int
renamed(struct fixture *f)
{
	static const char *const below[] = {"", "/One", "/Two", "/Two/Three"};
	char name[64];
	uint32_t id;
	int there = 0;

	for (int i = 0; i < 4; i++) {
		int before = there, old;

		snprintf(name, sizeof(name), "Top%s", below[i]);
		old = index_core_lookup(f->c, str_of(name), &id) == OK;
		snprintf(name, sizeof(name), "Other%s", below[i]);
		there += index_core_lookup(f->c, str_of(name), &id) == OK;
		assert_int_equal(there - before, !old);
		assert_true(there == 0 || there == i + 1);
		/* The uses go with the folders. */
		if (i == 1 && there)
			assert_int_equal(peek(f, id, 0).box.r.special_use, INDEX_USE_ARCHIVE);
	}
	return there == 4;
}

static const struct {
	const char *name;
	void (*run)(struct fixture *f);
	int (*look)(struct fixture *f);
} operations[] = {
	{"copy", do_copy, copied},
	{"move", do_move, moved},
	{"append", do_append, appended},
	{"replace", do_replace, replaced},
	{"rename", do_rename, renamed},
};

static struct fixture *
before(void)
{
	void *state;
	struct fixture *f;
	uint32_t id;

	core_user_setup(&state);
	f = state;
	for (int i = 0; i < MESSAGES; i++)
		append(f, "INBOX", i % 2 ? INDEX_SEEN : 0, NULL);
	assert_int_equal(index_core_create(f->c, STR("Top/Two/Three"), 0, &id), OK);
	assert_int_equal(index_core_delete(f->c, STR("Archive")), OK);
	assert_int_equal(index_core_create(f->c, STR("Top/One"), INDEX_USE_ARCHIVE, &id), OK);
	close_core(f);
	return f;
}

/* 1: it was killed. */
static int
killed_at(struct fixture *f, int call, void (*operation)(struct fixture *f))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		reopen(f);
		countdown = call;
		operation(f);
		/* What follows in the background. */
		while (index_core_background(f->c))
			;
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status)) {
		assert_int_equal(WTERMSIG(status), SIGKILL);
		return 1;
	}
	assert_int_equal(WEXITSTATUS(status), 0);
	return 0;
}

/* Every second time what the index has is lost too. */
static void
kill_everywhere(size_t which)
{
	int killed = 1, whole[2] = {0};

	for (int call = 0; killed; call++) {
		struct fixture *f = before();
		void *state = f;
		int all;

		killed = killed_at(f, call, operations[which].run);
		if (call % 2)
			run("rm -rf %s", f->index_dir);
		reopen(f);
		all = operations[which].look(f);
		assert_true(killed || all);
		whole[all]++;
		assert_false(exists(f, CORE_FILE_BATCH));
		/* From the files alone it is the same. */
		if (call % 2 == 0) {
			rebuild(f);
			assert_int_equal(operations[which].look(f), all);
		}
		core_user_teardown(&state);
	}
	/* It was cut before, behind, and in between. */
	assert_true(whole[0] > 0 && whole[1] > 2);
}

static void
killed_in_the_middle(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
		kill_everywhere(i);
}

/* ---- a file that came back ---- */

static void
keep_the_file(struct fixture *f, void (*operation)(struct fixture *f))
{
	reopen(f);
	operation(f);
	run("cp %s/" CORE_FILE_BATCH " %s/kept", f->maildir, f->dir);
}

static void
after_the_power_came_back(struct fixture *f)
{
	close_core(f);
	run("cp %s/kept %s/" CORE_FILE_BATCH, f->dir, f->maildir);
	run("rm -rf %s", f->index_dir);
	reopen(f);
}

/* What was done and acknowledged is not done again, whatever became of it since. */
static void
an_old_batch_is_not_done_again(void **state)
{
	struct fixture *f = before();
	uint32_t sent;

	(void)state;
	keep_the_file(f, do_copy);
	sent = box_id(f, "Sent");
	assert_int_equal(store(f, sent, 1, MESSAGES, INDEX_STORE_ADD, INDEX_FLAGGED, NULL), OK);
	after_the_power_came_back(f);
	assert_true(copied(f));
	assert_int_equal(count_files(f, ".Sent/cur") + count_files(f, ".Sent/new"), MESSAGES);
	assert_int_equal(peek(f, box_id(f, "Sent"), 1).m.r.flags & INDEX_FLAGGED, INDEX_FLAGGED);
	*state = f;
	core_user_teardown(state);
}

static void
a_new_folder_of_an_old_name_is_left_alone(void **state)
{
	struct fixture *f = before();
	uint32_t id;

	(void)state;
	keep_the_file(f, do_rename);
	assert_int_equal(index_core_delete(f->c, STR("Other/One")), OK);
	assert_int_equal(index_core_create(f->c, STR("Top/One"), 0, &id), OK);
	after_the_power_came_back(f);
	assert_int_equal(index_core_lookup(f->c, STR("Top/One"), &id), OK);
	assert_int_equal(index_core_lookup(f->c, STR("Other/One"), &id), E_NOTFOUND);
	*state = f;
	core_user_teardown(state);
}

/* A power cut may take back the renames that flags have caused. */
static void
a_file_is_found_under_an_older_name(void **state)
{
	struct fixture *f = before();

	(void)state;
	assert_int_equal(killed_at(f, 3, do_move), 1);
	run("cd %s && for x in cur/*; do mv \"$x\" \"new/$(basename \"${x%%:*}\")\"; done",
		f->maildir);
	run("rm -rf %s", f->index_dir);
	reopen(f);
	assert_true(moved(f));
	*state = f;
	core_user_teardown(state);
}

/* ---- bad files ---- */

static void
texts_that_are_none(void **state)
{
	static const char *const bad[] = {
		"",
		"roost 1\n",
		"roost 2\nend\t0\n",
		"roost 1\nend\t1\n",
		"roost 1\nend\t0",
		"roost 1\nend\t0\nmore\n",
		"roost 1\nto\t1\t.A\nappend\t1\ttmp/x\tcur/y\n",
		"roost 1\nto\t1\t.A\nappend\t1\ttmp/x\tcur/y\nend\t1\n",
		"roost 1\nappend\t1\ttmp/x\tcur/y\nend\t1\n",
		"roost 1\nto\t1\t.A\nappend\t0\ttmp/x\tcur/y\nend\t2\n",
		"roost 1\nto\t1\t.A\nappend\t1\ttmp/../x\tcur/y\nend\t2\n",
		"roost 1\nto\t1\t.A\nappend\t1\ttmp/x\ttmp/y\nend\t2\n",
		"roost 1\nto\t1\t.A\nappend\t1\tcur/x\tcur/y\nend\t2\n",
		"roost 1\nto\t1\t.A\nmove\t1\tcur/x\tcur/y\nend\t2\n",
		"roost 1\nto\t1\t../A\nend\t1\n",
		"roost 1\nto\t1\t..\nend\t1\n",
		"roost 1\nrename\t1\t.A\t..roost-lost\nend\t1\n",
		"roost 1\nrename\t1\t\t.B\nend\t1\n",
		"roost 1\nrename\t1\t.A\t.B\t.C\nend\t1\n",
	};
	struct core_batch_plan p;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(core_batch_parse(str_of(bad[i]), &p), E_CORRUPT);
	assert_int_equal(
		core_batch_parse(
			STR("roost 1\nfrom\t1\t\nto\t2\t.A\nmove\t7\tnew/x\tcur/y:2,S\nend\t3\n"),
			&p),
		OK);
	assert_int_equal(p.message_count, 1);
	assert_true(p.messages[0].src_in_new && !p.messages[0].dst_in_new);
	assert_true(str_is(p.messages[0].dst, "y:2,S"));
	core_batch_plan_free(&p);
}

static void
a_bad_file_keeps_nobody_out(void **state)
{
	struct fixture *f = before();

	(void)state;
	write_file(f, CORE_FILE_BATCH, "roost 1\nend");
	reopen(f);
	assert_int_equal(messages(f, "INBOX"), MESSAGES);
	assert_false(exists(f, CORE_FILE_BATCH));
	*state = f;
	core_user_teardown(state);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(killed_in_the_middle),
		cmocka_unit_test(an_old_batch_is_not_done_again),
		cmocka_unit_test(a_new_folder_of_an_old_name_is_left_alone),
		cmocka_unit_test(a_file_is_found_under_an_older_name),
		cmocka_unit_test(texts_that_are_none),
		cmocka_unit_test(a_bad_file_keeps_nobody_out),
	};

	log_set_level(LOGL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
