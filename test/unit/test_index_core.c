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

#include "index/core_expunged.h"
#include "index/core_private.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "index_core_user.h"

static void
test_new_user(void **state)
{
	struct fixture *f = *state;
	struct peek p = peek(f, box_id(f, "Sent"), 0);

	assert_int_equal(p.box.r.special_use, INDEX_USE_SENT);
	assert_string_equal(p.box.dir, ".Sent");
	assert_int_equal(p.box.r.uidnext, 1);
	assert_int_equal(count_files(f, ".Sent/cur"), 0);
	p = peek(f, box_id(f, "inbox"), 0);
	assert_string_equal(p.box.name, "INBOX");
	run("grep -qx Archive %s/subscriptions", f->maildir);
	run("grep -qx 'trash Trash' %s/roost-special-use", f->maildir);
	/* The second time nothing is made again. */
	assert_int_equal(index_core_delete(f->c, STR("Trash")), OK);
	rebuild(f);
	uint32_t id;
	assert_int_equal(index_core_lookup(f->c, STR("Trash"), &id), E_NOTFOUND);
}

static void
test_append(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX");
	struct peek p;

	assert_int_equal(append(f, "INBOX", 0, NULL), 1);
	assert_int_equal(append(f, "INBOX", INDEX_SEEN | INDEX_FLAGGED, NULL), 2);
	assert_int_equal(f->last_changed, inbox);
	p = peek(f, inbox, 1);
	assert_int_equal(p.m.r.in_new, 1);
	assert_int_equal(p.m.r.disk_size, 20);
	assert_non_null(strstr(p.m.name, ",S=20,W=23,U=1"));
	p = peek(f, inbox, 2);
	assert_int_equal(p.m.r.in_new, 0);
	assert_non_null(strstr(p.m.name, ",U=2:2,FS"));
	assert_int_equal(p.box.r.messages, 2);
	assert_int_equal(p.box.r.unseen, 1);
	assert_int_equal(p.box.r.uidnext, 3);
	assert_int_equal(count_files(f, "tmp"), 0);
	check_counts(f, inbox);
}

static void
test_append_bad_names(void **state)
{
	static const char *const names[] = {"", "../cur/x", "a/b", ".hidden", "no\nsuch"};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct index_core_append m = {.tmp_name = str_of(names[i])};
		uint32_t v, uid;
		uint64_t modseq;

		assert_int_equal(
			index_core_append(f->c, box_id(f, "INBOX"), &m, 1, &v, &modseq, &uid),
			E_RANGE);
	}
	struct index_core_append missing = {.tmp_name = STR("missing")};
	uint32_t v, uid;
	uint64_t modseq;

	assert_int_equal(
		index_core_append(f->c, box_id(f, "INBOX"), &missing, 1, &v, &modseq, &uid),
		E_NOTFOUND);
	run("ln -s /etc/passwd %s/tmp/missing", f->maildir);
	assert_int_equal(
		index_core_append(f->c, box_id(f, "INBOX"), &missing, 1, &v, &modseq, &uid),
		E_RANGE);
}

static void
test_append_all_or_none(void **state)
{
	struct fixture *f = *state;
	struct index_core_append m[2] = {{.tmp_name = STR("one")}, {.tmp_name = STR("two")}};
	uint32_t v, uid;
	uint64_t modseq;

	write_file(f, "tmp/one", "x\n");
	assert_int_equal(
		index_core_append(f->c, box_id(f, "INBOX"), m, 2, &v, &modseq, &uid), E_NOTFOUND);
	assert_int_equal(count_files(f, "tmp"), 1);
	assert_int_equal(count_files(f, "new"), 0);
	write_file(f, "tmp/two", "y\n");
	assert_int_equal(index_core_append(f->c, box_id(f, "INBOX"), m, 2, &v, &modseq, &uid), OK);
	assert_int_equal(uid, 1);
	assert_int_equal(peek(f, box_id(f, "INBOX"), 2).found, OK);
}

