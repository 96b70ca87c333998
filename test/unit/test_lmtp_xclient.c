/* SPDX-License-Identifier: MIT */
#include "lmtp/lmtp_xclient.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
test_attributes(void **state)
{
	static const struct {
		const char *args;
		enum err e;
		const char *name, *helo, *login, *address;
	} cases[] = {
		{"NAME=mx.example.org ADDR=192.0.2.7", OK, "mx.example.org", "", "", "192.0.2.7:0"},
		{"name=mx.example.org  addr=192.0.2.7 port=2525", OK, "mx.example.org", "", "",
			"192.0.2.7:2525"},
		{"ADDR=IPV6:2001:db8::1 PORT=25 PROTO=ESMTP", OK, "", "", "", "[2001:db8::1]:25"},
		{"NAME=[UNAVAILABLE] ADDR=[TEMPUNAVAIL] HELO=a.test", OK, "", "a.test", "", ""},
		{"LOGIN=bob+40example.test HELO=[192.0.2.1]", OK, "", "[192.0.2.1]",
			"bob@example.test", ""},
		{"", E_PARSE, "", "", "", ""},
		{"NAME", E_PARSE, "", "", "", ""},
		{"NAME=", E_PARSE, "", "", "", ""},
		{"NAME=a NAME=b", E_PARSE, "", "", "", ""},
		{"NAME=a(b", E_PARSE, "", "", "", ""},
		{"NAME=a+0D+0Ab", E_PARSE, "", "", "", ""},
		{"NAME=a+", E_PARSE, "", "", "", ""},
		{"ADDR=mx.example.org", E_PARSE, "", "", "", ""},
		{"ADDR=/run/x", E_PARSE, "", "", "", ""},
		{"ADDR=+2A", E_PARSE, "", "", "", ""},
		{"ADDR=192.0.2.7 PORT=65536", E_PARSE, "", "", "", ""},
		{"PORT=-1", E_PARSE, "", "", "", ""},
		{"PROTO=HTTP", E_PARSE, "", "", "", ""},
		{"SHELL=sh", E_PARSE, "", "", "", ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct lmtp_xclient c;
		char address[NET_ADDR_TEXT] = "";

		assert_int_equal(lmtp_xclient_parse(str_of(cases[i].args), &c), cases[i].e);
		if (cases[i].e)
			continue;
		if (c.addr.len)
			net_addr_format(&c.addr, address);
		assert_string_equal(c.name, cases[i].name);
		assert_string_equal(c.helo, cases[i].helo);
		assert_string_equal(c.login, cases[i].login);
		assert_string_equal(address, cases[i].address);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_attributes)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
