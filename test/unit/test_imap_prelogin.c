/* SPDX-License-Identifier: MIT */
#include "proxy/prelogin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "prelogin_fake.h"

#define CAPS "CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID LOGIN-REFERRALS"
#define BAD_ARGS " BAD Invalid arguments\r\n"
#define BAD_START "* BAD A tag, a space and a command are expected\r\n"
#define ID_LINE "* ID (\"name\" \"Roost\" \"version\" \"0.1.0\")\r\n"

static const struct {
	const char *name, *in, *out, *calls;
} cases[] = {
	{"capability", "a CAPABILITY\r\n",
		"* " CAPS " STARTTLS AUTH=PLAIN AUTH=LOGIN\r\na OK Capability completed\r\n", ""},
	{"lower case, bare LF", "a capability\n",
		"* " CAPS " STARTTLS AUTH=PLAIN AUTH=LOGIN\r\na OK Capability completed\r\n", ""},
	{"noop", "tag.1 NOOP\r\n", "tag.1 OK Noop completed\r\n", ""},
	{"noop with argument", "a NOOP x\r\n", "a" BAD_ARGS, ""},
	{"logout", "a LOGOUT\r\nb NOOP\r\n", "* BYE Logging out\r\na OK Logout completed\r\n", ""},
	{"unknown", "a XYZZY\r\n", "a BAD Unknown command\r\n", ""},
	{"not yet", "a SELECT INBOX\r\n", "a BAD Log in first\r\n", ""},
	{"empty line", "\r\n", BAD_START, ""},
	{"only a tag", "a\r\n", BAD_START, ""},
	{"plus in the tag", "a+ NOOP\r\n", BAD_START, ""},
	{"brace in the tag", "a{ NOOP\r\n", BAD_START, ""},
	{"nul", "\0 NOOP\r\n", "", ""},
	{"http", "GET / HTTP/1.1\r\n", "GET BAD Unknown command\r\n", ""},
	{"login", "a LOGIN u p\r\n", "", "auth(PLAIN,1,\\0u\\0p)"},
	{"login quoted", "a LOGIN \"u x\" \"p\\\"\\\\\"\r\n", "", "auth(PLAIN,1,\\0u x\\0p\"\\)"},
	{"login empty strings", "a LOGIN \"\" \"\"\r\n", "", "auth(PLAIN,1,\\0\\0)"},
	{"login literal", "a LOGIN {1}\r\nu {2}\r\npq\r\n", "+ OK\r\n+ OK\r\n",
		"auth(PLAIN,1,\\0u\\0pq)"},
	{"login literal+", "a LOGIN {1+}\r\nu {2+}\r\npq\r\n", "", "auth(PLAIN,1,\\0u\\0pq)"},
	{"a literal's text is no command", "a LOGIN {9+}\r\nb NOOP\r\n1 p\r\n", "",
		"auth(PLAIN,1,\\0b NOOP\r\n1\\0p)"},
	{"login one argument", "a LOGIN u\r\n", "a" BAD_ARGS, ""},
	{"login three", "a LOGIN u p q\r\n", "a" BAD_ARGS, ""},
	{"login two spaces", "a LOGIN u  p\r\n", "a" BAD_ARGS, ""},
	{"login bad escape", "a LOGIN u \"\\x\"\r\n", "a" BAD_ARGS, ""},
	{"login open quote", "a LOGIN u \"p\r\n", "a" BAD_ARGS, ""},
	{"parentheses", "a LOGIN ((((((((((((((((((((((((\r\n", "a" BAD_ARGS, ""},
	{"parentheses for the command", "a ((((\r\n",
		"a BAD A tag, a space and a command are expected\r\n", ""},
	{"sync literal too large", "a LOGIN {4294967295}\r\nb NOOP\r\n",
		"a BAD [TOOBIG] Literal too large\r\nb OK Noop completed\r\n", ""},
	{"sync literal 2^64", "a LOGIN {18446744073709551617}\r\n",
		"a BAD [TOOBIG] Literal too large\r\n", ""},
	{"literal+ too large", "a LOGIN {99999+}\r\nb NOOP\r\n",
		"* BYE [TOOBIG] Command too long\r\n", ""},
	{"literal to the wrong command", "a NOOP {5}\r\n", "a BAD No literal can stand here\r\n",
		""},
	{"literal+ to the wrong command", "a FOO {6+}\r\nb NOOP\r\n", "a BAD Unknown command\r\n",
		""},
	{"minus in a literal", "a LOGIN {-1}\r\n", "a" BAD_ARGS, ""},
	{"authenticate", "a AUTHENTICATE PLAIN\r\n", "", "auth(PLAIN,0,)"},
	{"initial response", "a authenticate plain AHUAcA==\r\n", "", "auth(PLAIN,1,\\0u\\0p)"},
	{"empty initial response", "a AUTHENTICATE PLAIN =\r\n", "", "auth(PLAIN,1,)"},
	{"bad base64", "a AUTHENTICATE PLAIN A===\r\n", "a BAD Invalid base64\r\n", ""},
	{"base64 with a blank", "a AUTHENTICATE PLAIN AHUA cA==\r\n", "a" BAD_ARGS, ""},
	{"odd mechanism", "a AUTHENTICATE PL(AIN\r\n",
		"a NO [CANNOT] Unsupported authentication mechanism\r\n", ""},
	{"long mechanism", "a AUTHENTICATE AAAAAAAAAAAAAAAAAAAAA\r\n",
		"a NO [CANNOT] Unsupported authentication mechanism\r\n", ""},
	{"id nil", "a ID NIL\r\n", ID_LINE "a OK ID completed\r\n", ""},
	{"id list", "a ID (\"name\" \"x\" \"os\" NIL)\r\n", ID_LINE "a OK ID completed\r\n", ""},
	{"id empty list", "a ID ()\r\n", ID_LINE "a OK ID completed\r\n", ""},
	{"id literal", "a ID (\"name\" {1+}\r\nx)\r\n", ID_LINE "a OK ID completed\r\n", ""},
	{"id nested", "a ID ((\"name\" \"x\"))\r\n", "a" BAD_ARGS, ""},
	{"id odd", "a ID (\"name\")\r\n", "a" BAD_ARGS, ""},
	{"id bare", "a ID (name x)\r\n", "a" BAD_ARGS, ""},
	{"starttls", "a STARTTLS\r\n", "a OK Begin TLS negotiation now\r\n", "tls"},
	{"starttls argument", "a STARTTLS now\r\n", "a" BAD_ARGS, ""},
	{"starttls injection", "a STARTTLS\r\nb LOGIN u p\r\nc LOGOUT\r\n",
		"a OK Begin TLS negotiation now\r\n", "tls"},
	{"starttls half a command", "a STARTTLS\r\nb LOGIN u ",
		"a OK Begin TLS negotiation now\r\n", "tls"},
	{"starttls and a literal", "a STARTTLS\r\nb LOGIN {10+}\r\n",
		"a OK Begin TLS negotiation now\r\n", "tls"},
	{"pipelined behind log-in", "a LOGIN u p\r\nb SELECT INBOX\r\n", "",
		"auth(PLAIN,1,\\0u\\0p)"},
};

