/* SPDX-License-Identifier: MIT */
#include "trace/trace_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/buf.h"

static void
collect(void *arg, int from_client, struct str line)
{
	buf_printf(arg, "%c %.*s\n", from_client ? 'C' : 'S', STR_ARG(line));
}

/* Of "C: ..." and "S: ..." lines, what is shown; in pieces of piece bytes. */
static void
check(enum trace_protocol protocol, int content, const char *dialogue, const char *shown)
{
	for (size_t piece = 1; piece < 64; piece = piece * 3 + 1) {
		struct buf out = {0};
		struct trace_text *t = trace_text_create(protocol, collect, &out);
		struct str rest = str_of(dialogue);

		trace_text_set_content(t, content);
		while (rest.len) {
			struct str line = str_split(&rest, '\n');
			int from_client = line.p[0] == 'C';
			struct buf bytes = {0};

			buf_printf(&bytes, "%.*s\r\n", (int)line.len - 3, line.p + 3);
			for (size_t at = 0; at < bytes.len; at += piece)
				trace_text_feed(t, from_client, bytes.p + at,
					bytes.len - at < piece ? bytes.len - at : piece);
			buf_free(&bytes);
		}
		assert_string_equal(buf_cstr(&out), shown);
		trace_text_free(&t);
		buf_free(&out);
	}
}

static void
test_imap(void **state)
{
	(void)state;
	check(TRACE_IMAP, 0, "C: a SELECT INBOX\nS: * 1 EXISTS\nS: a OK done\n",
		"C a SELECT INBOX\nS * 1 EXISTS\nS a OK done\n");
	/* Credentials, in every way to send them. */
	check(TRACE_IMAP, 1, "C: a LOGIN alice secret\nS: a OK hello\nC: b NOOP\n",
		"C a LOGIN (credentials)\nS a OK hello\nC b NOOP\n");
	check(TRACE_IMAP, 1,
		"C: a  login {5}\nS: + go on\nC: alice {6}\nS: + go on\nC: secret\nS: a OK hello\nC: b NOOP\n",
		"C a login (credentials)\nS + go on\nC [5 bytes of credentials]\nC (credentials)\n"
		"S + go on\nC [6 bytes of credentials]\nC (credentials)\nS a OK hello\nC b NOOP\n");
	check(TRACE_IMAP, 1,
		"C: a AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==\nS: a NO no\nC: b AUTHENTICATE LOGIN\n"
		"S: + VXNlcm5hbWU6\nC: YWxpY2U=\nS: * BYE not the tag\nC: c2VjcmV0\nS: b OK\nC: c NOOP\n",
		"C a AUTHENTICATE PLAIN (credentials)\nS a NO no\n"
		"C b AUTHENTICATE LOGIN (credentials)\nS + VXNlcm5hbWU6\nC (credentials)\n"
		"S * BYE not the tag\nC (credentials)\nS b OK\nC c NOOP\n");
	/* A tag as long as a client likes. */
#define LONG "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789"
	check(TRACE_IMAP, 1,
		"C: " LONG " LOGIN {5}\nS: + go on\nC: alice {6}\nS: + go on\nC: secret\n"
		"S: " LONG " NO no\nC: c NOOP\n",
		"C " LONG " LOGIN (credentials)\nS + go on\nC [5 bytes of credentials]\n"
		"C (credentials)\nS + go on\nC [6 bytes of credentials]\nC (credentials)\n"
		"S " LONG " NO no\nC c NOOP\n");
	/* Content, left out and shown. */
	check(TRACE_IMAP, 0,
		"S: * 1 FETCH (ENVELOPE (\"date\" \"a \\\" b\" NIL) BODY[] {8}\nS: A: bcdef)\n"
		"C: a APPEND x {4}\nC: abcd\n",
		"S * 1 FETCH (ENVELOPE (\"...\" \"...\" NIL) BODY[] {8}\nS [8 bytes]\nS )\n"
		"C a APPEND x {4}\nC [4 bytes]\nC \n");
	check(TRACE_IMAP, 1, "S: * 1 FETCH (BODY[] {3}\nS: abc)\n",
		"S * 1 FETCH (BODY[] {3}\nS abc\nS )\n");
}

static void
test_pop3(void **state)
{
	(void)state;
	check(TRACE_POP3, 0,
		"C: USER alice\nS: +OK\nC: PASS secret\nS: +OK\nC: RETR 1\nS: +OK 5 octets\nS: Hi.\n"
		"S: ..\nS: .\nC: LIST\nS: +OK\nS: 1 5\nS: .\nC: APOP alice c4c9334bac560ecc979e58001b3e22fb\n",
		"C USER alice\nS +OK\nC PASS (credentials)\nS +OK\nC RETR 1\nS +OK 5 octets\n"
		"S [9 bytes]\nS .\nC LIST\nS +OK\nS 1 5\nS .\nC APOP (credentials)\n");
	check(TRACE_POP3, 0, "C: RETR 9\nS: -ERR none\nC: NOOP\nS: +OK\n",
		"C RETR 9\nS -ERR none\nC NOOP\nS +OK\n");
	check(TRACE_POP3, 1, "C: TOP 1 0\nS: +OK\nS: A: b\nS: .\n",
		"C TOP 1 0\nS +OK\nS A: b\nS .\n");
}

static void
test_smtp(void **state)
{
	(void)state;
	check(TRACE_SMTP, 0,
		"C: AUTH PLAIN AGFsaWNlAHNlY3JldA==\nS: 235 ok\nC: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\n"
		"C: YWxpY2U=\nS: 334 UGFzc3dvcmQ6\nC: c2VjcmV0\nS: 235 ok\nC: MAIL FROM:<>\nC: DATA\nS: 354 go\n"
		"C: Subject: x\nC: \nC: ..\nC: .\nS: 250 ok\nC: DATA\nS: 503 no\nC: NOOP\n",
		"C AUTH PLAIN (credentials)\nS 235 ok\nC AUTH LOGIN\nS 334 VXNlcm5hbWU6\nC (credentials)\n"
		"S 334 UGFzc3dvcmQ6\nC (credentials)\nS 235 ok\nC MAIL FROM:<>\nC DATA\nS 354 go\n"
		"C [18 bytes]\nC .\nS 250 ok\nC DATA\nS 503 no\nC NOOP\n");
	check(TRACE_SMTP, 0, "C: BDAT 6 LAST\nC: QUIT\nC: NOOP\n",
		"C BDAT 6 LAST\nC [6 bytes]\nC NOOP\n");
	check(TRACE_SMTP, 0, "C: BDAT 99999999999999999999999\nC: NOOP\n",
		"C BDAT 99999999999999999999999\nC NOOP\n");
}

/* A line without an end keeps its beginning only. */
static void
test_long_line(void **state)
{
	struct buf out = {0};
	struct trace_text *t = trace_text_create(TRACE_IMAP, collect, &out);

	(void)state;
	for (int i = 0; i < 100000; i++)
		trace_text_feed(t, 1, "x", 1);
	assert_int_equal(out.len, 0);
	trace_text_feed(t, 1, "\n", 1);
	assert_in_range(out.len, 500, 1000);
	trace_text_free(&t);
	buf_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_imap),
		cmocka_unit_test(test_pop3),
		cmocka_unit_test(test_smtp),
		cmocka_unit_test(test_long_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
