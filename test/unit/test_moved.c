/* SPDX-License-Identifier: MIT */
#include "auth/moved.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void
hosts(void **state)
{
	static const struct {
		const char *text, *want; /* NULL: E_PARSE */
	} table[] = {
		{"", ""},
		{"  ", ""},
		{"mail.example.net", "mail.example.net"},
		{" Mail-2.Example.NET\n", "mail-2.example.net"},
		{"localhost:1143", "localhost:1143"},
		{"192.0.2.1", "192.0.2.1"},
		{"192.0.2.1:65535", "192.0.2.1:65535"},
		{"[2001:DB8::1]", "[2001:db8::1]"},
		{"[::1]:143", "[::1]:143"},
		{"2001:db8::1", NULL},
		{"[2001:db8::1", NULL},
		{"[", NULL},
		{"[]", NULL},
		{"[::1]x", NULL},
		{"[::1]:", NULL},
		{"[example.net]", NULL},
		{"a:0", NULL},
		{"a:65536", NULL},
		{"a:", NULL},
		{"a:b", NULL},
		{":143", NULL},
		{"a..b", NULL},
		{".", NULL},
		{"-a.b", NULL},
		{"a-.b", NULL},
		{"a/b", NULL},
		{"a]b", NULL},
		{"a b", NULL},
		{"user@a", NULL},
		{"b\xc3\xbc.example", NULL},
	};
	char out[MOVED_HOST_MAX + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		memset(out, 'x', sizeof(out));
		assert_int_equal(
			moved_host_parse(str_of(table[i].text), out), table[i].want ? OK : E_PARSE);
		assert_string_equal(out, table[i].want ? table[i].want : "");
	}
}

/* The longest of all fits; one more letter does not pass. */
static void
lengths(void **state)
{
	char text[MOVED_HOST_MAX + 2], out[MOVED_HOST_MAX + 1];

	(void)state;
	for (size_t i = 0; i < 253; i++)
		text[i] = i % 50 == 49 ? '.' : 'a';
	memcpy(text + 253, ":65535", 7);
	assert_int_equal(moved_host_parse(str_of(text), out), OK);
	assert_string_equal(out, text);
	memcpy(text + 253, "a", 2);
	assert_int_equal(moved_host_parse(str_of(text), out), E_PARSE);
	assert_int_equal(moved_host_parse(str_make("a\0b", 3), out), E_PARSE);
	assert_int_equal(moved_host_parse(str_make("[::1\0]", 6), out), E_PARSE);
	assert_int_equal(moved_host_parse(str_make(NULL, 0), out), OK);
}

static void
referrals(void **state)
{
	static const struct {
		const char *user, *mechanism, *host, *want;
	} table[] = {
		{"alice@example.test", NULL, "mail.example.net",
			"[REFERRAL imap://alice%40example.test;AUTH=*@mail.example.net/] "
			"This account is on the server mail.example.net"},
		{"a-._~9", "SCRAM-SHA-256", "[::1]:143",
			"[REFERRAL imap://a-._~9;AUTH=SCRAM-SHA-256@[::1]:143/] "
			"This account is on the server [::1]:143"},
		{"a]b/c%;\xc3\xa4\r\n", "PLAIN", "h",
			"[REFERRAL imap://a%5Db%2Fc%25%3B%C3%A4%0D%0A;AUTH=PLAIN@h/] "
			"This account is on the server h"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct buf out = {0};

		moved_imap_put(
			str_of(table[i].user), table[i].mechanism, str_of(table[i].host), &out);
		assert_string_equal(buf_cstr(&out), table[i].want);
		buf_free(&out);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hosts), cmocka_unit_test(referrals), cmocka_unit_test(lengths)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