static void
test_store_and_names(void **state)
{
	static const char *const two[] = {"$Forwarded", "Work", NULL};
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX");
	uint64_t before;
	struct peek p;

	append(f, "INBOX", 0, NULL);
	append(f, "INBOX", 0, two);
	before = peek(f, inbox, 1).m.r.modseq;
	assert_int_equal(store(f, inbox, 1, 2, INDEX_STORE_ADD, INDEX_SEEN, "Work"), OK);
	p = peek(f, inbox, 1);
	assert_true(p.m.r.modseq > before);
	assert_int_equal(p.m.r.flags, INDEX_SEEN);
	assert_true(has_keyword(&p, "Work"));
	assert_int_equal(p.m.r.in_new, 1);
	assert_int_equal(index_core_pending(f->c), 2);
	while (index_core_background(f->c))
		;
	assert_int_equal(index_core_pending(f->c), 0);
	p = peek(f, inbox, 1);
	assert_int_equal(p.m.r.in_new, 0);
	assert_non_null(strstr(p.m.name, ",U=1:2,Sb"));
	assert_int_equal(count_files(f, "cur"), 2);
	run("grep -qx '0 $Forwarded' %s/roost-keywords", f->maildir);
	/* Nothing changed: no new modseq. */
	before = p.m.r.modseq;
	assert_int_equal(store(f, inbox, 1, 1, INDEX_STORE_ADD, INDEX_SEEN, NULL), OK);
	assert_int_equal(peek(f, inbox, 1).m.r.modseq, before);
	assert_int_equal(store(f, inbox, 1, 1, INDEX_STORE_REPLACE, INDEX_DRAFT, NULL), OK);
	p = peek(f, inbox, 1);
	assert_int_equal(p.m.r.flags, INDEX_DRAFT);
	assert_int_equal(p.m.r.keywords.bits[0], 0);
	assert_int_equal(store(f, inbox, 1, 1, INDEX_STORE_ADD, 0, "bad word"), E_RANGE);
	check_counts(f, inbox);
}

static void
test_unchanged_since(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX");
	struct numset uids = set(1, 2), conflicts = {0};
	struct index_core_store s = {.uids = &uids, .flags = INDEX_SEEN};
	uint64_t modseq;

	append(f, "INBOX", 0, NULL);
	append(f, "INBOX", 0, NULL);
	s.unchanged_since = peek(f, inbox, 2).m.r.modseq;
	assert_int_equal(store(f, inbox, 1, 1, INDEX_STORE_ADD, INDEX_FLAGGED, NULL), OK);
	assert_int_equal(index_core_store(f->c, inbox, &s, &conflicts, &modseq), OK);
	assert_int_equal(numset_size(&conflicts), 1);
	assert_true(numset_contains(&conflicts, 1));
	assert_int_equal(peek(f, inbox, 1).m.r.flags, INDEX_FLAGGED);
	assert_int_equal(peek(f, inbox, 2).m.r.flags, INDEX_SEEN);
	numset_free(&uids);
	numset_free(&conflicts);
}

static void
test_expunge(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX");
	struct numset gone = {0}, one = set(1, 1);
	uint64_t modseq;

	for (int i = 0; i < 4; i++)
		append(f, "INBOX", i == 2 ? INDEX_DELETED : 0, NULL);
	assert_int_equal(index_core_expunge(f->c, inbox, NULL, 0, &gone, &modseq), OK);
	assert_int_equal(numset_size(&gone), 1);
	assert_true(numset_contains(&gone, 3));
	assert_int_equal(index_core_expunge(f->c, inbox, &one, 0, &gone, &modseq), OK);
	assert_int_equal(numset_size(&gone), 0);
	assert_int_equal(index_core_expunge(f->c, inbox, &one, 1, &gone, &modseq), OK);
	assert_int_equal(numset_size(&gone), 1);
	assert_int_equal(peek(f, inbox, 1).found, E_NOTFOUND);
	assert_int_equal(peek(f, inbox, 0).box.r.vanished, 2);
	assert_int_equal(count_files(f, "new") + count_files(f, "cur"), 2);
	/* A UID does not come back. */
	assert_int_equal(append(f, "INBOX", 0, NULL), 5);
	check_counts(f, inbox);
	numset_free(&gone);
	numset_free(&one);
}

