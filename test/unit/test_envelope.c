/* SPDX-License-Identifier: MIT */
#include "mail/envelope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
writes_strings(void **state)
{
	static const struct {
		struct str in;
		const char *out;
	} cases[] = {
		{{NULL, 0}, "NIL"},
		{{"", 0}, "\"\""},
		{{"a b", 3}, "\"a b\""},
		{{"a\"\\", 3}, "\"a\\\"\\\\\""},
		{{"\xc3\xa4", 2}, "{2}\r\n\xc3\xa4"},
		{{"a\r\nb", 4}, "{4}\r\na\r\nb"},
		{{"a\0b", 3}, "{3}\r\na\x80"
			      "b"},
		{{"\x7f", 1}, "{1}\r\n\x7f"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf b = {0};

		assert_int_equal(envelope_write_nstring(cases[i].in, &b), OK);
		assert_string_equal(buf_cstr(&b), cases[i].out);
		buf_free(&b);
	}
}

static const struct {
	const char *in, *out;
} envelope_cases[] = {
	{"", "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"},
	{"Subject:\n\n", "(NIL \"\" NIL NIL NIL NIL NIL NIL NIL NIL)"},
	{"From: a@b\n\n", "(NIL NIL ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" \"b\")) "
			  "((NIL NIL \"a\" \"b\")) NIL NIL NIL NIL NIL)"},
	{"From: a@b\nSender:\nReply-To: c@d\n\n",
		"(NIL NIL ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" \"b\")) ((NIL NIL \"c\" \"d\")) NIL NIL "
		"NIL NIL NIL)"},
	{"To: g:;\nCc: A <x@y>\nCc: z@z\nBcc: (c)\n\n",
		"(NIL NIL NIL NIL NIL ((NIL NIL \"g\" NIL)(NIL NIL NIL NIL)) "
		"((\"A\" NIL \"x\" \"y\")(NIL NIL \"z\" \"z\")) NIL NIL NIL)"},
	{"Date: Thu, 1 Feb 2024\n 10:11:12 +0100\nSubject: a \"b\" \\\nSubject: second\n"
	 "In-Reply-To: <1@a>\nMessage-ID: <2@a>\n\n",
		"(\"Thu, 1 Feb 2024 10:11:12 +0100\" \"a \\\"b\\\" \\\\\" NIL NIL NIL NIL NIL NIL "
		"\"<1@a>\" \"<2@a>\")"},
	{"Subject: \xc3\xa4\n\n", "(NIL {2}\r\n\xc3\xa4 NIL NIL NIL NIL NIL NIL NIL NIL)"},
	{"To: joe\n\n", "(NIL NIL NIL NIL NIL ((NIL NIL \"joe\" \"\")) NIL NIL NIL NIL)"},
};

static void
writes_envelopes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(envelope_cases) / sizeof(envelope_cases[0]); i++) {
		struct mime_message *m;
		struct buf b = {0};

		mime_parse(str_of(envelope_cases[i].in), NULL, &m);
		assert_int_equal(envelope_write(m->root, &b), OK);
		assert_string_equal(buf_cstr(&b), envelope_cases[i].out);
		buf_free(&b);
		mime_message_free(&m);
	}
}

#define US_ASCII "(\"charset\" \"us-ascii\")"
#define EMPTY "(\"text\" \"plain\" " US_ASCII " NIL NIL \"7bit\" 0 0"
#define NO_ENVELOPE "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"

