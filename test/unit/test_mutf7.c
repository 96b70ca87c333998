/* SPDX-License-Identifier: MIT */
#include "mail/mutf7.h"

#include "mail/netunicode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
converts_both_ways(void **state)
{
	static const struct {
		const char *mutf7, *utf8;
	} cases[] = {
		{"", ""},
		{"INBOX", "INBOX"},
		{"a&-b", "a&b"},
		{"&-&-", "&&"},
		{"~peter/mail/&U,BTFw-/&ZeVnLIqe-",
			"~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e"},
		{"Entw&APw-rfe", "Entw\xc3\xbcrfe"},
		{"&2D3eAA-", "\xf0\x9f\x98\x80"},
		{"&AOQ-&-&AOQ-", "\xc3\xa4&\xc3\xa4"},
		{"a&AOQA5ADk-b", "a\xc3\xa4\xc3\xa4\xc3\xa4"
				 "b"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf b = {0};

		assert_int_equal(mutf7_to_utf8(str_of(cases[i].mutf7), &b), OK);
		assert_string_equal(buf_cstr(&b), cases[i].utf8);
		buf_reset(&b);
		assert_int_equal(mutf7_from_utf8(str_of(cases[i].utf8), &b), OK);
		assert_string_equal(buf_cstr(&b), cases[i].mutf7);
		buf_free(&b);
	}
}

static void
refuses_what_is_not_canonical(void **state)
{
	static const char *const bad[] = {
		"&",
		"&AOQ",
		"&AOQ/-", /* not of the alphabet */
		"&AO-", /* half a character */
		"&AOQ=-", /* padding */
		"&AOR-", /* stray bits */
		"&AOQA-", /* six bits too many */
		"&AGE-", /* "a" need not be encoded */
		"&ACY-", /* nor "&" */
		"&AOQ-&AOQ-", /* one shift would do */
		"&2D0-", /* half a pair */
		"&3gA-", /* the other half */
		"&2D0AYQ-", /* half a pair, then a letter */
		"&AAA-", /* NUL */
		"&AAo-", /* a line feed */
		"&AH8-", /* DEL */
		"\xc3\xa4", /* raw UTF-8 */
		"a\tb",
		"a\x7f",
		"&A\xc3-",
		"& AOQ-",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct buf b = {0};

		if (mutf7_to_utf8(str_of(bad[i]), &b) != E_PARSE)
			fail_msg("%s was taken", bad[i]);
		buf_free(&b);
	}
}

static void
refuses_what_is_no_name(void **state)
{
	static const struct str bad[] = {{"a\0b", 3}, {"a\nb", 3}, {"\xc3", 1}, {"\xff", 1},
		{"\xed\xa0\x80", 3}, {"\x7f", 1}, {"\xc2\x80", 2}};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct buf b = {0};

		assert_int_equal(mutf7_from_utf8(bad[i], &b), E_PARSE);
		assert_int_equal(b.len, 0);
		buf_free(&b);
	}
}

static void
appends_nothing_on_error(void **state)
{
	struct buf b = BUF_INIT(8);

	(void)state;
	buf_add_cstr(&b, "x");
	assert_int_equal(mutf7_from_utf8(STR("abcdefghijk"), &b), E_TOOBIG);
	assert_int_equal(b.len, 1);
	assert_int_equal(mutf7_from_utf8(STR("abc\xff"), &b), E_PARSE);
	assert_int_equal(b.len, 1);
	assert_int_equal(mutf7_to_utf8(STR("abc&"), &b), E_PARSE);
	assert_int_equal(b.len, 1);
	buf_free(&b);
}

static void
every_character_survives(void **state)
{
	(void)state;
	for (uint32_t c = 0xa0; c < 0x110000; c += c < 0x3000 ? 1 : 257) {
		struct buf u = {0}, m = {0}, back = {0};

		if (c >= 0xd800 && c <= 0xdfff)
			continue;
		for (int n = 0; n < 3; n++) {
			char bytes[4] = {(char)(0xf0 | c >> 18), (char)(0x80 | (c >> 12 & 63)),
				(char)(0x80 | (c >> 6 & 63)), (char)(0x80 | (c & 63))};
			size_t from = c < 0x800 ? 2 : c < 0x10000 ? 1 : 0;

			if (from == 2)
				bytes[2] = (char)(0xc0 | c >> 6);
			if (from == 1)
				bytes[1] = (char)(0xe0 | c >> 12);
			buf_add(&u, bytes + from, 4 - from);
		}
		assert_int_equal(mutf7_from_utf8(buf_str(&u), &m), OK);
		assert_int_equal(mutf7_to_utf8(buf_str(&m), &back), OK);
		assert_string_equal(buf_cstr(&back), buf_cstr(&u));
		buf_free(&u);
		buf_free(&m);
		buf_free(&back);
	}
}

static void
names_in_net_unicode(void **state)
{
	static const struct {
		const char *name;
		int good;
	} cases[] = {
		{"", 1}, {"Entw\xc3\xbcrfe & more", 1}, {"Entwu\xcc\x88rfe", 0}, /* decomposed */
		{"\xe2\x84\xab", 0}, /* ANGSTROM SIGN, which composes to another letter */
		{"\xf0\x9f\x98\x80", 1}, {"a\tb", 0}, {"a\x7f", 0}, {"\xc2\x85", 0},
		{"\xe2\x80\xa8", 0}, {"\xe2\x80\xa9", 0}, {"\xc3", 0},
		{"\xed\xa0\x80", 0}, /* half a surrogate pair */
		{"\xc0\xaf", 0}, /* overlong */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(netunicode_is_name(str_of(cases[i].name)), cases[i].good);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_in_net_unicode),
		cmocka_unit_test(converts_both_ways),
		cmocka_unit_test(refuses_what_is_not_canonical),
		cmocka_unit_test(refuses_what_is_no_name),
		cmocka_unit_test(appends_nothing_on_error),
		cmocka_unit_test(every_character_survives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