/* All at once, and byte by byte: the same answers. */
static void
test_cases(void **state)
{
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct str in = str_of(cases[i].in);
		for (int bytewise = 0; bytewise < 2; bytewise++) {
			struct fake f;
			struct buf out = {0};
			int tls = 0;

			fake_init(&f, &prelogin_imap, 0, 1);
			if (!bytewise)
				fake_feed(&f, in, &out);
			for (size_t k = 0; bytewise && k < in.len && !tls; k++) {
				fake_feed(&f, str_make(in.p + k, 1), &out);
				tls = f.p.tls;
			}
			if (strcmp(buf_cstr(&out), cases[i].out) != 0 ||
				strcmp(buf_cstr(&f.calls), cases[i].calls) != 0)
				fail_msg("%s (%d): out \"%s\" calls \"%s\"", cases[i].name,
					bytewise, buf_cstr(&out), buf_cstr(&f.calls));
			buf_free(&out);
			fake_fini(&f);
		}
	}
}

static void
test_greeting(void **state)
{
	struct fake f;
	(void)state;

	fake_init(&f, &prelogin_imap, 0, 0);
	prelogin_greet(&f.p);
	assert_string_equal(
		buf_cstr(&f.p.out), "* OK [" CAPS " STARTTLS LOGINDISABLED] Roost ready\r\n");
	fake_fini(&f);
	fake_init(&f, &prelogin_imap, 1, 0);
	prelogin_greet(&f.p);
	assert_string_equal(
		buf_cstr(&f.p.out), "* OK [" CAPS " AUTH=PLAIN AUTH=LOGIN] Roost ready\r\n");
	fake_fini(&f);
}

