/* SPDX-License-Identifier: MIT */
#include "lib/net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
addresses(void **state)
{
	static const struct {
		const char *text;
		uint16_t default_port;
		enum err e;
		const char *formatted, *ip;
	} rows[] = {
		{"127.0.0.1:25", 0, OK, "127.0.0.1:25", "127.0.0.1"},
		{"127.0.0.1", 143, OK, "127.0.0.1:143", "127.0.0.1"},
		{"[::1]:993", 0, OK, "[::1]:993", "::1"},
		{"[::1]", 7, OK, "[::1]:7", "::1"},
		{"2001:db8::5", 25, OK, "[2001:db8::5]:25", "2001:db8::5"},
		{"*:25", 0, OK, "[::]:25", "::"},
		{"[::ffff:10.1.2.3]:25", 0, OK, "10.1.2.3:25", "10.1.2.3"},
		{"/run/x.sock", 0, OK, "/run/x.sock", "local"},
		{"unix:/run/x.sock", 0, OK, "/run/x.sock", "local"},
		{"127.0.0.1", 0, E_PARSE, NULL, NULL},
		{"127.0.0.1:", 0, E_PARSE, NULL, NULL},
		{"127.0.0.1:0", 25, E_RANGE, NULL, NULL},
		{"127.0.0.1:65536", 0, E_RANGE, NULL, NULL},
		{"127.0.0.1:2x", 0, E_PARSE, NULL, NULL},
		{"[::1", 25, E_PARSE, NULL, NULL},
		{"[::1]x", 25, E_PARSE, NULL, NULL},
		{"localhost:25", 0, E_PARSE, NULL, NULL},
		{"1.2.3.4.5:25", 0, E_PARSE, NULL, NULL},
		{"unix:", 0, E_PARSE, NULL, NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct net_addr a;
		char text[NET_ADDR_TEXT];

		assert_int_equal(
			net_addr_parse(str_of(rows[i].text), rows[i].default_port, &a), rows[i].e);
		if (rows[i].e)
			continue;
		net_addr_format(&a, text);
		assert_string_equal(text, rows[i].formatted);
		net_addr_format_ip(&a, text);
		assert_string_equal(text, rows[i].ip);
	}
}

static void
a_path_too_long(void **state)
{
	char path[300];
	struct net_addr a;

	(void)state;
	memset(path, 'x', sizeof(path));
	path[0] = '/';
	assert_int_equal(net_addr_parse(str_make(path, sizeof(path)), 0, &a), E_TOOBIG);
}

static void
networks(void **state)
{
	static const struct {
		const char *network;
		enum err e;
		const char *inside, *outside;
	} rows[] = {
		{"10.0.0.0/8", OK, "10.255.0.1:1", "11.0.0.1:1"},
		{"192.0.2.128/25", OK, "192.0.2.200:1", "192.0.2.1:1"},
		{"127.0.0.1", OK, "127.0.0.1:1", "127.0.0.2:1"},
		{"0.0.0.0/0", OK, "8.8.8.8:1", "[2001:db8::1]:1"},
		{"[::1]/128", OK, "[::1]:1", "[::2]:1"},
		{"2001:db8::/33", OK, "[2001:db8:7fff::1]:1", "[2001:db8:8000::1]:1"},
		{"10.0.0.0/8", OK, "[::ffff:10.1.1.1]:1", "[::10.1.1.1]:1"},
		{"10.0.0.0/33", E_RANGE, NULL, NULL},
		{"::/129", E_RANGE, NULL, NULL},
		{"10.0.0.0/x", E_PARSE, NULL, NULL},
		{"10.0.0/8", E_PARSE, NULL, NULL},
		{"", E_PARSE, NULL, NULL},
		{"/8", E_PARSE, NULL, NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct net_cidr c;
		struct net_addr a;

		assert_int_equal(net_cidr_parse(str_of(rows[i].network), &c), rows[i].e);
		if (rows[i].e)
			continue;
		assert_int_equal(net_addr_parse(str_of(rows[i].inside), 0, &a), OK);
		assert_true(net_cidr_match(&c, &a));
		assert_int_equal(net_addr_parse(str_of(rows[i].outside), 0, &a), OK);
		assert_false(net_cidr_match(&c, &a));
	}
}

static void
loopback(void **state)
{
	static const struct {
		const char *text;
		int yes;
	} rows[] = {{"127.0.0.1:1", 1}, {"127.9.9.9:1", 1}, {"[::1]:1", 1},
		{"[::ffff:127.0.0.1]:1", 1}, {"/x", 1}, {"128.0.0.1:1", 0}, {"[::2]:1", 0}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct net_addr a;

		assert_int_equal(net_addr_parse(str_of(rows[i].text), 0, &a), OK);
		assert_int_equal(net_addr_is_loopback(&a), rows[i].yes);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses),
		cmocka_unit_test(a_path_too_long),
		cmocka_unit_test(networks),
		cmocka_unit_test(loopback),
	};

	return cmocka_run_group_tests_name("net", tests, NULL, NULL);
}
