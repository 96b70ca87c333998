/* SPDX-License-Identifier: MIT */
#include "imap/pattern.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "imap/tree.h"
#include "index/index_client.h"
#include "lib/buf.h"

/* What the tree asks of the index: here all mailboxes are the user's own. */
int
index_mailbox_is_shared(uint32_t mailbox)
{
	(void)mailbox;
	return 0;
}

enum err
index_guest_rights(struct index_user *u, uint32_t mailbox, const char **owner, unsigned *rights)
{
	(void)u;
	(void)mailbox;
	(void)owner;
	(void)rights;
	return E_NOTFOUND;
}

static int
match(const char *reference, const char *pattern, const char *name)
{
	struct imap_pattern *p = imap_pattern_create(str_of(reference), str_of(pattern));
	int matches = imap_pattern_match(p, str_of(name));

	imap_pattern_free(&p);
	assert_null(p);
	return matches;
}

static void
matches(void **state)
{
	static const struct {
		const char *reference, *pattern, *name;
		int want;
	} cases[] = {
		{"", "*", "a", 1},
		{"", "*", "a/b/c", 1},
		{"", "%", "a", 1},
		{"", "%", "a/b", 0},
		{"", "%/%", "a/b", 1},
		{"", "%/%", "a/b/c", 0},
		{"", "a/%", "a/b", 1},
		{"", "a/%", "a", 0},
		{"", "a*", "a", 1},
		{"", "a*", "a/b", 1},
		{"", "a%", "ab", 1},
		{"", "a%", "a/b", 0},
		{"", "*b", "a/b", 1},
		{"", "*b", "b", 1},
		{"", "*b", "ba", 0},
		{"", "%b*", "xb/y", 1},
		{"", "%b*", "x/b", 0},
		{"", "*a%c", "x/abc", 1},
		{"", "*a%c", "x/ab/c", 0},
		{"", "*a%c", "x/ab/ac", 1},
		{"", "*%", "a/b", 1},
		{"", "%*", "a/b", 1},
		{"", "%%", "a/b", 0},
		{"", "", "", 1},
		{"", "", "a", 0},
		{"", "%", "", 1},
		{"", "a", "A", 0},
		{"a/", "%", "a/b", 1},
		{"a/", "%", "b", 0},
		{"a", "b", "ab", 1},
		{"%", "/x", "y/x", 1},
		{"", "inbox", "INBOX", 1},
		{"", "InB%", "INBOX", 1},
		{"", "inbox/%", "INBOX/a", 1},
		{"", "inbox/a", "INBOX/A", 0},
		{"", "inboxes", "INBOXES", 0},
		{"", "x/inbox", "x/INBOX", 0},
		{"", "&AOQ-*", "&AOQ-/b", 1},
		{"", "*%*%*%*%*%*%*%*%*%*%z", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(
			match(cases[i].reference, cases[i].pattern, cases[i].name), cases[i].want);
}

/* What a search that goes back would never finish, over all words of the machine. */
static void
long_ones(void **state)
{
	struct buf pattern = BUF_INIT(0), name = BUF_INIT(0);

	(void)state;
	for (int i = 0; i < 480; i++)
		(void)buf_add_cstr(&name, "a");
	for (int i = 0; i < 480; i++)
		(void)buf_add_cstr(&pattern, "*a");
	assert_int_equal(match("", buf_cstr(&pattern), buf_cstr(&name)), 1);
	(void)buf_add_cstr(&pattern, "%a");
	assert_int_equal(match("", buf_cstr(&pattern), buf_cstr(&name)), 0);
	buf_reset(&pattern);
	for (int i = 0; i < 20000; i++)
		(void)buf_add_cstr(&pattern, "%*");
	assert_int_equal(match("", buf_cstr(&pattern), buf_cstr(&name)), 1);
	buf_reset(&pattern);
	for (int i = 0; i < 20000; i++)
		(void)buf_add_cstr(&pattern, "a%");
	assert_int_equal(match("", buf_cstr(&pattern), buf_cstr(&name)), 0);
	buf_free(&pattern);
	buf_free(&name);
}

static void
tree(void **state)
{
	static const struct {
		const char *name;
		int exists, has_children, below, unmatched;
	} want[] = {
		{"INBOX", 1, 0, 0, 0},
		{"a", 1, 1, 1, 1},
		{"a/b", 0, 1, 1, 1},
		{"a/b/c", 1, 0, 0, 0},
		{"a.x", 1, 0, 0, 0},
		{"s", 0, 0, 1, 1},
		{"s/t", 0, 0, 0, 0},
	};
	static const char *const names[] = {"a.x", "a/b/c", "INBOX", "a"};
	struct index_mailbox box = {.id = 1};
	struct imap_tree t = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		imap_tree_add(&t, str_of(names[i]), &box);
	imap_tree_add(&t, STR("s/t"), NULL);
	imap_tree_add(&t, STR("a/b/c"), NULL);
	imap_tree_finish(&t);
	assert_int_equal(t.n, sizeof(want) / sizeof(want[0]));
	for (size_t i = 0; i < t.n; i++) {
		t.v[i].selected = t.v[i].subscribed;
		t.v[i].matches = 0;
	}
	imap_tree_mark_parents(&t);
	for (size_t i = 0; i < t.n; i++) {
		assert_string_equal(t.v[i].name, want[i].name);
		assert_int_equal(t.v[i].exists, want[i].exists);
		assert_int_equal(t.v[i].has_children, want[i].has_children);
		assert_int_equal(t.v[i].selected_below, want[i].below);
		assert_int_equal(t.v[i].selected_unmatched_below, want[i].unmatched);
	}
	imap_tree_free(&t);
}

/* tree.c asks the index in one function that is not called here. */
enum err
index_mailbox_each(
	struct index_user *u, enum err (*cb)(const struct index_mailbox *m, void *arg), void *arg)
{
	(void)u;
	(void)cb;
	(void)arg;
	return OK;
}

enum err
index_subscription_each(struct index_user *u, enum err (*cb)(struct str name, void *arg), void *arg)
{
	(void)u;
	(void)cb;
	(void)arg;
	return OK;
}

enum err
index_refresh_tree(struct index_user *u)
{
	(void)u;
	return OK;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(matches),
		cmocka_unit_test(long_ones),
		cmocka_unit_test(tree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
