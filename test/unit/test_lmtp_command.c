/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "lmtp/lmtp_command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
verbs_in_any_case(void **state)
{
	static const struct {
		const char *line;
		enum lmtp_verb verb;
		const char *args;
	} cases[] = {
		{"LHLO mx.example.test", LMTP_LHLO, "mx.example.test"},
		{"lhlo  mx.example.test ", LMTP_LHLO, "mx.example.test"},
		{"EHLO x", LMTP_HELO, "x"},
		{"HELO x", LMTP_HELO, "x"},
		{"MAIL FROM:<>", LMTP_MAIL, "FROM:<>"},
		{"DATA", LMTP_DATA, ""},
		{"DATAX", LMTP_UNKNOWN, ""},
		{"", LMTP_UNKNOWN, ""},
		{" DATA", LMTP_UNKNOWN, "DATA"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct str args;

		assert_int_equal(lmtp_command_split(str_of(cases[i].line), &args), cases[i].verb);
		assert_true(str_is(args, cases[i].args));
	}
}

static void
paths_of_rcpt(void **state)
{
	static const struct {
		const char *args;
		enum err e;
		const char *address, *raw;
	} cases[] = {
		{"TO:<bob@example.test>", OK, "bob@example.test", "bob@example.test"},
		{"to: <bob@example.test>", OK, "bob@example.test", "bob@example.test"},
		{"TO:<bob+a.b@example.test>", OK, "bob+a.b@example.test", "bob+a.b@example.test"},
		{"TO:<Postmaster>", OK, "Postmaster", "Postmaster"},
		{"TO:<bob>", E_PARSE, "", ""},
		{"TO:<\"bob smith\"@example.test>", OK, "bob smith@example.test",
			"\"bob smith\"@example.test"},
		{"TO:<\"a@b\"@example.test>", OK, "a@b@example.test", "\"a@b\"@example.test"},
		{"TO:<\"q\\\"u\\\\\"@example.test>", OK, "q\"u\\@example.test",
			"\"q\\\"u\\\\\"@example.test"},
		{"TO:<\"a>b\"@example.test>", OK, "a>b@example.test", "\"a>b\"@example.test"},
		{"TO:<\"\"@example.test>", E_PARSE, "", ""},
		{"TO:<\"a@example.test>", E_PARSE, "", ""},
		{"TO:<\"a\\", E_PARSE, "", ""},
		{"TO:<\"a\"b@example.test>", E_PARSE, "", ""},
		{"TO:<@a.test,@b.test:bob@example.test>", OK, "bob@example.test",
			"bob@example.test"},
		{"TO:<@a.test:bob@example.test>", OK, "bob@example.test", "bob@example.test"},
		{"TO:<@a.test,bob@example.test>", E_PARSE, "", ""},
		{"TO:<@a.test>", E_PARSE, "", ""},
		{"TO:<@:bob@example.test>", E_PARSE, "", ""},
		{"TO:<bob@[127.0.0.1]>", OK, "bob@[127.0.0.1]", "bob@[127.0.0.1]"},
		{"TO:<bob@[IPv6:::1]>", OK, "bob@[IPv6:::1]", "bob@[IPv6:::1]"},
		{"TO:<bob@[]>", E_PARSE, "", ""},
		{"TO:<bob@[1.2.3.4>", E_PARSE, "", ""},
		{"TO:<>", E_PARSE, "", ""},
		{"TO:<@example.test>", E_PARSE, "", ""},
		{"TO:<bob@>", E_PARSE, "", ""},
		{"TO:<bob@example.test.>", E_PARSE, "", ""},
		{"TO:<bob@.example.test>", E_PARSE, "", ""},
		{"TO:<bob@exam ple.test>", E_PARSE, "", ""},
		{"TO:bob@example.test", E_PARSE, "", ""},
		{"TO:<bob@example.test", E_PARSE, "", ""},
		{"TO:<bob@example.test>x", E_PARSE, "", ""},
		{"TO:<bob@example.test> NOTIFY=NEVER", E_RANGE, "", ""},
		{"FROM:<bob@example.test>", E_PARSE, "", ""},
		{"TO:<b\303\266b@example.test>", E_UNSUPPORTED, "", ""},
		{"", E_PARSE, "", ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct lmtp_path path;
		enum err e = lmtp_rcpt_parse(str_of(cases[i].args), 0, &path);

		if (e != cases[i].e) {
			fail_msg("%s: %s", cases[i].args, err_word(e));
		}
		if (e == OK) {
			assert_string_equal(path.address, cases[i].address);
			assert_true(str_is(path.raw, cases[i].raw));
		}
	}
}

/* "<" count x "a" "@" count x "d" ">" */
static enum err
parse_long(size_t local, size_t domain, int quoted)
{
	char *text = calloc(1, local + domain + 16), *p = text;
	struct lmtp_path path;
	enum err e;

	p = mempcpy(p, "TO:<", 4);
	if (quoted) {
		*p++ = '"';
	}
	memset(p, 'a', local);
	p += local;
	if (quoted) {
		*p++ = '"';
	}
	*p++ = '@';
	memset(p, 'd', domain);
	p += domain;
	*p++ = '>';
	e = lmtp_rcpt_parse(str_make(text, (size_t)(p - text)), 0, &path);
	if (e == OK) {
		assert_int_equal(strlen(path.address), local + 1 + domain);
	}
	free(text);
	return e;
}

static void
long_paths_are_refused(void **state)
{
	(void)state;
	assert_int_equal(parse_long(LMTP_LOCAL_MAX, LMTP_DOMAIN_MAX, 0), OK);
	assert_int_equal(parse_long(LMTP_LOCAL_MAX, LMTP_DOMAIN_MAX, 1), OK);
	assert_int_equal(parse_long(LMTP_LOCAL_MAX + 1, 10, 0), E_TOOBIG);
	assert_int_equal(parse_long(LMTP_LOCAL_MAX + 1, 10, 1), E_TOOBIG);
	assert_int_equal(parse_long(10, LMTP_DOMAIN_MAX + 1, 0), E_TOOBIG);
	assert_int_equal(parse_long(1000000, 1000000, 0), E_TOOBIG);
}

static void
parameters_of_mail(void **state)
{
	static const struct {
		const char *args;
		enum err e;
		uint64_t size;
		int body_8bit;
	} cases[] = {
		{"FROM:<>", OK, 0, 0},
		{"FROM:<a@example.test> SIZE=123", OK, 123, 0},
		{"FROM:<a@example.test> BODY=8BITMIME size=5", OK, 5, 1},
		{"FROM:<a@example.test>  BODY=7bit", OK, 0, 0},
		{"FROM:<a@example.test> SIZE=18446744073709551615", OK, UINT64_MAX, 0},
		{"FROM:<a@example.test> SIZE=18446744073709551616", E_RANGE, 0, 0},
		{"FROM:<a@example.test> SIZE=", E_RANGE, 0, 0},
		{"FROM:<a@example.test> SIZE", E_RANGE, 0, 0},
		{"FROM:<a@example.test> SIZE=-1", E_RANGE, 0, 0},
		{"FROM:<a@example.test> SIZE=1 SIZE=1", E_RANGE, 0, 0},
		{"FROM:<a@example.test> BODY=BINARYMIME", E_RANGE, 0, 0},
		{"FROM:<a@example.test> SMTPUTF8", OK, 0, 0},
		{"FROM:<a@example.test> SMTPUTF8=1", E_RANGE, 0, 0},
		{"FROM:<a@example.test> SMTPUTF8 SMTPUTF8", E_RANGE, 0, 0},
		{"FROM:<\303\244@\303\266.test> SMTPUTF8", OK, 0, 0},
		{"FROM:<\"\303\244 b\"@\303\266.test> SMTPUTF8", OK, 0, 0},
		{"FROM:<\303@\303\266.test> SMTPUTF8", E_UNSUPPORTED, 0, 0},
		{"FROM:<\303\244@example.test>", E_UNSUPPORTED, 0, 0},
		{"FROM:<a@example.test> RET=HDRS", E_RANGE, 0, 0},
		{"FROM: <a@example.test>", OK, 0, 0},
		{"FROM:", E_PARSE, 0, 0},
		{"TO:<a@example.test>", E_PARSE, 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct lmtp_mail mail;
		enum err e = lmtp_mail_parse(str_of(cases[i].args), &mail);

		if (e != cases[i].e) {
			fail_msg("%s: %s", cases[i].args, err_word(e));
		}
		if (e == OK) {
			assert_true(mail.size == cases[i].size);
			assert_int_equal(mail.body_8bit, cases[i].body_8bit);
		}
	}
}

static void
sizes_of_bdat(void **state)
{
	static const struct {
		const char *args;
		enum err e;
		uint64_t size;
		int last;
	} cases[] = {
		{"0", OK, 0, 0},
		{"10 LAST", OK, 10, 1},
		{"10  last", OK, 10, 1},
		{"", E_PARSE, 0, 0},
		{"LAST", E_PARSE, 0, 0},
		{"10 FIRST", E_PARSE, 0, 0},
		{"-1", E_PARSE, 0, 0},
		{"99999999999999999999", E_RANGE, 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t size;
		int last;

		assert_int_equal(lmtp_bdat_parse(str_of(cases[i].args), &size, &last), cases[i].e);
		if (cases[i].e == OK) {
			assert_true(size == cases[i].size);
			assert_int_equal(last, cases[i].last);
		}
	}
}

static void
helo_names(void **state)
{
	(void)state;
	assert_true(lmtp_helo_ok(STR("mx.example.test")));
	assert_true(lmtp_helo_ok(STR("[127.0.0.1]")));
	assert_true(lmtp_helo_ok(STR("[IPv6:::1]")));
	assert_false(lmtp_helo_ok(STR("")));
	assert_false(lmtp_helo_ok(STR("a b")));
	assert_false(lmtp_helo_ok(STR("a\r\nX: y")));
	assert_false(lmtp_helo_ok(STR("(a)")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(verbs_in_any_case),
		cmocka_unit_test(paths_of_rcpt),
		cmocka_unit_test(long_paths_are_refused),
		cmocka_unit_test(parameters_of_mail),
		cmocka_unit_test(sizes_of_bdat),
		cmocka_unit_test(helo_names),
	};

	return cmocka_run_group_tests_name("lmtp_command", tests, NULL, NULL);
}
