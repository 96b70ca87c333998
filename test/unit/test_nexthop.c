/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "mta-lite/nexthop.h"

/* Next hops as they are written, MX records as they come, and their order. */

static void
forms(void **state)
{
	static const struct {
		const char *in;
		enum err e;
		const char *name;
		int port, no_mx, literal;
	} cases[] = {
		{"example.com", OK, "example.com", 25, 0, 0},
		{"Example.COM.", OK, "example.com", 25, 0, 0},
		{"example.com:2525", OK, "example.com", 2525, 0, 0},
		{"[mail.example.com]", OK, "mail.example.com", 25, 1, 0},
		{"[mail.example.com]:587", OK, "mail.example.com", 587, 1, 0},
		{"[192.0.2.1]", OK, "192.0.2.1", 25, 1, 1},
		{"[127.0.0.1]:1025", OK, "127.0.0.1", 1025, 1, 1},
		{"[::1]:1025", OK, "::1", 1025, 1, 1},
		{"[IPv6:2001:db8::1]", OK, "2001:db8::1", 25, 1, 1},
		{"[127.0.0.1", E_PARSE, NULL, 0, 0, 0},
		{"[host]x", E_PARSE, NULL, 0, 0, 0},
		{"[host]:0", E_PARSE, NULL, 0, 0, 0},
		{"host:99999", E_PARSE, NULL, 0, 0, 0},
		{"host:", E_PARSE, NULL, 0, 0, 0},
		{"[:::zz]", E_PARSE, NULL, 0, 0, 0},
		{"[]", E_PARSE, NULL, 0, 0, 0},
		{"", E_PARSE, NULL, 0, 0, 0},
		{"a b", E_PARSE, NULL, 0, 0, 0},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct nexthop hop;

		if (nexthop_parse(str_of(cases[i].in), 25, &hop) != cases[i].e)
			fail_msg("%s", cases[i].in);
		if (cases[i].e)
			continue;
		assert_string_equal(hop.name, cases[i].name);
		assert_int_equal(hop.port, cases[i].port);
		assert_int_equal(hop.no_mx, cases[i].no_mx);
		assert_int_equal(hop.literal, cases[i].literal);
		if (hop.literal)
			assert_int_equal(net_addr_port(&hop.addr), cases[i].port);
	}
}

static void
records(void **state)
{
	static const unsigned char good[] = "\x00\x0a\x02mx\x07"
					    "Example\x03"
					    "com";
	unsigned char endless[300];
	struct mx_host mx;
	size_t n;

	(void)state;
	assert_int_equal(mx_record_parse(good, sizeof(good), &mx), OK);
	assert_int_equal(mx.preference, 10);
	assert_string_equal(mx.name, "mx.example.com");
	/* Any odd length. */
	for (n = 0; n < sizeof(good); n++)
		assert_int_equal(mx_record_parse(good, n, &mx), E_PARSE);
	assert_int_equal(mx_record_parse((const unsigned char *)"\0\0", 3, &mx), OK);
	assert_string_equal(mx.name, "");
	for (n = 0; n < sizeof(endless); n++)
		endless[n] = n % 2 ? 'a' : 1;
	assert_int_equal(mx_record_parse(endless, sizeof(endless), &mx), E_PARSE);
	/* A compression pointer and a byte that would break a log line. */
	assert_int_equal(mx_record_parse((const unsigned char *)"\0\1\xc0\x0c", 5, &mx), E_PARSE);
	assert_int_equal(mx_record_parse((const unsigned char *)"\0\1\x02"
								"a\n",
				 6, &mx),
		E_PARSE);
}

static uint32_t seed;
static uint32_t
next_random(void)
{
	seed = seed * 1664525 + 1013904223;
	return seed >> 8;
}

static void
order(void **state)
{
	int first[3] = {0}, round;

	(void)state;
	for (round = 0; round < 300; round++) {
		struct mx_host v[] = {{"d", 30}, {"a", 10}, {"b", 10}, {"c", 10}, {"e", 20}};

		mx_order(v, 5, next_random);
		assert_true(v[0].preference == 10 && v[2].preference == 10);
		assert_string_equal(v[3].name, "e");
		assert_string_equal(v[4].name, "d");
		first[v[0].name[0] - 'a']++;
	}
	assert_true(first[0] > 50 && first[1] > 50 && first[2] > 50);
	mx_order(NULL, 0, next_random);
}

static void
ourselves(void **state)
{
	struct mx_host v[] = {{"a", 10}, {"b", 20}, {"Us.Example.com", 20}, {"c", 30}};

	(void)state;
	assert_int_equal(mx_drop_self(v, 4, "us.example.com"), 1);
	assert_int_equal(mx_drop_self(v, 4, "other.example.com"), 4);
	assert_int_equal(mx_drop_self(v + 2, 2, "us.example.com"), 0);
}

static void
null_mx(void **state)
{
	struct mx_host v[] = {{"", 0}, {"a", 10}};

	(void)state;
	assert_true(mx_is_null(v, 1));
	assert_false(mx_is_null(v, 2));
	assert_false(mx_is_null(v + 1, 1));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forms),
		cmocka_unit_test(records),
		cmocka_unit_test(order),
		cmocka_unit_test(ourselves),
		cmocka_unit_test(null_mx),
	};

	return cmocka_run_group_tests_name("nexthop", tests, NULL, NULL);
}
