/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "mta-lite/smtp_args.h"
#include "mta-lite/smtp_path.h"

/* Reverse-path and forward-path, and the parameters behind them. */

static void
paths(void **state)
{
	static const struct {
		const char *in;
		enum err e;
		const char *address, *rest;
	} cases[] = {
		{"<>", OK, "", ""},
		{"<> SIZE=1", OK, "", " SIZE=1"},
		{"<a@b>", OK, "a@b", ""},
		{"<A.b+c@Example.COM>", OK, "A.b+c@example.com", ""},
		{"<postmaster>", OK, "postmaster", ""},
		{"<\"a b\"@example.com>", OK, "\"a b\"@example.com", ""},
		{"<\"a>b\"@example.com>x", OK, "\"a>b\"@example.com", "x"},
		{"<\"a@c\"@example.com>", OK, "\"a@c\"@example.com", ""},
		{"<\"plain\"@example.com>", OK, "plain@example.com", ""},
		{"<\"a\\\"b\"@example.com>", OK, "\"a\\\"b\"@example.com", ""},
		{"<\"p\\l\\ain\"@example.com>", OK, "plain@example.com", ""},
		{"<\"\"@example.com>", OK, "\"\"@example.com", ""},
		{"<@x.com:a@b>", OK, "a@b", ""},
		{"<@x.com,@y.com:a@b>", OK, "a@b", ""},
		{"<a%b@example.com>", OK, "a%b@example.com", ""},
		{"<a@[192.0.2.1]>", OK, "a@[192.0.2.1]", ""},
		{"<a@[IPv6:2001:db8::1]>", OK, "a@[ipv6:2001:db8::1]", ""},
		{"", E_PARSE, NULL, NULL},
		{"<", E_PARSE, NULL, NULL},
		{"a@b", E_PARSE, NULL, NULL},
		{"<a@b", E_PARSE, NULL, NULL},
		{"<a@>", E_PARSE, NULL, NULL},
		{"<@b>", E_PARSE, NULL, NULL},
		{"<a@b c>", E_PARSE, NULL, NULL},
		{"<a b@c>", E_PARSE, NULL, NULL},
		{"<.a@b>", E_PARSE, NULL, NULL},
		{"<a.@b>", E_PARSE, NULL, NULL},
		{"<a..b@c>", E_PARSE, NULL, NULL},
		{"<a@b..c>", E_PARSE, NULL, NULL},
		{"<a@-b>", E_PARSE, NULL, NULL},
		{"<a@b->", E_PARSE, NULL, NULL},
		{"<a@b@c>", E_PARSE, NULL, NULL},
		{"<a@[1.2.3]>", E_PARSE, NULL, NULL},
		{"<a@[1.2.3.4>", E_PARSE, NULL, NULL},
		{"<a@[IPv6:zz]>", E_PARSE, NULL, NULL},
		{"<\"a@b>", E_PARSE, NULL, NULL},
		{"<\"a\\\"@b>", E_PARSE, NULL, NULL},
		{"<\"a\"b@c>", E_PARSE, NULL, NULL},
		{"<a\n@b>", E_PARSE, NULL, NULL},
		{"<\"a\r\n\"@b>", E_PARSE, NULL, NULL},
		{"<;sleep 66;@b>", E_PARSE, NULL, NULL},
		{"<@x.com a@b>", E_PARSE, NULL, NULL},
		{"<@x.com,y.com:a@b>", E_PARSE, NULL, NULL},
		/* RFC 6531: other letters, domains by their A-labels. */
		{"<\xc3\xa9@b>", OK, "\xc3\xa9@b", ""},
		{"<\xc3\xa9.\xe4\xb8\xad@b> X", OK, "\xc3\xa9.\xe4\xb8\xad@b", " X"},
		{"<\"\xc3\xa9 x\"@b>", OK, "\"\xc3\xa9 x\"@b", ""},
		{"<a@B\xc3\x9c"
		 "cher.Example>",
			OK, "a@xn--bcher-kva.example", ""},
		{"<a@xn--bcher-kva.example>", OK, "a@xn--bcher-kva.example", ""},
		{"<a@\xe2\x80\x8b.example>", E_PARSE, NULL, NULL},
		{"<a@-\xc3\xbc.example>", E_PARSE, NULL, NULL},
		{"<.\xc3\xa9@b>", E_PARSE, NULL, NULL},
		{"<\xc3@b>", E_UNSUPPORTED, NULL, NULL},
		{"<\xff@b>", E_UNSUPPORTED, NULL, NULL},
		{"<a@\xed\xa0\x80.b>", E_UNSUPPORTED, NULL, NULL},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct str s = str_of(cases[i].in);
		struct smtp_path p;

		if (smtp_path_cut(&s, &p) != cases[i].e)
			fail_msg("%s", cases[i].in);
		if (cases[i].e)
			continue;
		assert_string_equal(p.address, cases[i].address);
		assert_true(str_is(s, cases[i].rest));
	}
}

