/* SPDX-License-Identifier: MIT */
#include "auth/base64.h"
#include "proxy/prelogin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "prelogin_fake.h"

#define EHLO(more, behind)                                                                         \
	"250-mx.example.test\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n" more                      \
	"250-CHUNKING\r\n250-BINARYMIME\r\n250-MT-PRIORITY\r\n" behind                             \
	"250-LIMITS RCPTMAX=1000\r\n"                                                              \
	"250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 DSN\r\n"
#define TLS "250-REQUIRETLS\r\n"
#define ETRN "250-ETRN\r\n"
/* The date is of today; see mask_date. */
#define LATER "250-FUTURERELEASE 2592000 2000-01-01T00:00:00Z\r\n"

#define LHLO(more)                                                                                 \
	"250-mx.example.test\r\n250-PIPELINING\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n"     \
	"250-SMTPUTF8\r\n250-CHUNKING\r\n" more "250 SIZE 52428800\r\n"

static const struct {
	const char *name;
	const struct prelogin_protocol *proto;
	int tls, loopback;
	const char *in, *out, *calls;
} cases[] = {
	{"lhlo", &prelogin_lmtp, 0, 0, "LHLO c.example\r\n", LHLO("250-STARTTLS\r\n"), ""},
	{"lhlo under tls", &prelogin_lmtp, 1, 0, "lhlo c.example\r\nSTARTTLS\r\n",
		LHLO("") "503 5.5.1 TLS is active already\r\n", ""},
	{"lmtp starttls", &prelogin_lmtp, 0, 0, "LHLO c\r\nSTARTTLS\r\nMAIL FROM:<a@b>\r\n",
		LHLO("250-STARTTLS\r\n") "220 2.0.0 Ready to start TLS\r\n", "tls"},
	{"lmtp is not smtp", &prelogin_lmtp, 0, 0, "EHLO c\r\nGET /\r\nLHLO (\r\nNOOP\r\nQUIT\r\n",
		"500 5.5.1 This is LMTP: say LHLO\r\n500 5.5.2 Unknown command\r\n"
		"501 5.5.4 Say LHLO with your host name\r\n250 2.0.0 OK\r\n"
		"221 2.0.0 mx.example.test closing\r\n",
		""},
	{"lmtp mail", &prelogin_lmtp, 0, 0, "MAIL FROM:<a@b>\r\nRCPT TO:<c>\r\n", "", "handover"},
	{"lmtp xclient", &prelogin_lmtp, 0, 0, "XCLIENT NAME=x\r\n", "", "handover"},
	{"ehlo", &prelogin_smtp, 0, 0, "EHLO c.example\r\n", EHLO("250-STARTTLS\r\n", ETRN), ""},
	{"ehlo under tls", &prelogin_smtp, 1, 0, "ehlo c.example\r\n", EHLO("", TLS ETRN), ""},
	{"ehlo of a filter", &prelogin_reinject, 0, 0, "EHLO c.example\r\n",
		EHLO("250-STARTTLS\r\n", ""), ""},
	{"xforward", &prelogin_reinject, 0, 0, "XFORWARD NAME=a\r\n", "", "handover"},
	{"ehlo submission in the open", &prelogin_submission, 0, 0, "EHLO c\r\n",
		EHLO("250-STARTTLS\r\n", LATER), ""},
	{"ehlo submission", &prelogin_submission, 1, 0, "EHLO c\r\n",
		EHLO("250-AUTH PLAIN LOGIN\r\n", TLS LATER), ""},
	{"helo", &prelogin_smtp, 0, 0, "HELO c\r\n", "250 mx.example.test\r\n", ""},
	{"helo without a name", &prelogin_smtp, 0, 0, "EHLO\r\nHELO a b\r\n",
		"501 5.5.4 A host name or address literal is expected\r\n"
		"501 5.5.4 A host name or address literal is expected\r\n",
		""},
	{"small talk", &prelogin_smtp, 0, 0,
		"NOOP x\r\nRSET\r\nVRFY root\r\nHELP\r\nQUIT\r\nNOOP\r\n",
		"250 2.0.0 OK\r\n250 2.0.0 OK\r\n252 2.5.0 Send some mail, I will try my best\r\n"
		"214 2.0.0 See RFC 5321\r\n221 2.0.0 mx.example.test closing connection\r\n",
		""},
	{"garbage", &prelogin_smtp, 0, 0, "GET / HTTP/1.1\r\n\r\n",
		"500 5.5.2 Unknown command\r\n500 5.5.2 Unknown command\r\n", ""},
	{"mail", &prelogin_smtp, 0, 0, "MAIL FROM:<a@b>\r\nRCPT TO:<c>\r\n", "", "handover"},
	{"mail on submission", &prelogin_submission, 1, 0, "MAIL FROM:<a@b>\r\nRCPT TO:<c>\r\n",
		"530 5.7.0 Authentication required\r\n530 5.7.0 Authentication required\r\n", ""},
	{"auth on smtp", &prelogin_smtp, 1, 1, "EHLO c\r\nAUTH PLAIN AHUAcA==\r\n",
		EHLO("", TLS ETRN) "503 5.5.1 AUTH is not offered on this port\r\n", ""},
	{"auth before ehlo", &prelogin_submission, 1, 0, "AUTH PLAIN AHUAcA==\r\n",
		"503 5.5.1 EHLO first\r\n", ""},
	{"auth", &prelogin_submission, 1, 0, "EHLO c\r\nAUTH PLAIN AHUAcA==\r\n",
		EHLO("250-AUTH PLAIN LOGIN\r\n", TLS LATER), "auth(PLAIN,1,\\0u\\0p)"},
	{"auth empty initial", &prelogin_submission, 1, 0, "EHLO c\r\nAUTH PLAIN =\r\n",
		EHLO("250-AUTH PLAIN LOGIN\r\n", TLS LATER), "auth(PLAIN,1,)"},
	{"auth without tls", &prelogin_submission, 0, 0, "EHLO c\r\nAUTH PLAIN AHUAcA==\r\n",
		EHLO("250-STARTTLS\r\n",
			LATER) "538 5.7.11 Encryption required: send STARTTLS first\r\n",
		""},
	{"auth bad base64", &prelogin_submission, 1, 0, "EHLO c\r\nAUTH PLAIN ?\r\n",
		EHLO("250-AUTH PLAIN LOGIN\r\n", TLS LATER) "501 5.5.2 Invalid base64\r\n", ""},
	{"auth without mechanism", &prelogin_submission, 1, 0, "EHLO c\r\nAUTH\r\n",
		EHLO("250-AUTH PLAIN LOGIN\r\n",
			TLS LATER) "501 5.5.4 Syntax: AUTH mechanism [initial-response]\r\n",
		""},
	{"starttls", &prelogin_smtp, 0, 0, "STARTTLS\r\n", "220 2.0.0 Ready to start TLS\r\n",
		"tls"},
	{"starttls argument", &prelogin_smtp, 0, 0, "STARTTLS x\r\n",
		"501 5.5.4 STARTTLS takes no argument\r\n", ""},
	{"starttls twice", &prelogin_smtp, 1, 0, "STARTTLS\r\n",
		"503 5.5.1 TLS is active already\r\n", ""},
};

