/* SPDX-License-Identifier: MIT */
#include "mail/header.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
iterates_fields(void **state)
{
	static const char block[] = "Subject: one\r\n two\nTo :a@b\r\njunk line\n\r\nbody: x\n";
	struct header_iter it = HEADER_ITER(str_of(block));
	struct header_field f;

	(void)state;
	assert_true(header_next(&it, &f));
	assert_true(str_is(f.name, "Subject"));
	assert_true(str_is(f.value, " one\r\n two"));
	assert_int_equal(f.off, 0);
	assert_int_equal(f.len, 19);
	assert_true(header_next(&it, &f));
	assert_true(str_is(f.name, "To"));
	assert_true(str_is(f.value, "a@b"));
	assert_true(header_next(&it, &f));
	assert_int_equal(f.name.len, 0);
	assert_true(str_is(f.value, "junk line"));
	assert_false(header_next(&it, &f));
	assert_int_equal(header_block_len(str_of(block)), strlen(block) - strlen("body: x\n"));
}

static void
odd_blocks_are_headers_too(void **state)
{
	static const struct {
		const char *block;
		size_t fields, header_len;
	} cases[] = {
		{"", 0, 0},
		{"\n", 0, 1},
		{"\r\n", 0, 2},
		{" \n", 1, 2}, /* a blank line is no empty line */
		{"a:b", 1, 3},
		{"a", 1, 1},
		{":", 1, 1},
		{"a:\n\tb\n\tc", 1, 8},
		{"a\n :b", 1, 5},
		{"\r", 1, 1},
		{"a: b\n\nc: d\n", 1, 6},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct header_iter it = HEADER_ITER(str_of(cases[i].block));
		struct header_field f;
		size_t n = 0;

		while (header_next(&it, &f))
			n++;
		assert_int_equal(n, cases[i].fields);
		assert_int_equal(header_block_len(str_of(cases[i].block)), cases[i].header_len);
	}
}

static void
finds_a_field_whatever_its_case(void **state)
{
	struct header_field f;

	(void)state;
	assert_true(
		header_find(STR("A: 1\nMESSAGE-id: 2\nMessage-ID: 3\n"), STR("message-ID"), &f));
	assert_true(str_is(f.value, " 2"));
	assert_false(header_find(STR("A: 1\n\nB: 2\n"), STR("B"), &f));
}

static void
unfolds(void **state)
{
	static const struct {
		struct str in;
		const char *out;
	} cases[] = {
		{{" a\r\n b \r\n", 9}, "a b"},
		{{"a\n\tb", 4}, "a\tb"},
		{{"a\0b\rc", 5}, "a b c"},
		{{" \r\n ", 4}, ""},
		{{"", 0}, ""},
	};
	struct buf b = BUF_INIT(4);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf out = {0};

		assert_int_equal(header_unfold(cases[i].in, &out), OK);
		assert_string_equal(buf_cstr(&out), cases[i].out);
		buf_free(&out);
	}
	assert_int_equal(header_unfold(STR("abcdef"), &b), E_TOOBIG);
	buf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(iterates_fields),
		cmocka_unit_test(odd_blocks_are_headers_too),
		cmocka_unit_test(finds_a_field_whatever_its_case),
		cmocka_unit_test(unfolds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