static void
long_paths(void **state)
{
	char text[1200];
	struct smtp_path p;
	struct str s;
	size_t n;

	(void)state;
	for (n = 1; n < 1100; n += 7) {
		text[0] = '<';
		memset(text + 1, 'a', n);
		memcpy(text + 1 + n, "@b.c>", 6);
		s = str_of(text);
		assert_int_equal(smtp_path_cut(&s, &p) == OK, n <= SMTP_LOCAL_MAX);
		memcpy(text, "<a@", 3);
		memset(text + 3, 'b', n);
		memcpy(text + 3 + n, ">", 2);
		s = str_of(text);
		assert_int_equal(smtp_path_cut(&s, &p) == OK, n <= 63);
	}
}

static void
mail_and_rcpt(void **state)
{
	static const struct {
		const char *in;
		int rcpt, code; /* 0: accepted */
	} cases[] = {
		{"FROM:<a@b>", 0, 0},
		{"from: <a@b>", 0, 0},
		{"FROM:<>", 0, 0},
		{"FROM:<a@b> SIZE=10 BODY=8BITMIME RET=FULL ENVID=x+2By", 0, 0},
		{"FROM:<a@b> ENVID=x+00", 0, 501},
		{"FROM:<a@b> ENVID=x+0A", 0, 501},
		{"FROM:<a@b> ENVID=x+2b", 0, 501},
		{"FROM:<a@b> ENVID=x+2", 0, 501},
		{"FROM:<a@b> ENVID=", 0, 501},
		{"FROM:<a@b> ENVID=a ENVID=b", 0, 501},
		{"FROM:<a@b> RET=SOME", 0, 501},
		{"FROM:<a@b> RET=FULL RET=HDRS", 0, 501},
		{"FROM:<a@b> SIZE=-1", 0, 501},
		{"FROM:<a@b> SIZE=99999999999999999999999", 0, 501},
		{"FROM:<a@b> SIZE", 0, 501},
		{"FROM:<a@b> BODY=BINARYMIME", 0, 0},
		{"FROM:<a@b> BODY=16BIT", 0, 501},
		{"FROM:<a@b> SMTPUTF8", 0, 0},
		{"FROM:<a@b> SMTPUTF8=1", 0, 501},
		{"FROM:<a@b> SMTPUTF8 SMTPUTF8", 0, 501},
		{"FROM:<\xc3\xa9@b> SMTPUTF8", 0, 0},
		{"FROM:<\xc3\xa9@b>", 0, 550},
		{"FROM:<a@\xc3\xbc.b>", 0, 550},
		{"FROM:<\xff@b> SMTPUTF8", 0, 550},
		{"TO:<\xc3\xa9@b>", 1, 553},
		{"TO:<a@b> ORCPT=utf-8;\\x{E9}@b", 1, 0},
		{"TO:<a@b> ORCPT=utf-8;\\x{e9}@b", 1, 0},
		{"TO:<a@b> ORCPT=utf-8;\\x{0A}@b", 1, 501},
		{"TO:<a@b> ORCPT=utf-8;\\x{D800}@b", 1, 501},
		{"TO:<a@b> ORCPT=utf-8;\\x{041}@b", 1, 501},
		{"TO:<a@b> ORCPT=utf-8;\\x{41}@b", 1, 501},
		{"TO:<a@b> ORCPT=utf-8;\\x{110000}@b", 1, 501},
		{"TO:<a@b> ORCPT=utf-8;\\x{E9@b", 1, 501},
		{"TO:<a@b> ORCPT=utf-8;\xff@b", 1, 501},
		{"TO:<a@b> ORCPT=rfc822;\xc3\xa9@b", 1, 501},
		{"TO:<a@b> ORCPT=rfc822;+C3@b", 1, 501},
		{"TO:<a@b> ORCPT=rfc822;+7F@b", 1, 501},
		{"TO:<a@b> ORCPT=utf-8;a+2B@b", 1, 501},
		{"FROM:<a@b> AUTH=<>", 0, 555},
		{"FROM:<a@b>SIZE=1", 0, 501},
		{"FROM:<postmaster>", 0, 501},
		{"FROM <a@b>", 0, 501},
		{"", 0, 501},
		{"TO:<a@b>", 1, 0},
		{"TO:<Postmaster>", 1, 0},
		{"TO:<a@b> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2Bb@c", 1, 0},
		{"TO:<a@b> NOTIFY=NEVER", 1, 0},
		{"TO:<a@b> NOTIFY=NEVER,DELAY", 1, 501},
		{"TO:<a@b> NOTIFY=", 1, 501},
		{"TO:<a@b> NOTIFY=SUCCESS,", 1, 501},
		{"TO:<a@b> ORCPT=rfc822", 1, 501},
		{"TO:<a@b> ORCPT=;a@b", 1, 501},
		{"TO:<a@b> ORCPT=rfc822;a+00", 1, 501},
		{"TO:<a@b> ORCPT=rfc822;a b", 1, 555},
		{"TO:<>", 1, 501},
		{"TO:<a>", 1, 501},
	};
	struct smtp_mail mail;
	struct smtp_rcpt rcpt;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct str s = str_of(cases[i].in);
		const char *reject = cases[i].rcpt ? smtp_rcpt_parse(s, 1, 0, &rcpt)
						   : smtp_mail_parse(s, 1, 0, &mail);
		uint32_t code = 0;

		if (reject)
			assert_int_equal(str_to_u32(str_make(reject, 3), &code), OK);
		if ((int)code != cases[i].code)
			fail_msg("%s: %s", cases[i].in, reject ? reject : "accepted");
	}
}

