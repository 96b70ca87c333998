/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/log.h"
#include "mta-lite/forward.h"
#include "mta-lite/forward_path.h"
#include "mta-lite/list_file.h"

/* The .forward of a user: how its file is named, read and handed on. */

static void
paths(void **state)
{
	static const struct {
		const char *pattern;
		enum err e;
		const char *path;
	} cases[] = {
		{"$home/.forward", OK, "/home/a/.forward"},
		{"${home}/.forward${recipient_delimiter}${extension}", OK, "/home/a/.forward+ext"},
		{"$(home)/$(user)", OK, "/home/a/alice"},
		{"/var/$domain/$local", OK, "/var/here.test/alice+ext"},
		{"/x/$recipient", OK, "/x/alice+ext@here.test"},
		{"/x${extension?/y$extension}", OK, "/x/yext"},
		{"/x${extension:/none}", OK, "/x"},
		{"/x${shell:/none${user?-$user}}", OK, "/x/none-alice"},
		{"/x${shell?/some}", OK, "/x"},
		{"/a$$b", OK, "/a$b"},
		{"/x/$shell", E_NOTFOUND, NULL},
		{"/x/$nothing", E_PARSE, NULL},
		{"/x/${home", E_PARSE, NULL},
		{"/x/${home!}", E_PARSE, NULL},
		{"/x/${}", E_PARSE, NULL},
		{"/x/$", E_PARSE, NULL},
		{"/x${user?${user?${user?${user?${user?${user?${user?${user?${user?${user?y}}}}}}}}}}",
			E_PARSE, NULL},
	};
	struct forward_names n = {0};
	size_t i;
	(void)state;

	forward_names_set(&n, STR("alice+ext@here.test"), "+");
	n.home = STR("/home/a");
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf out = {0};

		assert_int_equal(
			forward_path_expand(str_of(cases[i].pattern), &n, &out), cases[i].e);
		if (cases[i].path)
			assert_string_equal(buf_cstr(&out), cases[i].path);
		buf_free(&out);
	}
}

static void
names(void **state)
{
	static const struct {
		const char *address, *delimiter, *user, *extension;
	} cases[] = {
		{"alice@h", "+", "alice", ""},
		{"alice+a+b@h", "+", "alice", "a+b"},
		{"alice+@h", "+", "alice", ""},
		{"alice+a@h", "", "alice+a", ""},
		/* The sender does not choose where a file is looked for. */
		{"alice+../../x@h", "+", "alice", ""},
	};
	size_t i;
	(void)state;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct forward_names n = {0};

		forward_names_set(&n, str_of(cases[i].address), cases[i].delimiter);
		assert_true(str_is(n.user, cases[i].user));
		assert_true(str_is(n.extension, cases[i].extension));
		assert_int_equal(n.delimiter.len, n.extension.len > 0);
		assert_true(str_is(n.domain, "h"));
	}
}

static void
frames(void **state)
{
	struct forward f = {.state = FORWARD_FOUND}, got;
	struct alias_item item = {.kind = ALIAS_COMMAND};
	struct buf body = {0};
	size_t i;
	(void)state;

	buf_add_cstr(&item.text, "/bin/prog");
	forward_add(&f, &item, "/home/a/.forward:1")->included = 1;
	item.kind = ALIAS_ADDRESS;
	item.exact = 1;
	(void)forward_add(&f, &item, "/home/a/.forward:2");
	forward_put(&body, &f);
	assert_int_equal(forward_get(buf_str(&body), &got), OK);
	assert_int_equal(got.state, FORWARD_FOUND);
	assert_int_equal(got.count, 2);
	assert_int_equal(got.items[0].item.kind, ALIAS_COMMAND);
	assert_string_equal(forward_word(&got.items[0]), "include");
	assert_string_equal(forward_word(&got.items[1]), "forward");
	assert_true(got.items[1].item.exact);
	assert_string_equal(buf_cstr(&got.items[0].item.text), "/bin/prog");
	assert_string_equal(got.items[1].where, "/home/a/.forward:2");
	forward_free(&got);
	for (i = 0; i < body.len; i++) {
		assert_int_equal(forward_get(str_make(body.p, i), &got), E_PROTO);
		forward_free(&got);
	}
	forward_free(&f);
	buf_free(&item.text);
	buf_free(&body);
}

static int
is_mine(const void *arg, uid_t owner)
{
	return *(const int *)arg && owner == geteuid();
}

static void
files(void **state)
{
	char path[] = "/tmp/roost-list-XXXXXX", other[64];
	int trusted = 1, fd = mkstemp(path);
	const struct list_file_rules rules = {is_mine, &trusted, "not mine"};
	struct list_file_lines lines = {0};
	struct buf text = {0};
	const char *problem;
	struct str list;
	(void)state;

	assert_true(dprintf(fd, "# who\n\n a, b\nc") > 0);
	close(fd);
	assert_int_equal(list_file_read(path, &rules, &text, &problem), OK);
	lines.rest = buf_str(&text);
	assert_true(list_file_next(&lines, &list));
	assert_true(str_is(list, "a, b"));
	assert_int_equal(lines.line, 3);
	assert_true(list_file_next(&lines, &list));
	assert_true(str_is(list, "c"));
	assert_false(list_file_next(&lines, &list));
	trusted = 0;
	assert_int_equal(list_file_read(path, &rules, &text, &problem), E_ACCESS);
	assert_string_equal(problem, "not mine");
	trusted = 1;
	assert_int_equal(chmod(path, 0660), 0);
	assert_int_equal(list_file_read(path, &rules, &text, &problem), E_ACCESS);
	assert_string_equal(problem, "others than its owner may write it");
	assert_int_equal(chmod(path, 0600), 0);
	(void)snprintf(other, sizeof(other), "%s.link", path);
	assert_int_equal(symlink(path, other), 0);
	assert_int_equal(list_file_read(other, &rules, &text, &problem), E_ACCESS);
	assert_string_equal(problem, "it is a symbolic link");
	unlink(other);
	assert_int_equal(list_file_read(other, &rules, &text, &problem), E_NOTFOUND);
	assert_int_equal(mkfifo(other, 0600), 0);
	assert_int_equal(list_file_read(other, &rules, &text, &problem), E_ACCESS);
	assert_string_equal(problem, "it is no regular file");
	unlink(other);
	unlink(path);
	buf_free(&text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths),
		cmocka_unit_test(names),
		cmocka_unit_test(frames),
		cmocka_unit_test(files),
	};

	log_init("test", LOGL_ERROR + 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
