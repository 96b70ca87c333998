/* SPDX-License-Identifier: MIT */
#include "index/index_core.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "index/core_private.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "index_core_user.h"

/* A table of damages: each is found, mended, and nothing is lost. */

enum { MESSAGES = 6 };

/* ---- damages of the index ---- */

struct edit {
	struct fixture *f;
	uint32_t mailbox;
};

static enum err
edit_counts(struct core_tx *tx, void *arg)
{
	struct edit *ed = arg;
	struct core_box b;

	assert_int_equal(core_box_get(tx, ed->mailbox, &b), OK);
	b.r.unseen += 3;
	b.r.size_bytes += 5;
	return core_box_put(tx, &b);
}

static enum err
edit_totals(struct core_tx *tx, void *arg)
{
	(void)arg;
	tx->state.bytes += 1000;
	tx->state.messages += 2;
	return OK;
}

static enum err
edit_uidnext(struct core_tx *tx, void *arg)
{
	struct edit *ed = arg;
	struct core_box b;

	assert_int_equal(core_box_get(tx, ed->mailbox, &b), OK);
	b.r.uidnext = 2;
	return core_box_put(tx, &b);
}

static enum err
edit_change(struct core_tx *tx, void *arg)
{
	struct edit *ed = arg;
	struct core_message m;

	assert_int_equal(core_message_get(tx, ed->mailbox, 2, &m), OK);
	return core_tx_del(tx, INDEX_DB_CHANGE, index_key_change(ed->mailbox, m.r.modseq, 2));
}

static enum err
edit_change_more(struct core_tx *tx, void *arg)
{
	struct edit *ed = arg;
	unsigned char what = INDEX_CHANGE_CHANGED;

	return core_tx_put(tx, INDEX_DB_CHANGE, index_key_change(ed->mailbox, 5, 4711), &what, 1);
}

static enum err
edit_pending(struct core_tx *tx, void *arg)
{
	struct edit *ed = arg;

	return core_pending_put(tx, ed->mailbox, 4711);
}

static enum err
edit_cache(struct core_tx *tx, void *arg)
{
	struct edit *ed = arg;

	return core_tx_put(tx, INDEX_DB_CACHE, index_key_message(ed->mailbox, 4711), "x", 1);
}

static enum err
edit_orphan(struct core_tx *tx, void *arg)
{
	(void)arg;
	return core_tx_put(tx, INDEX_DB_CACHE, index_key_message(777, 1), "x", 1);
}

static enum err
edit_keyword(struct core_tx *tx, void *arg)
{
	struct edit *ed = arg;

	return core_tx_del(tx, INDEX_DB_KEYWORD, index_key_keyword(ed->mailbox, 30));
}

static enum err
edit_modseq(struct core_tx *tx, void *arg)
{
	struct edit *ed = arg;
	struct core_box b;

	assert_int_equal(core_box_get(tx, ed->mailbox, &b), OK);
	b.r.highest_modseq = 1;
	return core_box_put(tx, &b);
}

/* ---- the table ---- */

