/* SPDX-License-Identifier: MIT */
#include "auth/addr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void
normal_forms(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{"alice@example.test", "alice@example.test"},
		{"Alice@EXAMPLE.Test", "alice@example.test"},
		{"\"Alice\"@example.test", "alice@example.test"},
		{"\"a\\lice\"@example.test", "alice@example.test"},
		{"\"a b\"@example.test", "\"a b\"@example.test"},
		{"\"a@b\"@example.test", "\"a@b\"@example.test"},
		{"\"a\\\"b\"@example.test", "\"a\\\"b\"@example.test"},
		{"a.b+c@x.example", "a.b+c@x.example"},
		{"J\xc3\x96RG@example.test", "j\xc3\xb6rg@example.test"},
		{"jo\xcc\x88rg@example.test", "j\xc3\xb6rg@example.test"},
		{"a@b\xc3\xbc"
		 "cher.example",
			"a@xn--bcher-kva.example"},
		{"a@[127.0.0.1]", "a@[127.0.0.1]"},
		{"a@[IPv6:::1]", "a@[ipv6:::1]"},
		{"'or'1'='1@example.test", "'or'1'='1@example.test"},
		{"o'brien@example.test", "o'brien@example.test"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct addr a;

		if (addr_parse(str_of(rows[i].in), &a))
			fail_msg("%s: not parsed", rows[i].in);
		assert_string_equal(a.text, rows[i].out);
	}
}

static void
refused(void **state)
{
	static const char *const rows[] = {"", "@", "a@", "@example.test", "alice",
		"a b@example.test", "a..b@example.test", ".a@example.test", "a.@example.test",
		"a@b@example.test", "\"\"@example.test", "\"a@example.test", "a\"@example.test",
		"\"a\\\"@example.test", "a@example..test", "a@.example", "a@example.test.",
		"a@-x.test", "a@x-.test", "a@ex ample", "a@exa/mple", "a\r\n@example.test",
		"a\t@example.test", "a@example.test\n", "\xff@example.test",
		"a\xc0\x80@example.test", "a@\xff.test", "a@[", "a@[]", "a@[1]x", "a@[../x]",
		"\"a\rb\"@example.test", "a'; DROP TABLE mailbox; --@example.test"};
	struct addr a;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (addr_parse(str_of(rows[i]), &a) != E_PARSE)
			fail_msg("%s: parsed", rows[i]);
	assert_int_equal(addr_parse(str_make("a\0b@example.test", 16), &a), E_PARSE);
}

static void
bounds(void **state)
{
	char text[2000];
	struct addr a;

	(void)state;
	memset(text, 'a', sizeof(text));
	memcpy(text + ADDR_LOCAL_MAX, "@x.test", 7);
	assert_int_equal(addr_parse(str_make(text, ADDR_LOCAL_MAX + 7), &a), OK);
	memset(text, 'a', sizeof(text));
	memcpy(text + ADDR_LOCAL_MAX + 1, "@x.test", 7);
	assert_int_equal(addr_parse(str_make(text, ADDR_LOCAL_MAX + 8), &a), E_TOOBIG);
	memcpy(text, "a@", 2);
	memset(text + 2, 'b', sizeof(text) - 2);
	assert_int_equal(addr_parse(str_make(text, 66), &a), E_PARSE);
	assert_int_equal(addr_parse(str_make(text, 400), &a), E_TOOBIG);
	assert_int_equal(addr_parse(str_make(text, sizeof(text)), &a), E_TOOBIG);
}

static void
details(void **state)
{
	static const struct {
		const char *in, *delimiters, *base, *detail;
	} rows[] = {
		{"alice+Work@example.test", "+", "alice@example.test", "Work"},
		{"alice+a+b@example.test", "+", "alice@example.test", "a+b"},
		{"alice-x@example.test", "+-", "alice@example.test", "x"},
		{"alice+@example.test", "+", "alice@example.test", ""},
		{"alice+x@example.test", "", NULL, NULL},
		{"alice@example.test", "+", NULL, NULL},
		{"+alice@example.test", "+", NULL, NULL},
		{"a.+x@example.test", "+", NULL, NULL},
		{"\"a b+c\"@example.test", "+", NULL, NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char detail[ADDR_LOCAL_MAX + 1];
		struct addr a, base;
		enum err e;

		if (addr_parse(str_of(rows[i].in), &a)) {
			assert_null(rows[i].base);
			continue;
		}
		e = addr_split_detail(&a, rows[i].delimiters, &base, detail);
		assert_int_equal(e, rows[i].base ? OK : E_NOTFOUND);
		if (e)
			continue;
		assert_string_equal(base.text, rows[i].base);
		assert_string_equal(detail, rows[i].detail);
	}
}

static void
mailbox_names(void **state)
{
	static const struct {
		const char *in;
		int good;
	} rows[] = {
		{"alice@example.test", 1},
		{"a/b@example.test", 0},
		{"\"../x\"@example.test", 0},
		{"\"..\"@example.test", 0},
		{"a@[127.0.0.1]", 0},
		{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@x.test", 1},
		{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@x.test", 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct addr a;

		assert_int_equal(addr_parse(str_of(rows[i].in), &a), OK);
		assert_int_equal(addr_is_mailbox_name(&a), rows[i].good);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(normal_forms),
		cmocka_unit_test(refused),
		cmocka_unit_test(bounds),
		cmocka_unit_test(details),
		cmocka_unit_test(mailbox_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
