/* SPDX-License-Identifier: MIT */
#include "mail/charset.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FFFD "\xef\xbf\xbd"

static const struct {
	const char *charset;
	struct str in;
	const char *out;
} cases[] = {
	{"utf-8", {"Gr\xc3\xbc\xc3\x9f", 6}, "Gr\xc3\xbc\xc3\x9f"},
	{"", {"\xc3\xbc", 2}, "\xc3\xbc"},
	{"us-ascii", {"\xe2\x82\xac", 3}, "\xe2\x82\xac"},
	{"UTF-8", {"a\xc3", 2}, "a" FFFD},
	{"UTF-8", {"a\xf0\x9f\x98", 4}, "a" FFFD},
	{"UTF-8", {"\xc3(", 2}, FFFD "("},
	{"UTF-8", {"\xff\xfe", 2}, FFFD FFFD},
	{"UTF-8", {"\xc0\xaf", 2}, FFFD FFFD},
	{"UTF-8", {"\xed\xa0\x80", 3}, FFFD FFFD FFFD},
	{"UTF-8", {"\xf0\x9f\x98\x80", 4}, "\xf0\x9f\x98\x80"},
	{"UTF-8",
		{"\xe2\x82"
		 "a",
			3},
		FFFD "a"},
	{"ISO-8859-1", {"\xe4\xa4", 2}, "\xc3\xa4\xc2\xa4"},
	{"windows-1252", {"\x80\x81", 2}, "\xe2\x82\xac" FFFD},
	{"iso-8859-15", {"\xa4", 1}, "\xe2\x82\xac"},
	{"koi8-r", {"\xf4\xc5", 2}, "\xd0\xa2\xd0\xb5"},
	{"shift_jis", {"\x83\x65\x83\x58", 4}, "\xe3\x83\x86\xe3\x82\xb9"},
	{"shift_jis", {"a\x83", 2}, "a" FFFD},
	{"iso-2022-jp", {"\x1b$B%F%9\x1b(B!", 11}, "\xe3\x83\x86\xe3\x82\xb9!"},
	{"gb2312", {"\xc4\xe3", 2}, "\xe4\xbd\xa0"},
	{"utf-16le", {"a\0\xac\x20", 4}, "a\xe2\x82\xac"},
	{"utf-16be", {"\xd8\x3d\xde\x00", 4}, "\xf0\x9f\x98\x80"},
	{"utf-7", {"+ZeVnLIqe-", 10}, "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e"},
	{"x-nonsense", {"a\xe4", 2}, "a" FFFD},
	{"utf-8//TRANSLIT", {"a\xe4", 2}, "a" FFFD},
	{"../../etc/passwd", {"a\xe4", 2}, "a" FFFD},
};

static void
converts_in_pieces_of_any_size(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t step = 1; step < 6; step++) {
			struct charset_conv *c = charset_conv_create(str_of(cases[i].charset));
			struct buf out = {0};
			struct str in = cases[i].in;

			for (size_t at = 0; at < in.len; at += step)
				charset_conv_feed(c, in.p + at,
					in.len - at < step ? in.len - at : step, &out);
			charset_conv_finish(c, &out);
			if (strcmp(buf_cstr(&out), cases[i].out) != 0)
				fail_msg("case %zu step %zu: %s", i, step, buf_cstr(&out));
			charset_conv_free(&c);
			buf_free(&out);
		}
	}
}

static void
keeps_whole_characters_that_fit(void **state)
{
	(void)state;
	for (size_t max = 1; max < 8; max++) {
		struct buf b = BUF_INIT(max), j = BUF_INIT(max);

		assert_int_equal(
			charset_to_utf8(STR("utf-8"), STR("a\xe2\x82\xac\xe2\x82\xac\xc3\xa4"), &b),
			E_TOOBIG);
		assert_true(str_is_utf8(buf_str(&b)));
		assert_true(b.len + 3 > max);
		assert_int_equal(
			charset_to_utf8(STR("koi8-r"), STR("\xf4\xc5\xf4\xc5\xf4\xc5"), &j),
			E_TOOBIG);
		assert_true(str_is_utf8(buf_str(&j)));
		buf_free(&b);
		buf_free(&j);
	}
}

static void
knows_names(void **state)
{
	(void)state;
	assert_true(charset_is_known(STR("UTF-8")));
	assert_true(charset_is_known(STR("ISO-8859-7")));
	assert_false(charset_is_known(STR("x-nonsense")));
	assert_false(charset_is_known(STR("utf-8//IGNORE")));
	assert_false(charset_is_known(STR("")));
}

static void
cleans(void **state)
{
	struct buf b = {0};

	(void)state;
	charset_utf8_clean(STR("a\xff"
			       "b\xc3"),
		&b);
	assert_string_equal(buf_cstr(&b), "a" FFFD "b" FFFD);
	buf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(converts_in_pieces_of_any_size),
		cmocka_unit_test(keeps_whole_characters_that_fit),
		cmocka_unit_test(knows_names),
		cmocka_unit_test(cleans),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
