/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "mta-lite/smtp_reply.h"

/* Replies of other servers: well-formed, odd and hostile. */

static void
replies(void **state)
{
	static const struct {
		const char *lines; /* separated by LF */
		enum err e;
		int done, code;
		const char *dsn, *line;
	} cases[] = {
		{"250 ok", OK, 1, 250, "2.0.0", "250 ok"},
		{"250", OK, 1, 250, "2.0.0", "250"},
		{"250 ", OK, 1, 250, "2.0.0", "250"},
		{"250-a\n250-b\n250 c", OK, 1, 250, "2.0.0", "250 a b c"},
		{"250-a", OK, 0, 250, "2.0.0", "250 a"},
		{"550 5.1.1 no such user", OK, 1, 550, "5.1.1", "550 5.1.1 no such user"},
		{"550 5.7.2", OK, 1, 550, "5.7.2", "550 5.7.2"},
		{"5.7.2", E_PROTO, 0, 0, "", ""},
		{"550 4.1.1 mixed up", OK, 1, 550, "5.0.0", "550 mixed up"},
		{"451 5.1.1111 x", OK, 1, 451, "4.0.0", "451 5.1.1111 x"},
		{"550-5.1.1 no\n550 5.1.1 such user", OK, 1, 550, "5.1.1",
			"550 5.1.1 no such user"},
		{"250-a\n550 b", OK, 1, 550, "5.0.0", "550 a b"},
		{"354 go on", OK, 1, 354, "2.0.0", "354 go on"},
		{"550 a\x01\x7f\xff z", OK, 1, 550, "5.0.0", "550 a??? z"},
		{"", E_PROTO, 0, 0, "", ""},
		{"25", E_PROTO, 0, 0, "", ""},
		{"2500 x", E_PROTO, 0, 0, "", ""},
		{"999 x", E_PROTO, 0, 0, "", ""},
		{"150 x", E_PROTO, 0, 0, "", ""},
		{"abc", E_PROTO, 0, 0, "", ""},
		{"HTTP/1.0 200 OK", E_PROTO, 0, 0, "", ""},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct smtp_reply r = {0};
		struct str lines = str_of(cases[i].lines);
		struct buf text = {0};
		enum err e = OK;

		do
			e = smtp_reply_line(&r, str_split(&lines, '\n'));
		while (e == OK && lines.p);
		if (e != cases[i].e)
			fail_msg("%s", cases[i].lines);
		if (e == OK) {
			assert_int_equal(r.done, cases[i].done);
			assert_int_equal(r.code, cases[i].code);
			assert_string_equal(smtp_reply_dsn(&r), cases[i].dsn);
			smtp_reply_format(&r, 1000, &text);
			assert_string_equal(buf_cstr(&text), cases[i].line);
		}
		buf_free(&text);
		smtp_reply_free(&r);
	}
}

static void
bounds(void **state)
{
	struct smtp_reply r = {0};
	struct buf text = {0};
	char line[3000];
	enum err e = OK;
	int i;

	(void)state;
	memset(line, 'x', sizeof(line));
	memcpy(line, "250-", 4);
	for (i = 0; i < 1000 && e == OK; i++)
		e = smtp_reply_line(&r, str_make(line, sizeof(line)));
	assert_int_equal(e, E_TOOBIG);
	assert_true(r.text.len <= SMTP_REPLY_TEXT_MAX);
	smtp_reply_format(&r, 100, &text);
	assert_int_equal(text.len, 100);
	buf_free(&text);
	smtp_reply_free(&r);
}

static void
next_reply_starts_anew(void **state)
{
	struct smtp_reply r = {0};

	(void)state;
	assert_int_equal(smtp_reply_line(&r, STR("550 5.1.1 no")), OK);
	assert_int_equal(smtp_reply_line(&r, STR("250 yes")), OK);
	assert_int_equal(r.code, 250);
	assert_string_equal(r.dsn, "");
	assert_true(str_is(buf_str(&r.text), "yes"));
	smtp_reply_free(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(replies),
		cmocka_unit_test(bounds),
		cmocka_unit_test(next_reply_starts_anew),
	};

	return cmocka_run_group_tests_name("smtp_reply", tests, NULL, NULL);
}
