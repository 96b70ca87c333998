/* SPDX-License-Identifier: MIT */
#include "auth/acl_groups.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void
lists(void **state)
{
	static const struct {
		const char *text, *want;
		enum err e;
	} table[] = {
		{"", "", OK},
		{"staff", "staff", OK},
		{"Staff,sales", "staff,sales", OK},
		{" staff ,, sales-2 x_y.z ,", "staff,sales-2,x_y.z", OK},
		{"b\xc3\xbc"
		 "ro",
			"b\xc3\xbc"
			"ro",
			OK},
		{",", "", OK},
		{"$staff", "", E_PARSE},
		{"a=b", "", E_PARSE},
		{"a@b", "", E_PARSE},
		{"staff\n", "", E_PARSE},
		{"\xff", "", E_PARSE},
	};
	char out[ACL_GROUPS_MAX + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		memset(out, 'x', sizeof(out));
		assert_int_equal(acl_groups_normalise(str_of(table[i].text), out), table[i].e);
		assert_string_equal(out, table[i].want);
	}
}

static void
lengths(void **state)
{
	char text[ACL_GROUPS_MAX + 2], out[ACL_GROUPS_MAX + 1];

	(void)state;
	memset(text, 'a', sizeof(text));
	text[3] = ',';
	assert_int_equal(acl_groups_normalise(str_make(text, ACL_GROUPS_MAX), out), OK);
	assert_int_equal(strlen(out), ACL_GROUPS_MAX);
	assert_int_equal(acl_groups_normalise(str_make(text, ACL_GROUPS_MAX + 1), out), E_TOOBIG);
	assert_string_equal(out, "");
	assert_int_equal(acl_groups_normalise(str_make("a\0b", 3), out), E_PARSE);
	assert_int_equal(acl_groups_normalise(str_make(NULL, 0), out), OK);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(lists), cmocka_unit_test(lengths)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
