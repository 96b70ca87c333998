/* SPDX-License-Identifier: MIT */
#include "proxy/proxy_header.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define V2 "\r\n\r\n\0\r\nQUIT\n"
#define BYTES(literal) STR(literal)

static const struct {
	const char *name;
	struct str in;
	enum proxy_header_result result;
	size_t used;
	const char *peer, *local; /* NULL: not known */
} cases[] = {
	{"tcp4", BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 5000 25\r\nEHLO"), PROXY_HEADER_DONE, 43,
		"192.0.2.1:5000", "198.51.100.2:25"},
	{"tcp6", BYTES("PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n"), PROXY_HEADER_DONE, 44,
		"[2001:db8::1]:1", "[2001:db8::2]:65535"},
	{"unknown", BYTES("PROXY UNKNOWN\r\n"), PROXY_HEADER_DONE, 15, NULL, NULL},
	{"unknown with text", BYTES("PROXY UNKNOWN what ever\r\nX"), PROXY_HEADER_DONE, 25, NULL,
		NULL},
	{"empty", BYTES(""), PROXY_HEADER_MORE, 0, NULL, NULL},
	{"beginning", BYTES("PRO"), PROXY_HEADER_MORE, 0, NULL, NULL},
	{"half", BYTES("PROXY TCP4 192.0.2.1"), PROXY_HEADER_MORE, 0, NULL, NULL},
	{"another protocol", BYTES("EHLO x\r\n"), PROXY_HEADER_BAD, 0, NULL, NULL},
	{"wrong family", BYTES("PROXY TCP4 ::1 ::1 1 2\r\n"), PROXY_HEADER_BAD, 0, NULL, NULL},
	{"bad address", BYTES("PROXY TCP4 192.0.2.256 192.0.2.1 1 2\r\n"), PROXY_HEADER_BAD, 0,
		NULL, NULL},
	{"port too large", BYTES("PROXY TCP4 192.0.2.1 192.0.2.1 65536 2\r\n"), PROXY_HEADER_BAD, 0,
		NULL, NULL},
	{"leading zero", BYTES("PROXY TCP4 192.0.2.1 192.0.2.1 01 2\r\n"), PROXY_HEADER_BAD, 0,
		NULL, NULL},
	{"port missing", BYTES("PROXY TCP4 192.0.2.1 192.0.2.1 1\r\n"), PROXY_HEADER_BAD, 0, NULL,
		NULL},
	{"too many fields", BYTES("PROXY TCP4 192.0.2.1 192.0.2.1 1 2 3\r\n"), PROXY_HEADER_BAD, 0,
		NULL, NULL},
	{"bare lf", BYTES("PROXY TCP4 192.0.2.1 192.0.2.1 1 2\n"), PROXY_HEADER_BAD, 0, NULL, NULL},
	{"v2 tcp4",
		BYTES(V2 "\x21\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x02\x13\x88\0\x19"
			 "EHLO"),
		PROXY_HEADER_DONE, 28, "192.0.2.1:5000", "198.51.100.2:25"},
	{"v2 tcp6",
		BYTES(V2 "\x21\x21\0\x24"
			 "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
			 "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02"
			 "\0\x01\0\x19"),
		PROXY_HEADER_DONE, 52, "[2001:db8::1]:1", "[2001:db8::2]:25"},
	{"v2 with a TLV",
		BYTES(V2 "\x21\x11\0\x10\xc0\0\x02\x01\xc6\x33\x64\x02\x13\x88\0\x19\x04\0\x01x"),
		PROXY_HEADER_DONE, 32, "192.0.2.1:5000", "198.51.100.2:25"},
	{"v2 local", BYTES(V2 "\x20\0\0\0"), PROXY_HEADER_DONE, 16, NULL, NULL},
	{"v2 unix", BYTES(V2 "\x21\x31\0\x01x"), PROXY_HEADER_DONE, 17, NULL, NULL},
	{"v2 signature only", BYTES(V2), PROXY_HEADER_MORE, 0, NULL, NULL},
	{"v2 half", BYTES(V2 "\x21\x11\0\x0c\xc0"), PROXY_HEADER_MORE, 0, NULL, NULL},
	{"v2 too short for its family", BYTES(V2 "\x21\x11\0\x04xxxx"), PROXY_HEADER_BAD, 0, NULL,
		NULL},
	{"v2 version 3", BYTES(V2 "\x31\x11\0\0"), PROXY_HEADER_BAD, 0, NULL, NULL},
	{"v2 command 2", BYTES(V2 "\x22\x11\0\0"), PROXY_HEADER_BAD, 0, NULL, NULL},
	{"v2 huge", BYTES(V2 "\x21\x11\xff\xff"), PROXY_HEADER_BAD, 0, NULL, NULL},
	{"v2 broken signature", BYTES("\r\n\r\n\0\r\nQUIX\n"), PROXY_HEADER_BAD, 0, NULL, NULL},
};

static void
test_cases(void **state)
{
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct proxy_header h;
		size_t used;
		char text[NET_ADDR_TEXT];
		enum proxy_header_result r = proxy_header_parse(cases[i].in, &h, &used);

		if (r != cases[i].result || (r == PROXY_HEADER_DONE && used != cases[i].used))
			fail_msg("%s: result %d used %zu", cases[i].name, (int)r, used);
		if (r != PROXY_HEADER_DONE)
			continue;
		assert_int_equal(h.known, cases[i].peer != NULL);
		if (!h.known)
			continue;
		net_addr_format(&h.peer, text);
		assert_string_equal(text, cases[i].peer);
		net_addr_format(&h.local, text);
		assert_string_equal(text, cases[i].local);
	}
}

/* However it is cut: every shorter beginning of a good header asks for more. */
static void
test_prefixes(void **state)
{
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		for (size_t n = 0; cases[i].result == PROXY_HEADER_DONE && n < cases[i].used; n++) {
			struct proxy_header h;
			size_t used;
			assert_int_equal(proxy_header_parse(str_make(cases[i].in.p, n), &h, &used),
				PROXY_HEADER_MORE);
		}
}

static void
test_long_line(void **state)
{
	char line[PROXY_HEADER_V1_MAX + 8];
	struct proxy_header h;
	size_t used;
	(void)state;

	memset(line, 'x', sizeof line);
	memcpy(line, "PROXY UNKNOWN ", 14);
	assert_int_equal(proxy_header_parse(str_make(line, PROXY_HEADER_V1_MAX - 1), &h, &used),
		PROXY_HEADER_MORE);
	assert_int_equal(proxy_header_parse(str_make(line, PROXY_HEADER_V1_MAX), &h, &used),
		PROXY_HEADER_BAD);
	memcpy(line + PROXY_HEADER_V1_MAX - 2, "\r\n", 2);
	assert_int_equal(proxy_header_parse(str_make(line, PROXY_HEADER_V1_MAX), &h, &used),
		PROXY_HEADER_DONE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_prefixes),
		cmocka_unit_test(test_long_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