static const struct {
	const char *check;
	core_step *edit; /* of the index, or */
	const char *command; /* a shell command in the Maildir */
	int quiet; /* the rest of the mailbox is not as before: keywords got another name */
} damages[] = {
	{"counts", edit_counts, NULL, 0},
	{"quota", edit_totals, NULL, 0},
	{"uids", edit_uidnext, NULL, 0},
	{"changes", edit_change, NULL, 0},
	{"changes", edit_change_more, NULL, 0},
	{"changes", edit_modseq, NULL, 0},
	{"pending", edit_pending, NULL, 0},
	{"cache", edit_cache, NULL, 0},
	{"index", edit_orphan, NULL, 0},
	{"keywords", edit_keyword, NULL, 1},
	{"keywords", NULL, "rm .Box/roost-keywords", 0},
	{"keywords", NULL, "echo '0 Other' > .Box/roost-keywords", 0},
	{"keywords", NULL, "rm .Box/roost-keywords-more", 0},
	{"uids", NULL, "rm .Box/roost-uidvalidity", 0},
	{"uids", NULL, "echo nonsense > .Box/roost-uidvalidity", 0},
	{"uids", NULL, "sed -i 's/^next-uid.*/next-uid 2/' .Box/roost-uidvalidity", 0},
	{"uids", NULL, "sed -i 's/^uidvalidity.*/uidvalidity 7/' .Box/roost-uidvalidity", 0},
	{"special-use", NULL, "echo 'trash Sent' > roost-special-use", 0},
	{"special-use", NULL, "rm roost-special-use", 0},
	{"subscriptions", NULL, "sed -i /Box/d subscriptions", 0},
	{"subscriptions", NULL, "echo Nowhere >> subscriptions", 0},
	{"quota", NULL, "echo 9999999 9 >> maildirsize", 0},
	{"quota", NULL, "rm maildirsize", 0},
	{"quota", NULL, "echo nonsense > maildirsize", 0},
	{"folder", NULL, "rmdir .Box/tmp", 0},
	{"folder", NULL, "rm .Box/maildirfolder", 0},
	{"file", NULL, "mkfifo .Box/cur/pipe", 0},
	{"file", NULL, "ln -s /etc/passwd .Box/new/link", 0},
	{"file", NULL, "mkdir .Box/cur/directory", 0},
	{"owner", NULL, "chmod 0400 .Box/cur/*U=2:*", 0},
	{"owner", NULL, "chmod 0666 .Box/cur/*U=2:*", 0},
	{"metadata", NULL, "echo nonsense > .Box/roost-metadata", 0},
	{"metadata", NULL, "printf 'roost 1\\n/private/a b\\nnonsense\\n' > .Box/roost-metadata",
		0},
	{"metadata", NULL, "echo nonsense > roost-metadata-server", 0},
	{"metadata", NULL, "echo nonsense > roost-urlauth", 0},
	{"metadata", NULL, "echo nonsense > .Box/roost-acl", 0},
	/* The time of the directory says that nothing happened. */
	{"files", NULL,
		"touch -r .Box/cur t && mv .Box/cur/*U=2:* .Box/cur/other-name:2,S && "
		"touch -r t .Box/cur && rm t",
		0},
};
enum { DAMAGES = sizeof(damages) / sizeof(damages[0]) };

struct seen {
	const char *check;
	unsigned found, mended, all;
};

static void
note(const struct index_fsck_finding *x, void *arg)
{
	struct seen *s = arg;

	s->all++;
	if (strcmp(x->check, s->check) != 0)
		return;
	s->found++;
	s->mended += x->mended != 0;
}

static struct seen
check(struct fixture *f, int repair, const char *word)
{
	static const char *const names[] = {
		"INBOX", "Box", "Sent", "Drafts", "Junk", "Trash", "Archive"};
	struct seen s = {.check = word};

	while (index_core_background(f->c))
		;
	assert_int_equal(index_core_fsck_tree(f->c, repair, note, &s), OK);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_int_equal(
			index_core_fsck_mailbox(f->c, box_id(f, names[i]), repair, note, &s), OK);
	assert_int_equal(index_core_fsck_totals(f->c, repair, note, &s), OK);
	while (index_core_background(f->c))
		;
	return s;
}

static void
fill(struct fixture *f)
{
	struct index_core_limits limits = {.bytes = 100000, .messages = 1000};
	uint32_t id;

	index_core_set_limits(f->c, &limits);
	assert_int_equal(index_core_create(f->c, STR("Box"), 0, &id), OK);
	assert_int_equal(index_core_subscribe(f->c, STR("Box"), 1), OK);
	for (int i = 0; i < MESSAGES; i++)
		append_dir(f, "Box", ".Box");
	assert_int_equal(store(f, id, 2, 4, INDEX_STORE_ADD, INDEX_SEEN, "letter"), OK);
	for (int i = 0; i < 40; i++) {
		char word[32];

		snprintf(word, sizeof(word), "word-%d", i);
		assert_int_equal(store(f, id, 3, 3, INDEX_STORE_ADD, 0, word), OK);
	}
	while (index_core_background(f->c))
		;
}

