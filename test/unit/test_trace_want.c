/* SPDX-License-Identifier: MIT */
#include "lib/trace_want.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct {
	unsigned kind;
	const char *what;
	int good, match;
} cases[] = {
	{TRACE_SESSION, "0123456789abcdef", 1, 1},
	{TRACE_SESSION, "0123456789abcdee", 1, 0},
	{TRACE_USER, "Alice@example.TEST", 1, 1},
	{TRACE_USER, "bob@example.test", 1, 0},
	{TRACE_NETWORK, "192.0.2.7", 1, 1},
	{TRACE_NETWORK, "192.0.2.0/28", 1, 1},
	{TRACE_NETWORK, "192.0.2.8", 1, 0},
	{TRACE_NETWORK, "2001:db8::/32", 1, 0},
	{TRACE_NETWORK, "nowhere", 0, 0},
	{TRACE_USER, "", 0, 0},
	{TRACE_NETWORK + 1, "x", 0, 0},
};

static void
test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct trace_want w;
		enum err e = trace_want_init(&w, cases[i].kind, str_of(cases[i].what));

		assert_int_equal(e, cases[i].good ? OK : E_PARSE);
		if (e)
			continue;
		assert_int_equal(trace_want_match(&w, "0123456789abcdef", "alice@example.test",
					 "192.0.2.7:4711"),
			cases[i].match);
		/* Who is not known yet is nobody. */
		assert_false(cases[i].kind == TRACE_USER &&
			     trace_want_match(&w, "0123456789abcdef", "", "192.0.2.7:4711"));
		trace_want_fini(&w);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
