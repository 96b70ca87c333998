/* SPDX-License-Identifier: MIT */
#include "proxy/prelogin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "prelogin_fake.h"

static const struct {
	const char *name;
	int tls, loopback;
	const char *in, *out, *calls;
} cases[] = {
	{"capa", 1, 0, "CAPA\r\n",
		"+OK Capabilities follow\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\n"
		"EXPIRE NEVER\r\nUTF8 USER\r\nLANG\r\nIMPLEMENTATION Roost\r\nUSER\r\nSASL PLAIN LOGIN\r\n.\r\n",
		""},
	{"capa in the open", 0, 0, "capa\r\n",
		"+OK Capabilities follow\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\n"
		"EXPIRE NEVER\r\nUTF8 USER\r\nLANG\r\nIMPLEMENTATION Roost\r\nSTLS\r\n.\r\n",
		""},
	{"language", 0, 0, "LANG\r\nLANG *\r\nLANG tlh\r\n",
		"+OK Languages follow\r\ni-default English\r\nen English\r\n.\r\n+OK en Texts are in English\r\n"
		"-ERR There is no such language here\r\n",
		""},
	{"utf8", 1, 0, "UTF8\r\nutf8\r\nUTF8 x\r\n",
		"+OK Headers may be in UTF-8\r\n+OK Headers may be in UTF-8\r\n"
		"-ERR UTF8 takes no argument\r\n",
		""},
	{"stls after utf8", 0, 0, "UTF8\r\nSTLS\r\n",
		"+OK Headers may be in UTF-8\r\n-ERR STLS comes before UTF8\r\n", ""},
	{"log-in", 1, 0, "USER u\r\nPASS a b c\r\n", "+OK Send the password\r\n",
		"auth(PLAIN,1,\\0u\\0a b c)"},
	{"empty password", 1, 0, "USER u\r\nPASS\r\n", "+OK Send the password\r\n",
		"auth(PLAIN,1,\\0u\\0)"},
	{"password first", 1, 0, "PASS x\r\n", "-ERR Send USER first\r\n", ""},
	{"no name", 1, 0, "USER\r\n", "-ERR USER needs a name\r\n", ""},
	{"in the open", 0, 0, "USER u\r\nPASS p\r\n",
		"-ERR Plaintext log-in needs TLS: send STLS first\r\n-ERR Send USER first\r\n", ""},
	{"loopback", 0, 1, "USER u\r\nPASS p\r\n", "+OK Send the password\r\n",
		"auth(PLAIN,1,\\0u\\0p)"},
	{"quit", 1, 0, "QUIT\r\nNOOP\r\n", "+OK Bye\r\n", ""},
	{"unknown", 1, 0, "STAT\r\n\r\n",
		"-ERR Unknown command, or not before log-in\r\n"
		"-ERR Unknown command, or not before log-in\r\n",
		""},
	{"mechanisms", 1, 0, "AUTH\r\n", "+OK Mechanisms follow\r\nPLAIN\r\nLOGIN\r\n.\r\n", ""},
	{"sasl", 1, 0, "AUTH PLAIN\r\n", "", "auth(PLAIN,0,)"},
	{"sasl initial", 1, 0, "AUTH plain AHUAcA==\r\n", "", "auth(PLAIN,1,\\0u\\0p)"},
	{"sasl bad", 1, 0, "AUTH PLAIN x\r\n", "-ERR Invalid base64\r\n", ""},
	{"sasl in the open", 0, 0, "AUTH PLAIN AHUAcA==\r\n",
		"-ERR Plaintext log-in needs TLS: send STLS first\r\n", ""},
	{"stls", 0, 0, "STLS\r\n", "+OK Begin TLS negotiation\r\n", "tls"},
	{"stls twice", 1, 0, "STLS\r\n", "-ERR TLS is active already\r\n", ""},
	{"injection", 0, 1, "USER u\r\nSTLS\r\nPASS p\r\nQUIT\r\n",
		"+OK Send the password\r\n+OK Begin TLS negotiation\r\n", "tls"},
	{"injection of half a line", 0, 1, "STLS\r\nUSER", "+OK Begin TLS negotiation\r\n", "tls"},
};

static void
test_cases(void **state)
{
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct fake f;
		struct buf out = {0};

		fake_init(&f, &prelogin_pop3, cases[i].tls, cases[i].loopback);
		fake_feed(&f, str_of(cases[i].in), &out);
		if (strcmp(buf_cstr(&out), cases[i].out) != 0 ||
			strcmp(buf_cstr(&f.calls), cases[i].calls) != 0)
			fail_msg("%s: out \"%s\" calls \"%s\"", cases[i].name, buf_cstr(&out),
				buf_cstr(&f.calls));
		buf_free(&out);
		fake_fini(&f);
	}
}