static void
values(void **state)
{
	struct smtp_mail mail;
	struct smtp_rcpt rcpt;

	(void)state;
	assert_null(smtp_mail_parse(
		STR("FROM:<a@b> SIZE=10 RET=HDRS ENVID=x+2By AUTH=<>"), 1, 1, &mail));
	assert_int_equal(mail.size, 10);
	assert_int_equal(mail.ret, DSN_RET_HDRS);
	assert_string_equal(mail.envid, "x+y");
	assert_null(smtp_rcpt_parse(STR("TO:<a@b> ORCPT=rfc822;a+2Bb@c"), 1, 0, &rcpt));
	assert_string_equal(rcpt.orcpt, "rfc822;a+b@c");
	/* No parameters without EHLO. */
	assert_non_null(smtp_mail_parse(STR("FROM:<\xc3\xa9@b> SMTPUTF8"), 0, 0, &mail));
	assert_non_null(smtp_mail_parse(STR("FROM:<a@b> SIZE=10"), 0, 0, &mail));
}

static void
orcpt_in_other_letters(void **state)
{
	struct smtp_rcpt rcpt;
	struct buf out = {0};

	(void)state;
	/* RFC 6533 section 3. */
	assert_null(smtp_rcpt_parse(
		STR("TO:<\xc3\xa9@b> ORCPT=utf-8;\\x{E9}\\x{1F600}\\x{2B}\xc3\xbc@b"), 1, 1,
		&rcpt));
	assert_string_equal(rcpt.orcpt, "utf-8;\xc3\xa9\xf0\x9f\x98\x80+\xc3\xbc@b");
	dsn_orcpt_format(str_of(rcpt.orcpt), 0, &out);
	assert_string_equal(buf_cstr(&out), "utf-8;\\x{E9}\\x{1F600}\\x{2B}\\x{FC}@b");
	buf_reset(&out);
	dsn_orcpt_format(str_of(rcpt.orcpt), 1, &out);
	assert_string_equal(buf_cstr(&out), "utf-8;\xc3\xa9\xf0\x9f\x98\x80\\x{2B}\xc3\xbc@b");
	buf_free(&out);
	/* As Postfix has it. */
	assert_null(smtp_rcpt_parse(STR("TO:<\xc3\xa9@b> ORCPT=rfc822;+C3+A9+2B@b"), 1, 1, &rcpt));
	assert_string_equal(rcpt.orcpt, "rfc822;\xc3\xa9+@b");
}

static void
xtext(void **state)
{
	struct buf out = {0}, back = {0};
	char all[95];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(all); i++)
		all[i] = (char)(' ' + i);
	dsn_xtext_encode(str_make(all, sizeof(all)), &out);
	assert_int_equal(dsn_xtext_decode(buf_str(&out), &back), OK);
	assert_true(str_equal(buf_str(&back), str_make(all, sizeof(all))));
	buf_free(&out);
	buf_free(&back);
}

