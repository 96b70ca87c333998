/* SPDX-License-Identifier: MIT */
#include "pop3/pop3_uidl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void
test_build(void **state)
{
	static const struct {
		const char *format, *want; /* NULL: E_RANGE */
	} rows[] = {
		{"%v.%u", "1700000000.27"},
		{"%08Xu%08Xv", "0000001b6553f100"},
		{"UID%u-%v", "UID27-1700000000"},
		{"%06u%%", "000027%"},
		{"%Xu", "1b"},
		{"", NULL},
		{"%v", NULL},
		{"%u%", NULL},
		{"%u%m", NULL},
		{"%f", "1700000000.M1P2.mail,S=3,W=4"},
		{"%v-%f", "1700000000-1700000000.M1P2.mail,S=3,W=4"},
		{"%f%f%f", NULL},
		{"%08f", NULL},
		{"%021u", NULL},
		{"%99999999999u", NULL},
		{"%u x", NULL},
		{"%u\n", NULL},
		{"%020u%020u%020u%011u", NULL},
		{"%020u%020u%020u%010u",
			"0000000000000000002700000000000000000027000000000000000000270000000027"},
	};
	const struct pop3_uidl_parts parts = {1700000000, 27, "1700000000.M1P2.mail,S=3,W=4"};
	const struct pop3_uidl_parts without = {1700000000, 27, NULL};
	struct buf out = {0};

	(void)state;
	assert_int_equal(pop3_uidl_build("%f", &without, &out), E_RANGE);
	assert_true(pop3_uidl_needs_file("%v-%f") && !pop3_uidl_needs_file("%%f%v%u"));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		enum err e;

		buf_reset(&out);
		buf_add_char(&out, '>');
		e = pop3_uidl_build(rows[i].format, &parts, &out);
		assert_int_equal(e, rows[i].want ? OK : E_RANGE);
		assert_string_equal(buf_cstr(&out) + 1, rows[i].want ? rows[i].want : "");
	}
	buf_free(&out);
}

static void
test_known(void **state)
{
	struct pop3_uidls u;

	(void)state;
	pop3_uidls_parse(
		STR("9 abc\n3 UID4-7\nx y\n5\n6 \n7 a b\n8 a\tb\n\n4294967296 z\n1 last"), &u);
	assert_int_equal(u.count, 3);
	assert_string_equal(pop3_uidls_find(&u, 9), "abc");
	assert_string_equal(pop3_uidls_find(&u, 3), "UID4-7");
	assert_string_equal(pop3_uidls_find(&u, 1), "last");
	assert_null(pop3_uidls_find(&u, 2));
	pop3_uidls_free(&u);
	pop3_uidls_parse(STR(""), &u);
	assert_null(pop3_uidls_find(&u, 2));
	pop3_uidls_free(&u);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_build),
		cmocka_unit_test(test_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
