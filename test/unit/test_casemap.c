/* SPDX-License-Identifier: MIT */
#include "mail/casemap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
folds(void **state)
{
	static const struct {
		const char *a, *b;
		int equal;
	} cases[] = {
		{"Hello", "hELLO", 1}, {"", "", 1}, {"a", "b", 0},
		{"\xc3\xa4", "\xc3\x84", 1}, /* a umlaut */
		{"\xc3\xa4", "a\xcc\x88", 1}, /* decomposed */
		{"\xc3\xa4", "a", 0}, {"\xd0\xb6", "\xd0\x96", 1}, /* zhe */
		{"\xc7\x84", "\xc7\x86", 1}, /* DZ with caron, of the RFC */
		{"\xef\xbd\x81", "A", 1}, /* full-width a */
		{"\xef\xac\x81", "f", 0}, {"\xce\xa3", "\xcf\x83", 1}, /* sigma */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf a = {0}, b = {0};

		assert_int_equal(casemap_fold(str_of(cases[i].a), &a), OK);
		assert_int_equal(casemap_fold(str_of(cases[i].b), &b), OK);
		assert_int_equal(str_equal(buf_str(&a), buf_str(&b)), cases[i].equal);
		buf_free(&a);
		buf_free(&b);
	}
}

static void
ill_formed_text_stays_as_it_is(void **state)
{
	struct buf b = {0}, small = BUF_INIT(2);

	(void)state;
	buf_add_cstr(&b, "x");
	assert_int_equal(casemap_fold(STR("ab\xc3"), &b), OK);
	assert_string_equal(buf_cstr(&b), "xab\xc3");
	assert_int_equal(casemap_fold(STR("abc"), &small), E_TOOBIG);
	buf_free(&b);
	buf_free(&small);
}

/* The fast way for ASCII: every byte, at every place of a word. */
static void
ascii(void **state)
{
	(void)state;
	for (int c = 0; c < 0x80; c++) {
		for (size_t at = 0; at < 19; at++) {
			char text[19], want[19];
			struct buf b = {0};

			memset(text, 'q', sizeof(text));
			memset(want, 'Q', sizeof(want));
			text[at] = (char)c;
			want[at] = str_upper((char)c);
			assert_int_equal(casemap_fold(str_make(text, sizeof(text)), &b), OK);
			assert_int_equal(b.len, sizeof(want));
			assert_memory_equal(b.p, want, sizeof(want));
			buf_free(&b);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(folds),
		cmocka_unit_test(ascii),
		cmocka_unit_test(ill_formed_text_stays_as_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
