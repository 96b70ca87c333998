/* SPDX-License-Identifier: MIT */
#include "index/maildir_name.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "index/index_client.h"

#define NONE UINT64_MAX
#define BIT(c) (1u << ((c) - 'a'))
#define CAP(c) (1u << ((c) - 'A'))

struct name_case {
	const char *name, *base;
	enum err want;
	int has_info;
	unsigned flags;
	uint32_t letters, others;
	uint64_t size, crlf_size; /* NONE: absent */
	uint32_t uid;
	int64_t time;
};

static const struct name_case cases[] = {
	{"1700000000.M5P6Q7.host,S=10,W=11,U=12:2,FS", "1700000000.M5P6Q7.host,S=10,W=11,U=12", OK,
		1, INDEX_FLAGGED | INDEX_SEEN, 0, 0, 10, 11, 12, 1700000000},
	/* Dovecot in new/; Courier; mbsync; OfflineIMAP; a plain qmail name. */
	{"1700000000.M5P6.host,S=10,W=11", "1700000000.M5P6.host,S=10,W=11", OK, 0, 0, 0, 0, 10, 11,
		0, 1700000000},
	{"1700000000.M5P6V0I7_0.host,S=10:2,DRTab", "1700000000.M5P6V0I7_0.host,S=10", OK, 1,
		INDEX_DRAFT | INDEX_ANSWERED | INDEX_DELETED, BIT('a') | BIT('b'), 0, 10, NONE, 0,
		1700000000},
	{"1700000000.R1.host,U=5:2,", "1700000000.R1.host,U=5", OK, 1, 0, 0, 0, NONE, NONE, 5,
		1700000000},
	{"1_0.2.host,U=9,FMD5=d41d8cd9:2,S", "1_0.2.host,U=9,FMD5=d41d8cd9", OK, 1, INDEX_SEEN, 0,
		0, NONE, NONE, 9, 1},
	{"1.2.host", "1.2.host", OK, 0, 0, 0, 0, NONE, NONE, 0, 1},
	/* Flags of other programs, twice the same, rubbish behind. */
	{"1.x:2,PSSz,X", "1.x", OK, 1, INDEX_SEEN, BIT('z'), CAP('P'), NONE, NONE, 0, 1},
	{"1.x:1,abc", "1.x", OK, 0, 0, 0, 0, NONE, NONE, 0, 1},
	{"a:b:2,S", "a:b", OK, 1, INDEX_SEEN, 0, 0, NONE, NONE, 0, 0},
	/* Fields that are none. */
	{"1.x,S=,W=1x,U=0", "1.x,S=,W=1x,U=0", OK, 0, 0, 0, 0, NONE, NONE, 0, 1},
	{"1.x,S=-1,U=4294967296,W=99999999999999999999999",
		"1.x,S=-1,U=4294967296,W="
		"99999999999999999999999",
		OK, 0, 0, 0, 0, NONE, NONE, 0, 1},
	{"1.x,S=18446744073709551615,U=4294967295", "1.x,S=18446744073709551615,U=4294967295", OK,
		0, 0, 0, 0, NONE, NONE, 4294967295u, 1},
	{"123456789012.x", "123456789012.x", OK, 0, 0, 0, 0, NONE, NONE, 0, 0},
	/* No names of messages. */
	{"", NULL, E_RANGE},
	{".", NULL, E_RANGE},
	{".x", NULL, E_RANGE},
	{"a/b", NULL, E_RANGE},
	{"a\nb", NULL, E_RANGE},
	{":2,S", NULL, E_RANGE},
	{"a\x7f", NULL, E_RANGE},
};

static void
test_parse(void **state)
{
	struct maildir_name n;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct name_case *c = &cases[i];

		assert_int_equal(maildir_name_parse(str_of(c->name), &n), c->want);
		if (c->want)
			continue;
		assert_true(str_is(n.base, c->base));
		assert_int_equal(n.has_info, c->has_info);
		assert_int_equal(n.flags, c->flags);
		assert_int_equal(n.letters, c->letters);
		assert_int_equal(n.others, c->others);
		assert_int_equal(n.has_size, c->size != NONE);
		assert_int_equal(n.has_crlf_size, c->crlf_size != NONE);
		if (n.has_size)
			assert_int_equal(n.size, c->size);
		if (n.has_crlf_size)
			assert_int_equal(n.crlf_size, c->crlf_size);
		assert_int_equal(n.has_uid, c->uid != 0);
		assert_int_equal(n.uid, c->uid);
		assert_int_equal(n.time, c->time);
	}
	char longest[MAILDIR_NAME_MAX + 2];
	memset(longest, 'a', sizeof(longest));
	assert_int_equal(maildir_name_parse(str_make(longest, MAILDIR_NAME_MAX), &n), OK);
	assert_int_equal(maildir_name_parse(str_make(longest, MAILDIR_NAME_MAX + 1), &n), E_RANGE);
	assert_int_equal(maildir_name_parse(str_make("a\0b", 3), &n), E_RANGE);
}

static void
test_build(void **state)
{
	struct maildir_unique u = {.time_s = 1700000000,
		.usec = 5,
		.pid = 6,
		.counter = 7,
		.host = "mail.example.test"};
	struct buf b = {0};
	struct maildir_name n;

	(void)state;
	maildir_unique_build(&u, &b);
	maildir_fields_build(10, 11, 12, &b);
	maildir_info_build(INDEX_FLAGS_ALL, BIT('a') | BIT('z'), CAP('P') | CAP('A'), &b);
	assert_string_equal(
		buf_cstr(&b), "1700000000.M5P6Q7.mail.example.test,S=10,W=11,U=12:2,ADFPRSTaz");
	assert_int_equal(maildir_name_parse(buf_str(&b), &n), OK);
	assert_int_equal(n.flags, INDEX_FLAGS_ALL);
	assert_int_equal(n.others, CAP('P') | CAP('A'));
	buf_reset(&b);
	u.host = "odd/host:na,me\n";
	maildir_unique_build(&u, &b);
	maildir_fields_build(NONE, NONE, 0, &b);
	assert_string_equal(buf_cstr(&b), "1700000000.M5P6Q7.odd_host_na_me_");
	buf_reset(&b);
	u.host = "";
	maildir_unique_build(&u, &b);
	assert_string_equal(buf_cstr(&b), "1700000000.M5P6Q7.localhost");
	buf_free(&b);
}

static void
test_rebuild(void **state)
{
	static const struct {
		const char *name, *want;
	} rows[] = {
		{"1.x", "1.x,S=1,U=3"},
		{"1.x,U=9,FMD5=ab,S=7:2,S", "1.x,S=1,U=3,FMD5=ab"},
		{"1.x,W=2", "1.x,S=1,U=3"},
		{"1.x,", "1.x,S=1,U=3,"},
	};
	struct maildir_name n;
	struct buf b = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		buf_reset(&b);
		assert_int_equal(maildir_name_parse(str_of(rows[i].name), &n), OK);
		assert_int_equal(maildir_base_rebuild(&n, 1, NONE, 3, &b), OK);
		assert_string_equal(buf_cstr(&b), rows[i].want);
	}
	char longest[MAILDIR_BASE_MAX];
	memset(longest, 'a', sizeof(longest));
	buf_reset(&b);
	assert_int_equal(maildir_name_parse(str_make(longest, sizeof(longest)), &n), OK);
	assert_int_equal(maildir_base_rebuild(&n, 1, NONE, 3, &b), E_TOOBIG);
	assert_int_equal(b.len, 0);
	buf_free(&b);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_build),
		cmocka_unit_test(test_rebuild),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