static const struct {
	const char *in, *body, *structure;
} body_cases[] = {
	{"", EMPTY ")", EMPTY " NIL NIL NIL NIL)"},
	{"\na\nb\r\n", "(\"text\" \"plain\" " US_ASCII " NIL NIL \"7bit\" 6 2)",
		"(\"text\" \"plain\" " US_ASCII " NIL NIL \"7bit\" 6 2 NIL NIL NIL NIL)"},
	{"Content-Type: text/html\n\n", "(\"text\" \"html\" NIL NIL NIL \"7bit\" 0 0)",
		"(\"text\" \"html\" NIL NIL NIL \"7bit\" 0 0 NIL NIL NIL NIL)"},
	{"Content-Type: image/png; name*=utf-8''%C3%A4\nContent-Transfer-Encoding: base64\n"
	 "Content-ID: <i>\nContent-Description: d\nContent-MD5: m\nContent-Language: en, de\n"
	 "Content-Location: l\nContent-Disposition: inline; a=b; c=d\n\nAAAA\n",
		"(\"image\" \"png\" (\"name*\" \"utf-8''%C3%A4\") \"<i>\" \"d\" \"base64\" 6)",
		"(\"image\" \"png\" (\"name*\" \"utf-8''%C3%A4\") \"<i>\" \"d\" \"base64\" 6 \"m\" "
		"(\"inline\" (\"a\" \"b\" \"c\" \"d\")) (\"en\" \"de\") \"l\")"},
	{"Content-Type: multipart/mixed; boundary=b\nContent-Disposition: x\n\n--b\n\n1\n--b\n\n--b--\n",
		"((\"text\" \"plain\" " US_ASCII " NIL NIL \"7bit\" 1 0)" EMPTY ") \"mixed\")",
		"((\"text\" \"plain\" " US_ASCII " NIL NIL \"7bit\" 1 0 NIL NIL NIL NIL)" EMPTY
		" NIL NIL NIL NIL) \"mixed\" (\"boundary\" \"b\") (\"x\" NIL) NIL NIL)"},
	/* A multipart without parts is given one. */
	{"Content-Type: multipart/mixed\n\nx\n", "(" EMPTY ") \"mixed\")",
		"(" EMPTY " NIL NIL NIL NIL) \"mixed\" NIL NIL NIL NIL)"},
	/* So is one whose header is all there is of it. */
	{"Content-Type: multipart/mixed; boundary=b\n", "(" EMPTY ") \"mixed\")", NULL},
	{"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/x\n--b--\n",
		"((" EMPTY ") \"x\") \"mixed\")", NULL},
	{"Content-Type: message/rfc822\n\nSubject: s\n\nb\n",
		"(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 17 (NIL \"s\" NIL NIL NIL NIL NIL NIL NIL "
		"NIL) (\"text\" \"plain\" " US_ASCII " NIL NIL \"7bit\" 3 1) 3)",
		NULL},
	{"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nAA\n",
		"(\"message\" \"rfc822\" NIL NIL NIL \"base64\" 4 " NO_ENVELOPE " " EMPTY ") 1)",
		NULL},
	{"Content-Type: message/delivery-status\n\nA: b\n",
		"(\"message\" \"delivery-status\" NIL NIL NIL \"7bit\" 6)", NULL},
};

static void
writes_bodies(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(body_cases) / sizeof(body_cases[0]); i++) {
		struct mime_message *m;
		struct buf b = {0};

		mime_parse(str_of(body_cases[i].in), NULL, &m);
		assert_int_equal(envelope_write_body(m, &b), OK);
		assert_string_equal(buf_cstr(&b), body_cases[i].body);
		buf_reset(&b);
		assert_int_equal(envelope_write_bodystructure(m, &b), OK);
		if (body_cases[i].structure)
			assert_string_equal(buf_cstr(&b), body_cases[i].structure);
		buf_free(&b);
		mime_message_free(&m);
	}
}

static void
stays_within_the_bound(void **state)
{
	struct mime_message *m;
	struct buf whole = {0};

	(void)state;
	mime_parse(
		str_of("From: Ann <a@b>\nSubject: x\nContent-Type: multipart/mixed; boundary=b\n\n"
		       "--b\nContent-Type: text/plain; a=b\n\n--b--"),
		NULL, &m);
	envelope_write(m->root, &whole);
	for (size_t max = 1; max < 100; max++) {
		struct buf b = BUF_INIT(max);

		assert_int_equal(envelope_write(m->root, &b), max < whole.len ? E_TOOBIG : OK);
		buf_reset(&b);
		assert_int_equal(envelope_write_bodystructure(m, &b), E_TOOBIG);
		assert_true(b.len <= max);
		buf_free(&b);
	}
	buf_free(&whole);
	mime_message_free(&m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_strings),
		cmocka_unit_test(writes_envelopes),
		cmocka_unit_test(writes_bodies),
		cmocka_unit_test(stays_within_the_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