/* The user name given before TLS is forgotten with it. */
static void
test_stls_forgets_user(void **state)
{
	struct fake f;
	struct buf out = {0};
	(void)state;

	fake_init(&f, &prelogin_pop3, 0, 1);
	fake_feed(&f, STR("USER u\r\nSTLS\r\n"), &out);
	buf_reset(&out);
	fake_feed(&f, STR("PASS p\r\n"), &out);
	assert_string_equal(buf_cstr(&out), "-ERR Send USER first\r\n");
	buf_free(&out);
	fake_fini(&f);
}

static void
test_outcomes(void **state)
{
	static const struct {
		enum err e;
		const char *out;
	} table[] = {
		{E_AUTH, "-ERR [AUTH] Authentication failed\r\n"},
		{E_ACCESS, "-ERR [AUTH] This account is disabled\r\n"},
		{E_TEMPFAIL, "-ERR [SYS/TEMP] Temporary authentication failure\r\n"},
		{E_UNSUPPORTED, "-ERR Unsupported authentication mechanism\r\n"},
	};
	(void)state;

	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		struct fake f;
		struct buf out = {0};

		fake_init(&f, &prelogin_pop3, 1, 0);
		fake_feed(&f, STR("USER u\r\nPASS p\r\n"), &out);
		prelogin_auth_failed(&f.p, table[i].e);
		assert_string_equal(buf_cstr(&f.p.out), table[i].out);
		buf_free(&out);
		fake_fini(&f);
	}
}

static void
test_moved(void **state)
{
	struct fake f;
	struct buf out = {0};
	(void)state;

	fake_init(&f, &prelogin_pop3, 1, 0);
	fake_feed(&f, STR("USER u\r\nPASS p\r\n"), &out);
	prelogin_auth_moved(&f.p, STR("u@x"), STR("mail.example.net"));
	assert_string_equal(buf_cstr(&f.p.out),
		"-ERR [SYS/PERM] This account is on the server mail.example.net\r\n");
	buf_free(&out);
	fake_fini(&f);
}

/* Each command before its answer, however they came; nothing twice. */
static void
test_trace(void **state)
{
	struct fake f;
	struct buf out = {0};
	(void)state;

	fake_init(&f, &prelogin_pop3, 1, 0);
	prelogin_trace(&f.p, 1);
	prelogin_greet(&f.p);
	fake_feed(&f, STR("NOOP\r\nAUTH PLAIN\r\nAHUAcA==\r\nAHUAcA== oops\r\nQU"), &out);
	prelogin_auth_challenge(&f.p, STR(""));
	prelogin_auth_failed(&f.p, E_AUTH);
	fake_feed(&f, STR("IT\r\nNOOP\r\n"), &out);
	assert_string_equal(buf_cstr(&f.trace),
		"S:+OK Roost ready\r\nC:NOOP\r\nS:+OK\r\nC:AUTH PLAIN\r\nS:+ \r\nC:AHUAcA==\r\n"
		"S:-ERR [AUTH] Authentication failed\r\n?:AHUAcA== oops\r\n"
		"S:-ERR Unknown command, or not before log-in\r\nC:QUIT\r\nS:+OK Bye\r\n");
	buf_free(&out);
	fake_fini(&f);
	/* What was said before nobody sees. */
	fake_init(&f, &prelogin_pop3, 1, 0);
	prelogin_greet(&f.p);
	prelogin_trace(&f.p, 1);
	fake_feed(&f, STR("NOOP\r\n"), &out);
	prelogin_trace(&f.p, 0);
	fake_feed(&f, STR("NOOP\r\n"), &out);
	assert_string_equal(buf_cstr(&f.trace), "C:NOOP\r\nS:+OK\r\n");
	buf_free(&out);
	fake_fini(&f);
}

static void
test_long_line(void **state)
{
	struct fake f;
	struct buf out = {0}, in = {0};
	(void)state;

	fake_init(&f, &prelogin_pop3, 1, 0);
	buf_add_cstr(&in, "USER ");
	for (int i = 0; i < 20000; i++)
		buf_add_char(&in, 'x');
	fake_feed(&f, buf_str(&in), &out);
	assert_string_equal(buf_cstr(&out), "-ERR Line too long\r\n");
	assert_int_equal(f.p.state, PRELOGIN_CLOSED);
	buf_free(&in);
	buf_free(&out);
	fake_fini(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_stls_forgets_user),
		cmocka_unit_test(test_outcomes),
		cmocka_unit_test(test_moved),
		cmocka_unit_test(test_trace),
		cmocka_unit_test(test_long_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