static void
test_no_password_without_tls(void **state)
{
	struct fake f;
	struct buf out = {0};
	(void)state;

	fake_init(&f, &prelogin_imap, 0, 0);
	fake_feed(&f, STR("a LOGIN u p\r\nb AUTHENTICATE PLAIN AHUAcA==\r\n"), &out);
	assert_string_equal(buf_cstr(&out),
		"a NO [PRIVACYREQUIRED] Plaintext log-in needs TLS\r\n"
		"b NO [PRIVACYREQUIRED] Plaintext log-in needs TLS\r\n");
	assert_int_equal(f.calls.len, 0);
	buf_free(&out);
	fake_fini(&f);
}

/* Whatever is in the packet with STARTTLS, in whatever pieces it comes: it is never answered. */
static void
test_starttls_forgets(void **state)
{
	static const char *const injections[] = {"b NOOP\r\n", "b LOGIN u p\r\n", "b LOGOUT\r\n",
		"b AUTHENTICATE PLAIN AHUAcA==\r\n", "b CAPABILITY\r\n", "b STARTTLS\r\n", "\r\n",
		"b LOGIN {4+}\r\n", "b LOGIN u \"", "\n", "b ID NIL\r\nc ID NIL\r\n", "b"};
	(void)state;

	for (size_t i = 0; i < sizeof injections / sizeof *injections; i++) {
		struct fake f;
		struct buf out = {0}, in = {0};

		fake_init(&f, &prelogin_imap, 0, 1);
		buf_printf(&in, "a STARTTLS\r\n%s", injections[i]);
		fake_feed(&f, buf_str(&in), &out);
		assert_string_equal(buf_cstr(&out), "a OK Begin TLS negotiation now\r\n");
		assert_int_equal(f.p.in.len, 0);
		assert_int_equal(f.p.state, PRELOGIN_COMMAND);
		buf_reset(&out);
		fake_feed(&f, STR("z NOOP\r\n"), &out);
		assert_string_equal(buf_cstr(&out), "z OK Noop completed\r\n");
		buf_reset(&out);
		fake_feed(&f, STR("z STARTTLS\r\n"), &out);
		assert_string_equal(buf_cstr(&out), "z BAD TLS is active already\r\n");
		assert_string_equal(buf_cstr(&f.calls), "tls");
		buf_free(&in);
		buf_free(&out);
		fake_fini(&f);
	}
}

static void
test_outcomes(void **state)
{
	static const struct {
		enum err e;
		const char *out;
	} table[] = {
		{E_AUTH, "a NO [AUTHENTICATIONFAILED] Authentication failed\r\n"},
		{E_NOTFOUND, "a NO [AUTHENTICATIONFAILED] Authentication failed\r\n"},
		{E_ACCESS, "a NO [CONTACTADMIN] This account is disabled\r\n"},
		{E_TEMPFAIL, "a NO [UNAVAILABLE] Temporary authentication failure, try later\r\n"},
		{E_TIMEOUT, "a NO [UNAVAILABLE] Temporary authentication failure, try later\r\n"},
		{E_UNSUPPORTED, "a NO [CANNOT] Unsupported authentication mechanism\r\n"},
		{E_PARSE, "a BAD Invalid authentication response\r\n"},
	};
	(void)state;

	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		struct fake f;
		struct buf out = {0};

		fake_init(&f, &prelogin_imap, 1, 0);
		fake_feed(&f, STR("a LOGIN u p\r\n"), &out);
		assert_int_equal(f.p.state, PRELOGIN_AUTH);
		prelogin_auth_failed(&f.p, table[i].e);
		assert_string_equal(buf_cstr(&f.p.out), table[i].out);
		assert_int_equal(f.p.state, PRELOGIN_COMMAND);
		buf_free(&out);
		fake_fini(&f);
	}
}

