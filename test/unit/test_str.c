/* SPDX-License-Identifier: MIT */
#include "lib/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void
numbers(void **state)
{
	static const struct {
		const char *text;
		enum err e32, e64;
		uint64_t value;
	} rows[] = {
		{"0", OK, OK, 0},
		{"007", OK, OK, 7},
		{"4294967295", OK, OK, 4294967295u},
		{"4294967296", E_RANGE, OK, 4294967296u},
		{"18446744073709551615", E_RANGE, OK, UINT64_MAX},
		{"18446744073709551616", E_RANGE, E_RANGE, 0},
		{"99999999999999999999999", E_RANGE, E_RANGE, 0},
		{"", E_PARSE, E_PARSE, 0},
		{"-1", E_PARSE, E_PARSE, 0},
		{"+1", E_PARSE, E_PARSE, 0},
		{" 1", E_PARSE, E_PARSE, 0},
		{"1x", E_PARSE, E_PARSE, 0},
		{"99999999999999999999999x", E_PARSE, E_PARSE, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint32_t n32 = 77;
		uint64_t n64 = 77;

		assert_int_equal(str_to_u32(str_of(rows[i].text), &n32), rows[i].e32);
		assert_int_equal(str_to_u64(str_of(rows[i].text), &n64), rows[i].e64);
		assert_int_equal(n32, rows[i].e32 ? 77 : rows[i].value);
		assert_int_equal(n64, rows[i].e64 ? 77 : rows[i].value);
	}
}

static void
utf8(void **state)
{
	static const struct {
		const char *text;
		int valid;
	} rows[] = {
		{"", 1},
		{"plain", 1},
		{"\xc3\xa4\xe2\x82\xac\xf0\x9f\x93\xa7", 1},
		{"\xf4\x8f\xbf\xbf", 1}, /* U+10FFFF */
		{"\xf4\x90\x80\x80", 0}, /* beyond it */
		{"\xc0\xaf", 0}, /* overlong */
		{"\xe0\x9f\xbf", 0}, /* overlong */
		{"\xf0\x8f\xbf\xbf", 0}, /* overlong */
		{"\xed\xa0\x80", 0}, /* surrogate */
		{"\x80", 0},
		{"a\xc3", 0}, /* cut off */
		{"\xe2\x82", 0},
		{"\xf0\x9f\x93", 0},
		{"\xc3(", 0},
		{"\xff\xfe", 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(str_is_utf8(str_of(rows[i].text)), rows[i].valid);
}

static void
split_walks_all_pieces(void **state)
{
	struct str rest = STR("a,,bc,");
	const char *expected[] = {"a", "", "bc", ""};
	size_t n = 0;

	(void)state;
	while (rest.p) {
		assert_true(n < 4);
		assert_true(str_is(str_split(&rest, ','), expected[n]));
		n++;
	}
	assert_int_equal(n, 4);
}

static void
comparisons(void **state)
{
	(void)state;
	assert_true(str_equal_i(STR("InBoX"), STR("INBOX")));
	assert_false(str_equal_i(STR("INBOX"), STR("INBOX ")));
	assert_true(str_starts_i(STR("BODY.PEEK[]"), "body."));
	assert_false(str_starts_i(STR("BO"), "body"));
	assert_true(str_ends_i(STR("a@Example.Test"), "example.test"));
	assert_true(str_compare(STR("ab"), STR("abc")) < 0);
	assert_true(str_compare(STR("b"), STR("abc")) > 0);
	assert_int_equal(str_compare(STR(""), (struct str){NULL, 0}), 0);
	assert_true(str_equal_secret(STR("secret"), STR("secret")));
	assert_false(str_equal_secret(STR("secret"), STR("secreT")));
	assert_false(str_equal_secret(STR("secret"), STR("secretsecret")));
	assert_false(str_equal_secret(STR("secret"), STR("")));
	assert_true(str_equal_secret(STR(""), STR("")));
}

static void
finding_and_trimming(void **state)
{
	(void)state;
	assert_int_equal(str_find(STR("abcabc"), 1, 'a'), 3);
	assert_int_equal(str_find(STR("abc"), 9, 'a'), 3);
	assert_int_equal(str_find_str(STR("abcabd"), STR("abd")), 3);
	assert_int_equal(str_find_str(STR("ab"), STR("abd")), 2);
	assert_true(str_is(str_trim(STR(" \t x y\r\n")), "x y"));
	assert_true(str_is(str_trim(STR("  ")), ""));
	assert_true(str_has_control(STR("a\nb")));
	assert_true(str_has_control(STR("a\0b")));
	assert_false(str_has_control(STR("a b\xc3\xa4")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers),
		cmocka_unit_test(utf8),
		cmocka_unit_test(split_walks_all_pieces),
		cmocka_unit_test(comparisons),
		cmocka_unit_test(finding_and_trimming),
	};

	return cmocka_run_group_tests_name("str", tests, NULL, NULL);
}