static void
mask_date(struct buf *out)
{
	static const char before[] = "FUTURERELEASE 2592000 ", date[] = "2000-01-01T00:00:00Z";
	char *at = strstr(buf_cstr(out), before);

	if (at && strlen(at) >= sizeof(before) + sizeof(date))
		memcpy(at + sizeof(before) - 1, date, sizeof(date) - 1);
}

static void
test_cases(void **state)
{
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct fake f;
		struct buf out = {0};

		fake_init(&f, cases[i].proto, cases[i].tls, cases[i].loopback);
		fake_feed(&f, str_of(cases[i].in), &out);
		mask_date(&out);
		if (strcmp(buf_cstr(&out), cases[i].out) != 0 ||
			strcmp(buf_cstr(&f.calls), cases[i].calls) != 0)
			fail_msg("%s: out \"%s\" calls \"%s\"", cases[i].name, buf_cstr(&out),
				buf_cstr(&f.calls));
		buf_free(&out);
		fake_fini(&f);
	}
}

/* The line that made the hand-over and all behind it go along. */
static void
test_mail_goes_along(void **state)
{
	struct fake f;
	struct buf out = {0};
	(void)state;

	fake_init(&f, &prelogin_smtp, 0, 0);
	fake_feed(&f, STR("EHLO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<x>\r\nDA"), &out);
	assert_int_equal(f.p.state, PRELOGIN_HANDOVER);
	assert_string_equal(buf_cstr(&f.p.in), "MAIL FROM:<>\r\nRCPT TO:<x>\r\nDA");
	assert_string_equal(f.p.helo, "c.example");
	assert_int_equal(f.p.esmtp, 1);
	assert_int_equal(prelogin_input_room(&f.p), 0);
	prelogin_handover_failed(&f.p);
	assert_string_equal(
		buf_cstr(&f.p.out), "421 4.3.2 Mail service is not available, try later\r\n");
	buf_free(&out);
	fake_fini(&f);
}