static void
test_many_keywords(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX");
	char word[32];
	struct peek p;

	append(f, "INBOX", 0, NULL);
	append(f, "INBOX", 0, NULL);
	for (int i = 0; i < INDEX_KEYWORDS_MAX; i++) {
		snprintf(word, sizeof(word), "word-%d", i);
		assert_int_equal(store(f, inbox, 1, 1, INDEX_STORE_ADD, 0, word), OK);
	}
	assert_int_equal(store(f, inbox, 2, 2, INDEX_STORE_ADD, 0, "word-127"), OK);
	assert_int_equal(store(f, inbox, 1, 1, INDEX_STORE_ADD, 0, "one-more"), E_TOOBIG);
	rebuild(f);
	p = peek(f, inbox, 1);
	for (int i = 0; i < INDEX_KEYWORDS_MAX; i++) {
		snprintf(word, sizeof(word), "word-%d", i);
		assert_true(has_keyword(&p, word));
	}
	p = peek(f, inbox, 2);
	assert_true(has_keyword(&p, "word-127"));
	assert_false(has_keyword(&p, "word-3"));
	assert_false(has_keyword(&p, "word-126"));
}

/* A table that is full of what nobody uses any more has room again. */
static void
test_keywords_are_reclaimed(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX");
	struct peek p;
	char word[32];

	f->o.fsync = 1;
	rebuild(f);
	append(f, "INBOX", 0, NULL);
	append(f, "INBOX", 0, NULL);
	for (int i = 0; i < INDEX_KEYWORDS_MAX; i++) {
		snprintf(word, sizeof(word), "word-%d", i);
		assert_int_equal(store(f, inbox, 1, 1, INDEX_STORE_ADD, 0, word), OK);
	}
	while (index_core_background(f->c))
		;
	assert_int_equal(store(f, inbox, 1, 1, INDEX_STORE_REMOVE, 0, "word-5"), OK);
	assert_int_equal(store(f, inbox, 1, 1, INDEX_STORE_REMOVE, 0, "word-77"), OK);
	/* The letter of word-5 is in the name of the file still: its bit is not free. */
	assert_int_equal(store(f, inbox, 2, 2, INDEX_STORE_ADD, 0, "new-1"), OK);
	p = peek(f, inbox, 2);
	assert_string_equal(p.names[77], "new-1");
	assert_string_equal(p.names[5], "word-5");
	assert_int_equal(store(f, inbox, 2, 2, INDEX_STORE_ADD, 0, "new-2"), E_TOOBIG);
	while (index_core_background(f->c))
		;
	assert_int_equal(store(f, inbox, 2, 2, INDEX_STORE_ADD, 0, "new-2"), OK);
	assert_int_equal(store(f, inbox, 2, 2, INDEX_STORE_ADD, 0, "new-3"), E_TOOBIG);
	rebuild(f);
	p = peek(f, inbox, 2);
	assert_true(has_keyword(&p, "new-1"));
	assert_true(has_keyword(&p, "new-2"));
	assert_false(has_keyword(&p, "word-5"));
	p = peek(f, inbox, 1);
	for (int i = 0; i < INDEX_KEYWORDS_MAX; i++) {
		snprintf(word, sizeof(word), "word-%d", i);
		assert_int_equal(has_keyword(&p, word), i != 5 && i != 77);
	}
	assert_false(has_keyword(&p, "new-2"));
}

static void
count_expunged(const struct index_expunged *x, void *arg)
{
	(void)x;
	++*(unsigned *)arg;
}

/*
 * The process dies between the rename of an expunged file and the index: the message is gone, and
 * can be put back with all it had, also when the index was made anew in between.
 */