/* RFC 2221 section 4.1: a URL of RFC 5092, so that what is no letter of a URL is not in it. */
static void
test_moved(void **state)
{
	static const struct {
		const char *in, *user, *host, *out;
	} table[] = {
		{"a LOGIN u p\r\n", "u@example.test", "mail.example.net",
			"a NO [REFERRAL imap://u%40example.test;AUTH=*@mail.example.net/] This "
			"account is on the server mail.example.net\r\n"},
		{"a AUTHENTICATE scram-sha-256 biws\r\n", "a]%\"*b", "[2001:db8::1]:1143",
			"a NO [REFERRAL imap://a%5D%25%22%2Ab;AUTH=SCRAM-SHA-256@[2001:db8::1]:1143/] "
			"This account is on the server [2001:db8::1]:1143\r\n"},
		{"a AUTHENTICATE PLAIN AGEAYg==\r\n", "\xc3\xa9@x", "192.0.2.1",
			"a NO [REFERRAL imap://%C3%A9%40x;AUTH=PLAIN@192.0.2.1/] This account is on "
			"the server 192.0.2.1\r\n"},
	};
	(void)state;

	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		struct fake f;
		struct buf out = {0};

		fake_init(&f, &prelogin_imap, 1, 0);
		fake_feed(&f, str_of(table[i].in), &out);
		assert_int_equal(f.p.state, PRELOGIN_AUTH);
		prelogin_auth_moved(&f.p, str_of(table[i].user), str_of(table[i].host));
		assert_string_equal(buf_cstr(&f.p.out), table[i].out);
		assert_int_equal(f.p.state, PRELOGIN_COMMAND);
		buf_free(&out);
		fake_fini(&f);
	}
}

/* The mechanism of a command is not taken for that of the next; each counts as an attempt. */
static void
test_moved_again(void **state)
{
	struct fake f;
	struct buf out = {0};
	(void)state;

	fake_init(&f, &prelogin_imap, 1, 0);
	f.conf->login_attempts = 2;
	fake_feed(&f, STR("a AUTHENTICATE PLAIN AGEAYg==\r\n"), &out);
	prelogin_auth_moved(&f.p, STR("u"), STR("h"));
	buf_reset(&f.p.out);
	fake_feed(&f, STR("b LOGIN u p\r\n"), &out);
	prelogin_auth_moved(&f.p, STR("u"), STR("h"));
	assert_string_equal(buf_cstr(&f.p.out),
		"b NO [REFERRAL imap://u;AUTH=*@h/] This account is on the server h\r\n"
		"* BYE Too many failed log-ins\r\n");
	assert_int_equal(f.p.state, PRELOGIN_CLOSED);
	buf_free(&out);
	fake_fini(&f);
}

static void
test_success_keeps_read_ahead(void **state)
{
	struct fake f;
	struct buf out = {0};
	(void)state;

	fake_init(&f, &prelogin_imap, 1, 0);
	fake_feed(&f, STR("a LOGIN u p\r\nb SELECT INBOX\r\nc"), &out);
	prelogin_auth_done(&f.p, STR("u@example.test"), STR("token"), (struct str){0});
	assert_int_equal(f.p.state, PRELOGIN_HANDOVER);
	assert_string_equal(buf_cstr(&f.calls), "auth(PLAIN,1,\\0u\\0p) handover");
	assert_string_equal(buf_cstr(&f.p.in), "b SELECT INBOX\r\nc");
	assert_string_equal(f.p.tag, "a");
	assert_int_equal(f.p.out.len, 0);
	prelogin_handover_failed(&f.p);
	assert_int_equal(f.p.state, PRELOGIN_CLOSED);
	assert_non_null(strstr(buf_cstr(&f.p.out), "a NO [UNAVAILABLE]"));
	buf_free(&out);
	fake_fini(&f);
}