static void
test_submission(void **state)
{
	struct fake f;
	struct buf out = {0};
	(void)state;

	fake_init(&f, &prelogin_submission, 1, 0);
	fake_feed(&f, STR("EHLO c\r\nAUTH LOGIN\r\n"), &out);
	prelogin_auth_challenge(&f.p, STR("Username:"));
	buf_reset(&out);
	fake_feed(&f, STR("dQ==\r\n"), &out);
	assert_string_equal(buf_cstr(&out), "334 VXNlcm5hbWU6\r\n");
	prelogin_auth_failed(&f.p, E_AUTH);
	buf_reset(&out);
	fake_feed(&f, STR("AUTH PLAIN AHUAcA==\r\n"), &out);
	prelogin_auth_moved(&f.p, STR("u@x"), STR("mail.example.net"));
	fake_feed(&f, STR("AUTH PLAIN AHUAcA==\r\nMAIL FROM:<u>\r\n"), &out);
	assert_string_equal(buf_cstr(&out),
		"535 5.7.8 Authentication failed\r\n"
		"535 5.7.0 This account is on the server mail.example.net\r\n");
	prelogin_auth_done(&f.p, STR("u"), STR("t"), (struct str){0});
	assert_string_equal(buf_cstr(&f.p.out), "235 2.7.0 Authentication successful\r\n");
	assert_string_equal(buf_cstr(&f.p.in), "MAIL FROM:<u>\r\n");
	assert_int_equal(f.p.state, PRELOGIN_HANDOVER);
	buf_free(&out);
	fake_fini(&f);
}

/* RFC 3207 section 4.2: EHLO before TLS does not count, nor does anything sent along with it. */
static void
test_starttls_forgets(void **state)
{
	static const char *const injections[] = {"EHLO evil\r\n", "MAIL FROM:<evil>\r\n",
		"RSET\r\n", "NOOP\r\n", "QUIT\r\n", "AUTH PLAIN AHUAcA==\r\n", "STARTTLS\r\n",
		"\r\n", "\n", "EHLO",
		"EHLO evil\r\nAUTH PLAIN AHUAcA==\r\nMAIL FROM:<evil>\r\nDATA\r\n"};
	(void)state;

	for (size_t i = 0; i < sizeof injections / sizeof *injections; i++) {
		struct fake f;
		struct buf out = {0}, in = {0};

		fake_init(&f, &prelogin_submission, 0, 1);
		buf_printf(&in, "HELO c\r\nSTARTTLS\r\n%s", injections[i]);
		fake_feed(&f, buf_str(&in), &out);
		assert_string_equal(
			buf_cstr(&out), "250 mx.example.test\r\n220 2.0.0 Ready to start TLS\r\n");
		assert_int_equal(f.p.in.len, 0);
		assert_null(f.p.helo);
		assert_int_equal(f.p.esmtp, 0);
		buf_reset(&out);
		fake_feed(&f, STR("AUTH PLAIN AHUAcA==\r\n"), &out);
		assert_string_equal(buf_cstr(&out), "503 5.5.1 EHLO first\r\n");
		assert_string_equal(buf_cstr(&f.calls), "tls");
		buf_free(&in);
		buf_free(&out);
		fake_fini(&f);
	}
}

static void
test_base64(void **state)
{
	static const struct {
		const char *text, *data; /* NULL: refused */
	} table[] = {{"", ""}, {"eA==", "x"}, {"eHk=", "xy"}, {"eHl6", "xyz"}, {"eHl6eA==", "xyzx"},
		{"eA=", NULL}, {"eA", NULL}, {"====", NULL}, {"=eA=", NULL}, {"eA==eA==", NULL},
		{"e A=", NULL}, {"eA-=", NULL}, {"eH\n=", NULL}};
	(void)state;

	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		struct buf out = {0}, back = {0};
		enum err e = sasl_base64_decode(str_of(table[i].text), &out);

		if ((e == OK) != (table[i].data != NULL))
			fail_msg("\"%s\": %s", table[i].text, err_text(e));
		if (!e) {
			assert_string_equal(buf_cstr(&out), table[i].data);
			sasl_base64_encode(buf_str(&out), &back);
			assert_string_equal(buf_cstr(&back), table[i].text);
		}
		buf_free(&out);
		buf_free(&back);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_mail_goes_along),
		cmocka_unit_test(test_submission),
		cmocka_unit_test(test_starttls_forgets),
		cmocka_unit_test(test_base64),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
