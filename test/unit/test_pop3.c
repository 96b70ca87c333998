/* SPDX-License-Identifier: MIT */
#include "pop3/pop3_command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/buf.h"
#include "pop3/pop3_capa.h"
#include "pop3/pop3_send.h"

static void
commands(void **state)
{
	static const struct {
		const char *line;
		enum err e;
		enum pop3_verb verb;
		int count;
		uint32_t args[2];
	} cases[] = {
		{"STAT", OK, POP3_STAT, 0, {0}},
		{"stat ", OK, POP3_STAT, 0, {0}},
		{"STAT 1", E_PARSE, POP3_STAT, 0, {0}},
		{"LIST", OK, POP3_LIST, 0, {0}},
		{"LIST 7", OK, POP3_LIST, 1, {7}},
		{"LIST 7 8", E_PARSE, POP3_LIST, 0, {0}},
		{"UIDL 4294967295", OK, POP3_UIDL, 1, {UINT32_MAX}},
		{"UIDL 4294967296", E_RANGE, POP3_UIDL, 0, {0}},
		{"RETR", E_PARSE, POP3_RETR, 0, {0}},
		{"RETR 0", E_RANGE, POP3_RETR, 0, {0}},
		{"RETR -1", E_PARSE, POP3_RETR, 0, {0}},
		{"RETR 1x", E_PARSE, POP3_RETR, 0, {0}},
		{"TOP 1", E_PARSE, POP3_TOP, 0, {0}},
		{"TOP 1 0", OK, POP3_TOP, 2, {1, 0}},
		{"top  1  10", OK, POP3_TOP, 2, {1, 10}},
		{"TOP 0 10", E_RANGE, POP3_TOP, 0, {0}},
		{"DELE 3", OK, POP3_DELE, 1, {3}},
		{"NOOP", OK, POP3_NOOP, 0, {0}},
		{"RSET", OK, POP3_RSET, 0, {0}},
		{"QUIT", OK, POP3_QUIT, 0, {0}},
		{"CAPA", OK, POP3_CAPA, 0, {0}},
		{"LANG", OK, POP3_LANG, 0, {0}},
		{"lang  en ", OK, POP3_LANG, 0, {0}},
		{"LANG en de", E_PARSE, POP3_LANG, 0, {0}},
		{"USER x", E_UNSUPPORTED, POP3_UNKNOWN, 0, {0}},
		{"", E_UNSUPPORTED, POP3_UNKNOWN, 0, {0}},
		{"STATX", E_UNSUPPORTED, POP3_UNKNOWN, 0, {0}},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pop3_command c;
		enum err e = pop3_command_parse(str_of(cases[i].line), &c);

		if (e != cases[i].e) {
			fail_msg("%s: %s", cases[i].line, err_word(e));
		}
		assert_int_equal(c.verb, cases[i].verb);
		if (e == OK) {
			assert_int_equal(c.arg_count, cases[i].count);
			assert_memory_equal(c.args, cases[i].args, sizeof(c.args));
		}
	}
}