static void
test_expunge_is_cut_short(void **state)
{
	struct index_undelete what = {.max = 10};
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX");
	struct str words[INDEX_KEYWORDS_MAX];
	struct core_keep keep;
	unsigned told = 0;
	struct peek p;
	int fd, more;

	f->o.expunge_keep_s = 1000;
	rebuild(f);
	for (int i = 0; i < 3; i++)
		append(f, "INBOX", INDEX_FLAGGED, (const char *const[]){"Work", "Later", NULL});
	p = peek(f, inbox, 2);
	assert_int_equal(core_keep_open(f->c, "", &keep), OK);
	assert_int_equal(core_dir_open(f->c, "", CORE_CUR, &fd), OK);
	assert_int_equal(
		core_keep_file(&keep, fd, p.m.name, str_make(p.m.name, p.m.r.base_len), 2,
			p.m.r.flags, words, core_keywords_words(&p.m.r.keywords, p.names, words)),
		OK);
	core_keep_close(&keep);
	io_close(&fd);
	index_core_close(&f->c, 0);
	reopen(f);
	assert_int_equal(index_core_refresh(f->c, inbox), OK);
	assert_int_equal(peek(f, inbox, 2).found, E_NOTFOUND);
	rebuild(f);
	assert_int_equal(index_core_expunged_each(f->c, &what, count_expunged, &told, &more), OK);
	assert_int_equal(told, 1);
	told = 0;
	assert_int_equal(index_core_undelete(f->c, &what, count_expunged, &told, &more), OK);
	assert_int_equal(told, 1);
	assert_int_equal(more, 0);
	inbox = box_id(f, "INBOX");
	p = peek(f, inbox, peek(f, inbox, 0).box.r.uidnext - 1);
	assert_int_equal(p.m.r.flags, INDEX_FLAGGED);
	assert_true(has_keyword(&p, "Work") && has_keyword(&p, "Later"));
	assert_int_equal(p.box.r.messages, 3);
	/* Once only. */
	told = 0;
	assert_int_equal(index_core_undelete(f->c, &what, count_expunged, &told, &more), OK);
	assert_int_equal(told, 0);
	check_counts(f, inbox);
}

/* No more than max in one go; the rest the next time. */
static void
test_undelete_in_pieces(void **state)
{
	struct index_undelete what = {.max = 4};
	struct fixture *f = *state;
	struct numset all = set(1, UINT32_MAX), gone = {0};
	uint32_t inbox = box_id(f, "INBOX");
	unsigned told = 0, rounds = 0;
	uint64_t modseq;
	int more = 1;

	f->o.expunge_keep_s = 1000;
	rebuild(f);
	for (int i = 0; i < 10; i++)
		append(f, "INBOX", 0, NULL);
	assert_int_equal(index_core_expunge(f->c, inbox, &all, 1, &gone, &modseq), OK);
	assert_int_equal(numset_size(&gone), 10);
	assert_int_equal(peek(f, inbox, 0).box.r.messages, 0);
	assert_int_equal(f->c->state.bytes, 0);
	for (; more && rounds < 5; rounds++)
		assert_int_equal(
			index_core_undelete(f->c, &what, count_expunged, &told, &more), OK);
	assert_int_equal(told, 10);
	assert_int_equal(rounds, 3);
	assert_int_equal(peek(f, inbox, 0).box.r.messages, 10);
	assert_int_equal(index_core_purge(f->c, INT64_MAX), 0);
	assert_int_equal(count_files(f, "tmp"), 0);
	numset_free(&all);
	numset_free(&gone);
}

