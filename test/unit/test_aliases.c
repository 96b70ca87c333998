/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/log.h"
#include "mta-lite/aliases.h"

/* Lists behind aliases, files of them, and how names are looked up. */

static void
items(void **state)
{
	static const struct {
		const char *list;
		int bad;
		const char *kinds; /* a letter for each good item */
		const char *texts[4];
	} cases[] = {
		{"alice", 0, "a", {"alice"}},
		{" alice , bob@x.test,, ", 0, "aa", {"alice", "bob@x.test"}},
		{"\"|/bin/prog a, b \\\"c\\\"\"", 0, "c", {"/bin/prog a, b \"c\""}},
		{"|\"/bin/prog a, b\", x", 0, "ca", {"/bin/prog a, b", "x"}},
		{"|/bin/prog", 0, "c", {"/bin/prog"}},
		{"\"|\\\"/bin/my prog\\\"\"", 0, "c", {"\"/bin/my prog\""}},
		{"/var/mail/x, \"/var/My Mail/\"", 0, "ff", {"/var/mail/x", "/var/My Mail/"}},
		{":include:/a/b, \":include:/c d\", :include: \"/e\"", 0, "iii",
			{"/a/b", "/c d", "/e"}},
		{"\\alice", 0, "e", {"alice"}},
		{"Alice <alice@x.test>, \"A, B\" <b@x.test>", 0, "aa",
			{"alice@x.test", "b@x.test"}},
		{"\"a b\"@x.test", 0, "a", {"\"a b\"@x.test"}},
		{"a b, c", 1, "a", {"c"}},
		{"\"unfinished, c", 1, "", {NULL}},
		{"|, \"|\", @x.test, x@, <>, :include:rel, a:b", 7, "", {NULL}},
		{"\"|prog \x01\"", 1, "", {NULL}},
		{"\\|prog, <|prog>, \\/etc/x, x </etc/x>, \\:include:/x", 5, "", {NULL}},
		{"\"", 1, "", {NULL}},
		{"\\", 0, "a", {"\\"}},
		{"\"x\\", 1, "", {NULL}},
	};
	size_t i;
	(void)state;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct str rest = str_of(cases[i].list);
		struct alias_item item = {0};
		const char *why;
		size_t n = 0;
		int bad = 0;
		enum err e;

		while ((e = alias_list_next(&rest, &item, &why)) != E_NOTFOUND) {
			if (e) {
				assert_non_null(why);
				bad++;
				continue;
			}
			assert_int_equal(cases[i].kinds[n], item.exact ? 'e' : "afci"[item.kind]);
			assert_string_equal(buf_cstr(&item.text), cases[i].texts[n]);
			n++;
		}
		assert_int_equal(n, strlen(cases[i].kinds));
		assert_int_equal(bad, cases[i].bad);
		buf_free(&item.text);
	}
}

static void
note(void *arg, unsigned line, const char *why)
{
	struct buf *out = arg;

	(void)why;
	buf_printf(out, "%u;", line);
}

static void
note_entry(void *arg, struct str name, struct str list, unsigned line)
{
	struct buf *out = arg;

	buf_printf(out, "%u %.*s=%.*s;", line, STR_ARG(name), STR_ARG(list));
}

static void
files(void **state)
{
	static const char text[] = "# a comment\n"
				   "one: a,\n"
				   "# in between\n"
				   "  b\n"
				   "no colon\n"
				   "x@y.test: a\n"
				   "\"two words\" : c\n"
				   ": a\n"
				   "empty:\n"
				   "\"open: a\n"
				   "bad: a b\n";
	struct buf out = {0};
	const struct alias_reader reader = {note_entry, note, &out};
	(void)state;

	alias_text_read(str_of(text), &reader);
	assert_string_equal(
		buf_cstr(&out), "2 one=a,  b;5;6;7 two words=c;8;9;9 empty=;10;11;11 bad=a b;");
	buf_free(&out);
}

static void
look_up(void **state)
{
	char path[] = "/tmp/roost-aliases-XXXXXX";
	struct config *conf = conf_defaults("/tmp");
	struct buf value = {0};
	struct aliases *a;
	struct maps *maps;
	char setting[64];
	int fd = mkstemp(path);
	(void)state;

	assert_true(fd >= 0);
	assert_true(dprintf(fd, "List: a\nowner-list: o\nplain: b\nplain+x: c\n\"a b\": d\n") > 0);
	close(fd);
	(void)snprintf(setting, sizeof(setting), "hash:%s", path);
	assert_int_equal(conf_set(conf, "alias_maps", setting, NULL), OK);
	assert_int_equal(conf_set(conf, "local_domains", "here.test localhost", NULL), OK);
	maps = maps_create(conf);
	assert_int_equal(aliases_open(conf, maps, &a), OK);
	assert_int_equal(aliases_find(a, STR("LIST@Here.Test"), &value), OK);
	assert_string_equal(buf_cstr(&value), "a");
	assert_int_equal(aliases_find(a, STR("list+ext@localhost"), &value), OK);
	assert_int_equal(aliases_find(a, STR("plain+x@localhost"), &value), OK);
	assert_string_equal(buf_cstr(&value), "c");
	assert_int_equal(aliases_find(a, STR("\"a b\"@localhost"), &value), OK);
	assert_int_equal(aliases_find(a, STR("list@elsewhere.test"), &value), E_NOTFOUND);
	assert_int_equal(aliases_find(a, STR("list"), &value), E_NOTFOUND);
	assert_int_equal(aliases_find(a, STR("other@localhost"), &value), E_NOTFOUND);
	assert_int_equal(aliases_find_owner(a, STR("list+ext@here.test"), &value), OK);
	assert_string_equal(buf_cstr(&value), "owner-list@here.test");
	assert_int_equal(aliases_find_owner(a, STR("plain@here.test"), &value), E_NOTFOUND);
	assert_int_equal(aliases_find_owner(a, STR("owner-list@here.test"), &value), E_NOTFOUND);
	aliases_free(&a);
	/* Neither yes nor no while a table does not answer. */
	assert_int_equal(conf_set(conf, "alias_maps", "hash:/nonexistent/x", NULL), OK);
	assert_int_equal(aliases_open(conf, maps, &a), OK);
	assert_int_equal(aliases_find(a, STR("list@here.test"), &value), E_TEMPFAIL);
	aliases_free(&a);
	/* The sender's words would come into what is done with the mail. */
	assert_int_equal(conf_set(conf, "alias_maps", "regexp:{{/^(.*)$/ $1}}", NULL), OK);
	assert_int_equal(aliases_open(conf, maps, &a), E_PARSE);
	maps_free(&maps);
	conf_free(&conf);
	buf_free(&value);
	unlink(path);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(items),
		cmocka_unit_test(files),
		cmocka_unit_test(look_up),
	};

	log_init("test", LOGL_ERROR + 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