static void
languages(void **state)
{
	static const struct {
		const char *argument, *answer;
	} cases[] = {
		{"", "+OK Languages follow\r\ni-default English\r\nen English\r\n.\r\n"},
		{"*", "+OK en Texts are in English\r\n"},
		{"EN", "+OK en Texts are in English\r\n"},
		{"i-Default", "+OK i-default Texts are in English\r\n"},
		{"de", "-ERR There is no such language here\r\n"},
		{"en-GB", "-ERR There is no such language here\r\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf out = {0};

		pop3_lang_answer(&out, str_of(cases[i].argument));
		assert_string_equal(buf_cstr(&out), cases[i].answer);
		buf_free(&out);
	}
}

static void
capabilities(void **state)
{
	struct config *conf = conf_defaults("/nonexistent");
	struct buf out = {0};

	(void)state;
	pop3_capa_common(&out, conf);
	assert_non_null(strstr(buf_cstr(&out), "\r\nEXPIRE NEVER\r\n"));
	assert_null(strstr(buf_cstr(&out), "LOGIN-DELAY"));
	assert_non_null(strstr(buf_cstr(&out), "\r\nUTF8 USER\r\n"));
	buf_reset(&out);
	assert_int_equal(conf_set(conf, "pop3_expire", "30", NULL), OK);
	assert_int_equal(conf_set(conf, "pop3_login_delay", "1500ms", NULL), OK);
	pop3_capa_common(&out, conf);
	assert_non_null(strstr(buf_cstr(&out), "\r\nEXPIRE 30\r\nLOGIN-DELAY 2\r\n"));
	buf_reset(&out);
	assert_int_equal(conf_set(conf, "pop3_expire", "some time", NULL), OK);
	pop3_capa_common(&out, conf);
	assert_null(strstr(buf_cstr(&out), "EXPIRE"));
	buf_free(&out);
	conf_free(&conf);
}

static enum err
collect(void *arg, const char *p, size_t len)
{
	assert_true(len > 0);
	return buf_add(arg, p, len);
}

static void
messages_are_widened_and_stuffed(void **state)
{
	static const struct {
		const char *in, *out;
		uint64_t lines;
	} cases[] = {
		{"A: b\n\nx\n", "A: b\r\n\r\nx\r\n", UINT64_MAX},
		{"A: b\r\n\r\nx\r\n", "A: b\r\n\r\nx\r\n", UINT64_MAX},
		{"A: b\n\r\nx\r\ny\n", "A: b\r\n\r\nx\r\ny\r\n", UINT64_MAX},
		{"A: b\n\n.\n..\n.x\n", "A: b\r\n\r\n..\r\n...\r\n..x\r\n", UINT64_MAX},
		{".", "..\r\n", UINT64_MAX},
		{".\r\n.\r\n", "..\r\n..\r\n", UINT64_MAX},
		{"x", "x\r\n", UINT64_MAX},
		{"x\r", "x\r\r\n", UINT64_MAX},
		{"\n", "\r\n", UINT64_MAX},
		{"\n\n", "\r\n\r\n", UINT64_MAX},
		{"", "", UINT64_MAX},
		{"a\r.b\n", "a\r.b\r\n", UINT64_MAX},
		{"A: b\n\n1\n2\n3\n", "A: b\r\n\r\n", 0},
		{"A: b\n\n1\n2\n3\n", "A: b\r\n\r\n1\r\n2\r\n", 2},
		{"A: b\n\n1\n2\n3", "A: b\r\n\r\n1\r\n2\r\n3\r\n", 3},
		{"A: b\n\n1\n2\n3\n", "A: b\r\n\r\n1\r\n2\r\n3\r\n", 4000000000},
		{"A: b", "A: b\r\n", 0},
		{"A: b\n\n.1\n.2\n", "A: b\r\n\r\n..1\r\n", 1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf out = {0};

		assert_int_equal(
			pop3_send_message(str_of(cases[i].in), cases[i].lines, collect, &out), OK);
		assert_string_equal(buf_cstr(&out), cases[i].out);
		buf_free(&out);
	}
}

static enum err
fail_at(void *arg, const char *p, size_t len)
{
	(void)p;
	(void)len;
	return --*(int *)arg == 0 ? E_CLOSED : OK;
}

static void
an_error_of_the_sink_ends_it(void **state)
{
	(void)state;
	for (int n = 1; n <= 4; n++) {
		int left = n;

		assert_int_equal(
			pop3_send_message(STR("a\n.b\nc"), UINT64_MAX, fail_at, &left), E_CLOSED);
		assert_int_equal(left, 0);
	}
}

static void
plain_messages(void **state)
{
	(void)state;
	assert_true(pop3_is_plain(STR("A: b\r\n\r\nx.\r\n")));
	assert_false(pop3_is_plain(STR("A: b\r\n\r\n.x\r\n")));
	assert_false(pop3_is_plain(STR(".x\r\n")));
	assert_false(pop3_is_plain(STR("x\n")));
	assert_false(pop3_is_plain(STR("x")));
	assert_false(pop3_is_plain(STR("")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commands),
		cmocka_unit_test(languages),
		cmocka_unit_test(capabilities),
		cmocka_unit_test(messages_are_widened_and_stuffed),
		cmocka_unit_test(an_error_of_the_sink_ends_it),
		cmocka_unit_test(plain_messages),
	};

	return cmocka_run_group_tests_name("pop3", tests, NULL, NULL);
}