static void
test_copy_and_move(void **state)
{
	static const char *const words[] = {"Work", NULL};
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX"), sent = box_id(f, "Sent"), uidvalidity;
	struct index_core_pair *pairs;
	struct numset uids = set(1, UINT32_MAX);
	struct peek p;
	size_t n;

	append(f, "Sent", 0, (const char *const[]){"Other", NULL});
	append(f, "INBOX", INDEX_FLAGGED, words);
	append(f, "INBOX", 0, NULL);
	assert_int_equal(
		index_core_copy(f->c, inbox, sent, &uids, 0, &uidvalidity, &pairs, &n), OK);
	assert_int_equal(n, 2);
	assert_int_equal(pairs[0].src, 1);
	assert_int_equal(pairs[0].dst, 2);
	free(pairs);
	p = peek(f, sent, 2);
	assert_int_equal(uidvalidity, p.box.r.uidvalidity);
	assert_int_equal(p.m.r.flags, INDEX_FLAGGED);
	assert_true(has_keyword(&p, "Work"));
	assert_false(has_keyword(&p, "Other"));
	assert_int_equal(peek(f, inbox, 0).box.r.messages, 2);
	/* Without what may not be set there: nor is it in the name of the file. */
	assert_int_equal(index_core_copy(f->c, inbox, sent, &uids,
				 INDEX_COPY_WITHOUT(INDEX_FLAGGED | INDEX_COPY_KEYWORDS),
				 &uidvalidity, &pairs, &n),
		OK);
	assert_int_equal(n, 2);
	p = peek(f, sent, pairs[0].dst);
	assert_int_equal(p.m.r.flags, 0);
	assert_false(has_keyword(&p, "Work"));
	assert_true(!strstr(p.m.name, ":2,") || !strchr(strstr(p.m.name, ":2,"), 'F'));
	assert_int_equal(peek(f, inbox, 1).m.r.flags, INDEX_FLAGGED);
	free(pairs);
	/* Into itself. */
	assert_int_equal(
		index_core_copy(f->c, inbox, inbox, &uids, 0, &uidvalidity, &pairs, &n), OK);
	assert_int_equal(n, 2);
	assert_int_equal(pairs[1].dst, 4);
	free(pairs);
	assert_int_equal(
		index_core_copy(f->c, inbox, sent, &uids, 1, &uidvalidity, &pairs, &n), OK);
	assert_int_equal(n, 4);
	free(pairs);
	p = peek(f, inbox, 0);
	assert_int_equal(p.box.r.messages, 0);
	assert_int_equal(p.box.r.vanished, 4);
	check_counts(f, sent);
	assert_int_equal(peek(f, sent, 0).box.r.messages, 9);
	assert_int_equal(count_files(f, "cur") + count_files(f, "new"), 0);
	assert_int_equal(index_core_copy(f->c, inbox, 12345, &uids, 0, &uidvalidity, &pairs, &n),
		E_NOTFOUND);
	numset_free(&uids);
	rebuild(f);
	assert_int_equal(peek(f, box_id(f, "Sent"), 0).box.r.messages, 9);
}

static void
test_folders(void **state)
{
	static const struct {
		const char *name;
		enum err want;
	} cases[] = {
		{"A/B/C", OK},
		{"A", E_EXISTS},
		{"A/B/C", E_EXISTS},
		{"inbox", E_EXISTS},
		{"a.b", E_RANGE},
		{"../x", E_RANGE},
		{"/x", E_RANGE},
		{"x/", E_RANGE},
		{"", E_RANGE},
		{"x//y", E_RANGE},
		{"Entw\xc3\xbcrfe", OK},
		{"bad\xff", E_RANGE},
		{"tab\t", E_RANGE},
		{"Inbox/sub", OK},
		{"a&b", OK},
		{"~%*", OK},
	};
	struct fixture *f = *state;
	uint32_t id, uidvalidity;
	char name[300];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(
			index_core_create(f->c, str_of(cases[i].name), 0, &id), cases[i].want);
	run("test -d '%s/.A.B' -a -d '%s/.Entw&APw-rfe/cur' -a -d '%s/.INBOX.sub'", f->maildir,
		f->maildir, f->maildir);
	memset(name, 'n', sizeof(name));
	assert_int_equal(
		index_core_create(f->c, str_make(name, INDEX_MAILBOX_NAME_MAX + 1), 0, &id),
		E_TOOBIG);
	assert_int_equal(index_core_delete(f->c, STR("A")), E_EXISTS);
	assert_int_equal(index_core_delete(f->c, STR("INBOX")), E_ACCESS);
	assert_int_equal(index_core_delete(f->c, STR("none")), E_NOTFOUND);
	id = box_id(f, "A/B/C");
	uidvalidity = peek(f, id, 0).box.r.uidvalidity;
	append_dir(f, "A/B/C", ".A.B.C");
	assert_int_equal(index_core_delete(f->c, STR("A/B/C")), OK);
	assert_int_equal(index_core_lookup(f->c, STR("A/B/C"), &id), E_NOTFOUND);
	while (index_core_background(f->c))
		;
	run("test -z \"$(ls -a %s | grep roost-deleted)\"", f->maildir);
	assert_int_equal(index_core_create(f->c, STR("A/B/C"), 0, &id), OK);
	assert_true(peek(f, id, 0).box.r.uidvalidity > uidvalidity);
}