/* Flags, keywords and number of all messages, whatever their UIDs. */
static char *
state_of(struct fixture *f)
{
	uint32_t id = box_id(f, "Box");
	struct buf all = {0};

	for (uint32_t uid = 1; uid < 20; uid++) {
		struct peek p = peek(f, id, uid);

		if (p.found)
			continue;
		buf_printf(&all, "%u %llx %llx\n", p.m.r.flags,
			(unsigned long long)p.m.r.keywords.bits[0],
			(unsigned long long)p.m.r.keywords.bits[1]);
	}
	return buf_steal(&all);
}

static void
one_damage(struct fixture *f, size_t i)
{
	struct edit ed = {.f = f, .mailbox = box_id(f, "Box")};
	const char *word = damages[i].check;
	char *before, *after;
	struct seen s;

	if (strcmp(word, "files") == 0) {
		/* The index knows the directory's time, as one that is not fresh any more. */
		age(f, ".Box/cur");
		assert_int_equal(core_scan(f->c, ed.mailbox, 1), OK);
	}
	before = state_of(f);
	if (damages[i].edit)
		assert_int_equal(core_run(f->c, damages[i].edit, &ed), OK);
	else
		run("cd %s && %s", f->maildir, damages[i].command);
	print_message("%zu %s %s\n", i, word, damages[i].command ? damages[i].command : "");
	s = check(f, 0, word);
	if (strcmp(word, "pending") != 0) {
		assert_true(s.found > 0);
		assert_int_equal(s.mended, 0);
	}
	s = check(f, 1, word);
	if (strcmp(word, "pending") != 0) {
		assert_true(s.found > 0);
		assert_int_equal(s.mended, s.found);
	}
	s = check(f, 0, word);
	assert_int_equal(s.all, 0);
	check_counts(f, ed.mailbox);
	rebuild(f);
	s = check(f, 0, word);
	assert_int_equal(s.all, 0);
	after = state_of(f);
	if (strcmp(word, "files") != 0 && !damages[i].quiet)
		assert_string_equal(before, after);
	assert_int_equal(peek(f, box_id(f, "Box"), 0).box.r.messages, MESSAGES);
	free(before);
	free(after);
}

static void
test_damages(void **state)
{
	for (size_t i = 0; i < DAMAGES; i++) {
		core_user_setup(state);
		fill(*state);
		one_damage(*state, i);
		core_user_teardown(state);
	}
}

static void
test_clean(void **state)
{
	struct seen s = {0};

	core_user_setup(state);
	fill(*state);
	s = check(*state, 0, "");
	assert_int_equal(s.all, 0);
	core_user_teardown(state);
}

/* An index that ends the process does so once. */
static void
test_fatal_index(void **state)
{
	struct fixture *f;
	int status;
	pid_t pid;

	core_user_setup(state);
	f = *state;
	fill(f);
	pid = fork();
	if (pid == 0) {
		/* cmocka has a handler of its own. */
		signal(SIGBUS, SIG_DFL);
		index_core_damage_init();
		core_damage_watch(f->c->damage_path);
		/* A fault happens again when the handler comes back. */
		raise(SIGBUS);
		raise(SIGBUS);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	run("test -e %s/damaged", f->index_dir);
	index_core_close(&f->c, 1);
	reopen(f);
	run("test ! -e %s/damaged", f->index_dir);
	assert_int_equal(peek(f, box_id(f, "Box"), 0).box.r.messages, MESSAGES);
	core_user_teardown(state);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clean),
		cmocka_unit_test(test_damages),
		cmocka_unit_test(test_fatal_index),
	};

	log_init("test", LOGL_ERROR);
	return cmocka_run_group_tests_name("fsck", tests, NULL, NULL);
}
