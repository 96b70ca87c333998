/* SPDX-License-Identifier: MIT */
#include "imap/rights.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void
test_letters(void **state)
{
	static const struct {
		const char *text, *formatted; /* NULL: E_RANGE */
	} cases[] = {
		{"", ""},
		{"l", "l"},
		{"aetxkpiwsrl", "lrswipkxteacd"},
		{"c", "kxc"}, /* RFC 4314 section 2.1.1 */
		{"d", "ted"},
		{"cdcd", "kxtecd"},
		{"k", "kc"},
		{"e", "ed"},
		{"lrsw", "lrsw"},
		{"llrr", "lr"},
		{"L", NULL},
		{"lrq", NULL},
		{"0", NULL},
		{"l r", NULL},
		{"\xc3\xa4", NULL},
	};
	char text[IMAP_RIGHTS_TEXT];
	unsigned rights;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		enum err e = imap_rights_parse(str_of(cases[i].text), &rights);

		assert_int_equal(e, cases[i].formatted ? OK : E_RANGE);
		if (e)
			continue;
		imap_rights_format(rights, text);
		assert_string_equal(text, cases[i].formatted);
	}
	assert_int_equal(imap_rights_parse(str_make("l\0r", 3), &rights), E_RANGE);
	assert_int_equal(imap_rights_parse(STR("lrswipkxtea"), &rights), OK);
	assert_int_equal(rights, IMAP_RIGHTS_ALL);
}

static void
test_flags(void **state)
{
	(void)state;
	assert_int_equal(imap_rights_flags(IMAP_RIGHTS_ALL), INDEX_FLAGS_ALL);
	assert_int_equal(imap_rights_flags(IMAP_RIGHT_READ | IMAP_RIGHT_EXPUNGE), 0);
	assert_int_equal(imap_rights_flags(IMAP_RIGHT_SEEN), INDEX_SEEN);
	assert_int_equal(imap_rights_flags(IMAP_RIGHT_DELETE), INDEX_DELETED);
	assert_int_equal(
		imap_rights_flags(IMAP_RIGHT_WRITE), INDEX_ANSWERED | INDEX_FLAGGED | INDEX_DRAFT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_letters),
		cmocka_unit_test(test_flags),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