static void
test_rename(void **state)
{
	struct fixture *f = *state;
	uint32_t id, child;

	assert_int_equal(index_core_create(f->c, STR("A/B"), INDEX_USE_FLAGGED, &child), OK);
	append_dir(f, "A/B", ".A.B");
	id = box_id(f, "A");
	assert_int_equal(index_core_rename(f->c, STR("A"), STR("A/B/C")), E_RANGE);
	assert_int_equal(index_core_rename(f->c, STR("A"), STR("Sent")), E_EXISTS);
	assert_int_equal(index_core_rename(f->c, STR("none"), STR("X")), E_NOTFOUND);
	assert_int_equal(index_core_rename(f->c, STR("A"), STR("X/Y")), OK);
	assert_int_equal(box_id(f, "X/Y"), id);
	assert_int_equal(box_id(f, "X/Y/B"), child);
	assert_int_equal(peek(f, child, 1).found, OK);
	run("grep -qx 'flagged X.Y.B' %s/roost-special-use", f->maildir);
	assert_int_equal(count_files(f, ".X.Y.B/new"), 1);
	append_dir(f, "X/Y/B", ".X.Y.B");
	/* INBOX stays. */
	append(f, "INBOX", 0, NULL);
	assert_int_equal(index_core_rename(f->c, STR("INBOX"), STR("INBOX/old")), OK);
	assert_int_equal(peek(f, box_id(f, "INBOX"), 0).box.r.messages, 0);
	assert_int_equal(peek(f, box_id(f, "INBOX/old"), 0).box.r.messages, 1);
	rebuild(f);
	assert_int_equal(peek(f, box_id(f, "X/Y/B"), 0).box.r.special_use, INDEX_USE_FLAGGED);
	assert_int_equal(peek(f, box_id(f, "INBOX/old"), 0).box.r.messages, 1);
}

static void
test_quota(void **state)
{
	struct fixture *f = *state;
	struct index_core_pair *pairs;
	struct numset uids = set(1, 1);
	struct index_quota q;
	uint32_t uid, v;
	size_t n;

	index_core_set_limits(f->c, &(struct index_core_limits){.bytes = 45, .messages = 0});
	append(f, "INBOX", 0, NULL);
	append(f, "INBOX", 0, NULL);
	assert_int_equal(try_append(f, box_id(f, "INBOX"), "", 0, NULL, &uid), E_QUOTA);
	assert_int_equal(index_core_copy(f->c, box_id(f, "INBOX"), box_id(f, "Sent"), &uids, 0, &v,
				 &pairs, &n),
		E_QUOTA);
	assert_int_equal(index_core_copy(f->c, box_id(f, "INBOX"), box_id(f, "Sent"), &uids, 1, &v,
				 &pairs, &n),
		OK);
	free(pairs);
	index_core_quota(f->c, &q);
	assert_int_equal(q.bytes, 40);
	assert_int_equal(q.messages, 2);
	while (index_core_background(f->c))
		;
	run("grep -qx 45S %s/maildirsize", f->maildir);
	run("grep -qx '40 2' %s/maildirsize", f->maildir);
	index_core_set_limits(f->c, &(struct index_core_limits){.bytes = 0, .messages = 2});
	assert_int_equal(try_append(f, box_id(f, "INBOX"), "", 0, NULL, &uid), E_QUOTA);
	index_core_set_limits(f->c, &(struct index_core_limits){.bytes = 0, .messages = 3});
	assert_int_equal(try_append(f, box_id(f, "INBOX"), "", 0, NULL, &uid), OK);
	while (index_core_background(f->c))
		;
	run("grep -qx 3C %s/maildirsize", f->maildir);
	numset_free(&uids);
	rebuild(f);
	index_core_quota(f->c, &q);
	assert_int_equal(q.bytes, 60);
}

