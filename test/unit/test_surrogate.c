/* SPDX-License-Identifier: MIT */
#include "mail/surrogate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define AE "\xc3\xa4"
#define INVALID "<invalid@internationalized-address.invalid>"

static const struct {
	const char *name, *in, *out; /* out NULL: none is needed */
} cases[] = {
	{"nothing", "", NULL},
	{"ASCII", "Subject: a\r\n\r\nb\r\n", NULL},
	{"a body in UTF-8", "Subject: a\r\n\r\n" AE "\r\n", NULL},
	{"a header that is not UTF-8", "Subject: \xe4\r\n\r\n" AE "\r\n", NULL},
	{"the subject", "X: 1\nSubject: " AE "\nY: 2\n\n.\n",
		"X: 1\nSubject: =?UTF-8?B?w6Q=?=\r\nY: 2\n\n.\n"},
	{"both kinds of bytes", "A: \xe4\r\nB: " AE "\r\n\r\n",
		"A: \xe4\r\nB: =?UTF-8?B?w6Q=?=\r\n\r\n"},
	{"a header alone", "A: " AE, "A: =?UTF-8?B?w6Q=?=\r\n"},
	{"a display name", "To: b@c, J" AE " <j@d>\r\n\r\n",
		"To: b@c,\r\n =?UTF-8?B?SsOk?= <j@d>\r\n\r\n"},
	{"an address", "From: " AE "@x.test\r\n\r\n",
		"From: =?UTF-8?B?PMOkQHgudGVzdD4=?= " INVALID "\r\n\r\n"},
	{"a domain, in a group", "Cc: g: A <a@" AE ".test>, b@c;, d@e\r\n\r\n",
		"Cc: g: =?UTF-8?B?QSA8YUDDpC50ZXN0Pg==?= " INVALID ",\r\n b@c;,\r\n d@e\r\n\r\n"},
	{"fields with a syntax of their own",
		"Received: from " AE "\r\nMessage-ID: <" AE "@x>\r\n\tB\r\nTo: a@b\r\n\r\n",
		"To: a@b\r\n\r\n"},
	{"what is no field", AE "\r\nTo: a@b\r\n\r\n", "To: a@b\r\n\r\n"},
	{"parameters, in parts",
		"Content-Type: multipart/mixed; boundary=b; x=" AE "\r\n\r\n--b\r\n"
		"Content-Type: text/plain; charset=utf-8\r\n"
		"Content-Disposition: attachment; size=1; filename=\"" AE " b.txt\"\r\n\r\n" AE
		"\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: " AE "\r\n\r\n" AE
		"\r\n--b--\r\n",
		"Content-Type: multipart/mixed;\r\n boundary=\"b\";\r\n x*=utf-8''%C3%A4\r\n\r\n"
		"--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Disposition: attachment;\r\n"
		" size=\"1\";\r\n filename*=utf-8''%C3%A4%20b.txt\r\n\r\n" AE
		"\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: =?UTF-8?B?w6Q=?=\r\n\r\n" AE
		"\r\n--b--\r\n"},
};

static void
surrogates(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf out = {0};
		int made;

		assert_int_equal(surrogate_build(str_of(cases[i].in), &out, &made), OK);
		assert_int_equal(made, cases[i].out != NULL);
		if (strcmp(buf_cstr(&out), cases[i].out ? cases[i].out : "") != 0)
			fail_msg("%s: got\n%s", cases[i].name, buf_cstr(&out));
		buf_free(&out);
	}
}

/* Every header byte of a surrogate is ASCII, and it needs none itself, wherever the message ends.
 */
static void
a_surrogate_needs_none(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t len = strlen(cases[i].in);

		for (size_t cut = 0; cut <= len; cut++) {
			struct buf first = {0}, second = {0};
			int made;

			assert_int_equal(
				surrogate_build(str_make(cases[i].in, cut), &first, &made), OK);
			assert_int_equal(surrogate_build(buf_str(&first), &second, &made), OK);
			assert_int_equal(made, 0);
			buf_free(&first);
			buf_free(&second);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(surrogates),
		cmocka_unit_test(a_surrogate_needs_none),
	};

	return cmocka_run_group_tests_name("surrogate", tests, NULL, NULL);
}