static void
test_exchange(void **state)
{
	struct fake f;
	struct buf out = {0};
	(void)state;

	fake_init(&f, &prelogin_imap, 1, 0);
	fake_feed(&f, STR("a AUTHENTICATE LOGIN\r\n"), &out);
	prelogin_auth_challenge(&f.p, STR("Username:"));
	fake_feed(&f, STR("dQ==\r\n"), &out);
	assert_string_equal(buf_cstr(&out), "+ VXNlcm5hbWU6\r\n");
	prelogin_auth_challenge(&f.p, STR(""));
	fake_feed(&f, STR("!!!!\r\nb NOOP\r\n"), &out);
	assert_string_equal(buf_cstr(&out),
		"+ VXNlcm5hbWU6\r\n+ \r\na BAD Invalid base64\r\nb OK Noop completed\r\n");
	assert_string_equal(buf_cstr(&f.calls), "auth(LOGIN,0,) continue(u) abort");
	buf_reset(&out);
	buf_reset(&f.calls);
	fake_feed(&f, STR("c AUTHENTICATE LOGIN\r\n"), &out);
	prelogin_auth_challenge(&f.p, STR("x"));
	fake_feed(&f, STR("*\r\nd NOOP\r\n"), &out);
	assert_string_equal(buf_cstr(&out),
		"+ eA==\r\nc BAD Authentication cancelled\r\nd OK Noop completed\r\n");
	/* Success data is a last challenge, answered by an empty line. */
	buf_reset(&out);
	fake_feed(&f, STR("e AUTHENTICATE PLAIN =\r\n"), &out);
	prelogin_auth_done(&f.p, STR("u"), STR("t"), STR("v=1"));
	assert_int_equal(f.p.state, PRELOGIN_SASL_FINAL);
	fake_feed(&f, STR("\r\n"), &out);
	assert_string_equal(buf_cstr(&out), "+ dj0x\r\n");
	assert_int_equal(f.p.state, PRELOGIN_HANDOVER);
	buf_free(&out);
	fake_fini(&f);
}

static void
test_bounds(void **state)
{
	struct fake f;
	struct buf out = {0}, in = {0};
	(void)state;

	/* A line without an end. */
	fake_init(&f, &prelogin_imap, 1, 0);
	for (int i = 0; i < 100000; i++)
		buf_add_char(&in, 'a');
	fake_feed(&f, buf_str(&in), &out);
	assert_string_equal(buf_cstr(&out), "* BYE [TOOBIG] Command too long\r\n");
	assert_int_equal(f.p.state, PRELOGIN_CLOSED);
	assert_int_equal(prelogin_input_room(&f.p), 0);
	fake_fini(&f);
	/* Bad commands without end. */
	buf_reset(&in);
	buf_reset(&out);
	for (int i = 0; i < 100; i++)
		buf_add_cstr(&in, "a FOO\r\n");
	fake_init(&f, &prelogin_imap, 1, 0);
	fake_feed(&f, buf_str(&in), &out);
	assert_true(str_ends_i(buf_str(&out), "* BYE Too many commands without logging in\r\n"));
	assert_int_equal(f.p.errors, PRELOGIN_ERRORS_MAX);
	fake_fini(&f);
	/* Failed log-ins. */
	fake_init(&f, &prelogin_imap, 1, 0);
	buf_reset(&out);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(f.p.state, PRELOGIN_COMMAND);
		fake_feed(&f, STR("a LOGIN u p\r\n"), &out);
		prelogin_auth_failed(&f.p, E_AUTH);
	}
	assert_int_equal(f.p.state, PRELOGIN_CLOSED);
	fake_fini(&f);
	/* A client that does not read its answers is not served on. */
	fake_init(&f, &prelogin_imap, 1, 0);
	for (int i = 0; i < 900; i++) {
		size_t room = prelogin_input_room(&f.p);
		if (room >= 14)
			buf_add(&f.p.in, "a CAPABILITY\r\n", 14);
		prelogin_input(&f.p);
	}
	assert_true(f.p.out.len < PRELOGIN_OUT_PAUSE + 1024);
	assert_true(f.p.in.len <= f.p.in.max);
	fake_fini(&f);
	buf_free(&in);
	buf_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_greeting),
		cmocka_unit_test(test_no_password_without_tls),
		cmocka_unit_test(test_starttls_forgets),
		cmocka_unit_test(test_outcomes),
		cmocka_unit_test(test_success_keeps_read_ahead),
		cmocka_unit_test(test_moved),
		cmocka_unit_test(test_moved_again),
		cmocka_unit_test(test_exchange),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