static void
test_recent(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX"), first;

	append(f, "INBOX", 0, NULL);
	append(f, "INBOX", 0, NULL);
	assert_int_equal(index_core_claim_recent(f->c, inbox, &first), OK);
	assert_int_equal(first, 1);
	assert_int_equal(index_core_claim_recent(f->c, inbox, &first), OK);
	assert_int_equal(first, 3);
	while (index_core_background(f->c))
		;
	assert_int_equal(count_files(f, "cur"), 2);
	assert_int_equal(append(f, "INBOX", 0, NULL), 3);
	assert_int_equal(index_core_claim_recent(f->c, inbox, &first), OK);
	assert_int_equal(first, 3);
}

static void
test_locate(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX");
	struct buf path = {0};
	struct peek p;

	append(f, "INBOX", 0, NULL);
	p = peek(f, inbox, 1);
	run("mv '%s/new/%s' '%s/cur/%s:2,T'", f->maildir, p.m.name, f->maildir, p.m.name);
	assert_int_equal(index_core_locate(f->c, inbox, 1, &path), OK);
	assert_true(str_starts_i(buf_str(&path), "cur/"));
	assert_int_equal(peek(f, inbox, 1).m.r.flags, INDEX_DELETED);
	assert_int_equal(index_core_locate(f->c, inbox, 7, &path), E_NOTFOUND);
	buf_free(&path);
}

static void
test_folder_renamed_by_another(void **state)
{
	struct fixture *f = *state;
	uint32_t id, again;
	uint64_t modseq;

	assert_int_equal(index_core_create(f->c, STR("A/B"), INDEX_USE_SENT, &id), OK);
	append_dir(f, "A/B", ".A.B");
	assert_int_equal(store(f, id, 1, 1, INDEX_STORE_ADD, INDEX_FLAGGED, NULL), OK);
	modseq = peek(f, id, 1).m.r.modseq;
	run("mv %s/.A.B %s/.C", f->maildir, f->maildir);
	assert_int_equal(index_core_refresh_tree(f->c), OK);
	assert_int_equal(index_core_lookup(f->c, STR("A/B"), &again), E_NOTFOUND);
	assert_int_equal(index_core_lookup(f->c, STR("C"), &again), OK);
	assert_int_equal(again, id);
	assert_true(peek(f, id, 1).m.r.modseq == modseq);
	assert_int_equal(peek(f, id, 1).box.r.special_use, INDEX_USE_SENT);
	close_core(f);
	reopen(f);
	run("grep -q 'sent C' %s/roost-special-use", f->maildir);
	/* A copy is another mailbox. */
	run("cp -a %s/.C %s/.D", f->maildir, f->maildir);
	assert_int_equal(index_core_refresh(f->c, 0), OK);
	assert_int_equal(index_core_lookup(f->c, STR("D"), &again), OK);
	assert_true(again != id);
	check_counts(f, id);
	check_counts(f, again);
}

static void
test_map_grows(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX");
	size_t size = 300 * 1024;
	char *blob = mem_zalloc(size);

	for (uint32_t uid = 1; uid <= 10; uid++) {
		append(f, "INBOX", 0, NULL);
		assert_int_equal(index_core_cache_put(f->c, inbox, uid, str_make(blob, size)), OK);
	}
	assert_int_equal(index_core_cache_put(f->c, inbox, 99, str_make(blob, size)), E_NOTFOUND);
	free(blob);
	check_counts(f, inbox);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, core_user_setup, core_user_teardown)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_new_user),
		TEST(test_append),
		TEST(test_append_bad_names),
		TEST(test_append_all_or_none),
		TEST(test_store_and_names),
		TEST(test_unchanged_since),
		TEST(test_expunge),
		TEST(test_many_keywords),
		TEST(test_keywords_are_reclaimed),
		TEST(test_expunge_is_cut_short),
		TEST(test_undelete_in_pieces),
		TEST(test_copy_and_move),
		TEST(test_folders),
		TEST(test_rename),
		TEST(test_quota),
		TEST(test_recent),
		TEST(test_locate),
		TEST(test_folder_renamed_by_another),
		TEST(test_map_grows),
	};

	log_init("test", LOGL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
