/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mail/convert.h"

struct convert_case {
	const char *name;
	enum convert_channel channel;
	const char *in;
	size_t in_len; /* 0: strlen */
	const char *out; /* NULL: need not be converted */
};

#define NUL_BODY "Content-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\na\0b\r\n"

static const struct convert_case cases[] = {
	{"plain text fits both", CONVERT_7BIT, "Subject: a\r\n\r\nhello\r\n", 0, NULL},
	{"8-bit text fits 8BITMIME", CONVERT_8BIT,
		"Content-Transfer-Encoding: 8bit\r\n\r\n\xc3\xa4\r\n", 0, NULL},
	{"8-bit text to 7 bits", CONVERT_7BIT,
		"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
		"content-transfer-encoding: 8bit\r\nSubject: a\r\n\r\n\xc3\xa4 = b\r\n",
		0,
		"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nSubject: a\r\n"
		"Content-Transfer-Encoding: quoted-printable\r\n\r\n=C3=A4 =3D b\r\n"},
	{"8-bit text without MIME", CONVERT_7BIT, "Subject: a\n\n\xe4\n", 0,
		"Subject: a\nMIME-Version: 1.0\r\n"
		"Content-Type: text/plain; charset=unknown-8bit\r\n"
		"Content-Transfer-Encoding: quoted-printable\r\n\n=E4\r\n"},
	{"an encoded part is left alone", CONVERT_7BIT,
		"MIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n\r\n\xe4\r\n", 0, NULL},
	{"binary becomes base64", CONVERT_8BIT, "MIME-Version: 1.0\r\n" NUL_BODY,
		sizeof("MIME-Version: 1.0\r\n" NUL_BODY) - 1,
		"MIME-Version: 1.0\r\nContent-Type: image/png\r\n"
		"Content-Transfer-Encoding: base64\r\n\r\nYQBiDQo=\r\n"},
	{"lines of an image that is not binary end in CRLF", CONVERT_7BIT,
		"MIME-Version: 1.0\nContent-Type: image/png\n\n\xe4\n", 0,
		"MIME-Version: 1.0\nContent-Type: image/png\n"
		"Content-Transfer-Encoding: base64\r\n\n5A0K\r\n"},
	{"only the part that needs it", CONVERT_7BIT,
		"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n"
		"Content-Transfer-Encoding: 8bit\r\n\r\npre\r\n--b\r\n\r\none\r\n--b\r\n"
		"Content-Transfer-Encoding: 8bit\r\n\r\n\xe4\r\n--b--\r\nepilogue\r\n",
		0,
		"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n"
		"Content-Transfer-Encoding: 7bit\r\n\r\npre\r\n--b\r\n\r\none\r\n--b\r\n"
		"Content-Transfer-Encoding: quoted-printable\r\n\r\n=E4\r\n--b--\r\nepilogue\r\n"},
	{"a message in the message", CONVERT_7BIT,
		"MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n"
		"Content-Transfer-Encoding: 8bit\r\n\r\nMIME-Version: 1.0\r\nSubject: in\r\n"
		"Content-Type: text/plain; charset=utf-8\r\n\r\n\xc3\xa4",
		0,
		"MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n"
		"Content-Transfer-Encoding: 7bit\r\n\r\nMIME-Version: 1.0\r\nSubject: in\r\n"
		"Content-Type: text/plain; charset=utf-8\r\n"
		"Content-Transfer-Encoding: quoted-printable\r\n\r\n=C3=A4"},
};

static void
converts(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct convert_case *c = &cases[i];
		struct str in = str_make(c->in, c->in_len ? c->in_len : strlen(c->in));
		struct buf out = {0};

		assert_int_equal(mail_convert(in, c->channel, &out), OK);
		if (mail_needs_convert(in, c->channel) != (c->out != NULL))
			fail_msg("%s: needs conversion or not", c->name);
		if (!str_equal(buf_str(&out), c->out ? str_of(c->out) : in))
			fail_msg("%s: got\n%s", c->name, buf_cstr(&out));
		buf_free(&out);
	}
}

/* What comes out fits, whatever went in. */
static void
result_fits(void **state)
{
	struct buf in = {0}, out = {0};

	(void)state;
	(void)buf_add_cstr(&in, "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n");
	for (int i = 0; i < 2000; i++)
		(void)buf_add_char(&in, 'x');
	(void)buf_add_cstr(&in, "\n--b\nContent-Type: message/rfc822\n\nA: b\n\n\r\xff\r");
	for (int channel = CONVERT_8BIT; channel <= CONVERT_7BIT; channel++) {
		buf_reset(&out);
		assert_true(mail_needs_convert(buf_str(&in), (enum convert_channel)channel));
		assert_int_equal(
			mail_convert(buf_str(&in), (enum convert_channel)channel, &out), OK);
		assert_false(mail_needs_convert(buf_str(&out), (enum convert_channel)channel));
	}
	buf_free(&out);
	out = BUF_INIT(100);
	assert_int_equal(mail_convert(buf_str(&in), CONVERT_7BIT, &out), E_TOOBIG);
	buf_free(&in);
	buf_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(converts),
		cmocka_unit_test(result_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