/* MT-PRIORITY, FUTURERELEASE, REQUIRETLS, BINARYMIME. */
static void
extensions(void **state)
{
	static const struct {
		const char *args;
		int good, priority, tls, binary;
		int64_t hold_for, hold_until;
	} cases[] = {
		{"FROM:<a@b> MT-PRIORITY=3", 1, 3, 0, 0, 0, 0},
		{"FROM:<a@b> MT-PRIORITY=-9", 1, -9, 0, 0, 0, 0},
		{"FROM:<a@b> MT-PRIORITY=10", 0, 0, 0, 0, 0, 0},
		{"FROM:<a@b> MT-PRIORITY=+1", 0, 0, 0, 0, 0, 0},
		{"FROM:<a@b> MT-PRIORITY=-", 0, 0, 0, 0, 0, 0},
		{"FROM:<a@b> MT-PRIORITY=1 MT-PRIORITY=1", 0, 0, 0, 0, 0, 0},
		{"FROM:<a@b> REQUIRETLS BODY=8BITMIME", 1, 0, 1, 0, 0, 0},
		{"FROM:<a@b> REQUIRETLS=", 0, 0, 0, 0, 0, 0},
		{"FROM:<a@b> REQUIRETLS=yes", 0, 0, 0, 0, 0, 0},
		{"FROM:<a@b> BODY=BINARYMIME", 1, 0, 0, 1, 0, 0},
		{"FROM:<a@b> HOLDFOR=3600", 1, 0, 0, 0, 3600, 0},
		{"FROM:<a@b> HOLDFOR=0", 0, 0, 0, 0, 0, 0},
		{"FROM:<a@b> HOLDFOR=-1", 0, 0, 0, 0, 0, 0},
		{"FROM:<a@b> HOLDFOR=1234567890", 0, 0, 0, 0, 0, 0},
		{"FROM:<a@b> HOLDUNTIL=2026-12-24T18:00:00Z", 1, 0, 0, 0, 0, 1798135200},
		{"FROM:<a@b> HOLDUNTIL=2026-13-24T18:00:00Z", 0, 0, 0, 0, 0, 0},
		{"FROM:<a@b> HOLDUNTIL=2026-12-24T18:00:00", 0, 0, 0, 0, 0, 0},
		{"FROM:<a@b> HOLDUNTIL=2026-12-24 18:00:00Z", 0, 0, 0, 0, 0, 0},
		{"FROM:<a@b> HOLDFOR=5 HOLDUNTIL=2026-12-24T18:00:00Z", 0, 0, 0, 0, 0, 0},
		{"FROM:<a@b> ENVID=a+00b", 0, 0, 0, 0, 0, 0},
		{"FROM:<a@b> ENVID=a+0Ab", 0, 0, 0, 0, 0, 0},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct smtp_mail m;
		const char *reject = smtp_mail_parse(str_of(cases[i].args), 1, 0, &m);

		if ((reject == NULL) != cases[i].good)
			fail_msg("%s: %s", cases[i].args, reject ? reject : "taken");
		if (reject)
			continue;
		assert_int_equal(m.priority, cases[i].priority);
		assert_int_equal(m.require_tls, cases[i].tls);
		assert_int_equal(m.binary, cases[i].binary);
		assert_int_equal(m.hold_for, cases[i].hold_for);
		assert_int_equal(m.hold_until, cases[i].hold_until);
	}
}

static void
brackets(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{"FROM:a@b", "FROM:<a@b>"},
		{"FROM: a@b SIZE=1", "FROM:<a@b> SIZE=1"},
		{"FROM:<a@b>", "FROM:<a@b>"},
		{"FROM:<a@b", "FROM:<a@b"},
		{"FROM:", "FROM:"},
		{"FROM", "FROM"},
	};
	struct buf space = {0};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_true(
			str_is(smtp_args_add_brackets(str_of(cases[i].in), &space), cases[i].out));
	buf_free(&space);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(extensions),
		cmocka_unit_test(brackets),
		cmocka_unit_test(paths),
		cmocka_unit_test(long_paths),
		cmocka_unit_test(mail_and_rcpt),
		cmocka_unit_test(values),
		cmocka_unit_test(orcpt_in_other_letters),
		cmocka_unit_test(xtext),
	};

	return cmocka_run_group_tests_name("smtp_path", tests, NULL, NULL);
}
