/* SPDX-License-Identifier: MIT */
#include "lmtp/lmtp_data.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
collect(void *arg, const char *p, size_t len)
{
	buf_add(arg, p, len);
}

struct dot_case {
	const char *in;
	int end;
	size_t used; /* SIZE_MAX: all */
	const char *out;
};

static const struct dot_case dot_cases[] = {
	{"a\r\n.\r\nQUIT\r\n", 1, 6, "a\r\n"},
	{".\r\n", 1, SIZE_MAX, ""},
	{"a\r\n..b\r\n.\r\n", 1, SIZE_MAX, "a\r\n.b\r\n"},
	{"...\r\n.\r\n", 1, SIZE_MAX, "..\r\n"},
	{"a\r\n.b\r\n.\r\n", 1, SIZE_MAX, "a\r\nb\r\n"},
	/* What must not end the data (SMTP smuggling). */
	{"a\n.\nb\r\n.\r\n", 1, SIZE_MAX, "a\n.\nb\r\n"},
	{"a\n.\r\nb\r\n.\r\n", 1, SIZE_MAX, "a\n.\r\nb\r\n"},
	{"a\r.\rb\r\n.\r\n", 1, SIZE_MAX, "a\r.\rb\r\n"},
	{"a\r.\r\nb\r\n.\r\n", 1, SIZE_MAX, "a\r.\r\nb\r\n"},
	{"a\r\n.\nb\r\n.\r\n", 1, SIZE_MAX, "a\r\n\nb\r\n"},
	{"a\r\n.\rb\r\n.\r\n", 1, SIZE_MAX, "a\r\n\rb\r\n"},
	{"a\r\n.\r\r\nb\r\n.\r\n", 1, SIZE_MAX, "a\r\n\r\r\nb\r\n"},
	{"a\r\r\n.\r\n", 1, SIZE_MAX, "a\r\r\n"},
	{"a\n..b\r\n.\r\n", 1, SIZE_MAX, "a\n..b\r\n"},
	{"\r\n.\r\n", 1, SIZE_MAX, "\r\n"},
	{"a\r\n.", 0, SIZE_MAX, "a\r\n"},
	{"a\r\n.\r", 0, SIZE_MAX, "a\r\n"},
	{"a", 0, SIZE_MAX, "a"},
	{"", 0, SIZE_MAX, ""},
};

/* Feeds pieces of the given sizes in turn. */
static void
check_dot(const struct dot_case *c, size_t first, size_t rest)
{
	struct lmtp_dot dot = LMTP_DOT_INIT;
	struct buf out = {0};
	size_t len = strlen(c->in), at = 0, want = c->used == SIZE_MAX ? len : c->used;
	int end = 0;

	while (at < len && !end) {
		size_t n = at == 0 ? first : rest, used;

		n = n < len - at ? n : len - at;
		end = lmtp_dot_feed(&dot, c->in + at, n, &used, collect, &out);
		assert_true(end || used == n);
		at += used;
	}
	assert_int_equal(end, c->end);
	assert_int_equal(at, want);
	assert_string_equal(buf_cstr(&out), c->out);
	buf_free(&out);
}

static void
dots_in_all_chunkings(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(dot_cases) / sizeof(dot_cases[0]); i++) {
		for (size_t first = 1; first <= strlen(dot_cases[i].in) + 1; first++) {
			for (size_t rest = 1; rest <= 4; rest++) {
				check_dot(&dot_cases[i], first, rest);
			}
			check_dot(&dot_cases[i], first, 1000);
		}
	}
}

/* ---- header ---- */

struct header_case {
	const char *in, *out;
	unsigned received;
	const char *delivered, *message_id;
};

static const struct header_case header_cases[] = {
	{"Subject: x\r\n\r\nReceived: body\r\n", "Subject: x\r\n\r\nReceived: body\r\n", 0, "", ""},
	{"Return-Path: <a>\r\nSubject: x\r\n\r\nb", "Subject: x\r\n\r\nb", 0, "", ""},
	{"return-path:\r\n <a>\r\n\tb\r\nSubject: x\r\n y\r\n\r\n", "Subject: x\r\n y\r\n\r\n", 0,
		"", ""},
	{"Received: a\r\n\tb\r\nRECEIVED: c\r\n\r\n", "Received: a\r\n\tb\r\nRECEIVED: c\r\n\r\n",
		2, "", ""},
	{"Delivered-To: Bob@Example.Test\r\nDelivered-To:  x@y \r\n\r\n",
		"Delivered-To: Bob@Example.Test\r\nDelivered-To:  x@y \r\n\r\n", 0,
		"bob@example.test\nx@y\n", ""},
	{"Message-ID: <1@a>\nMessage-Id: <2@a>\n\nx", "Message-ID: <1@a>\nMessage-Id: <2@a>\n\nx",
		0, "", "<1@a>"},
	/* What is no header is body from there on. */
	{"no colon here\r\nReturn-Path: <a>\r\n", "no colon here\r\nReturn-Path: <a>\r\n", 0, "",
		""},
	{"\r\nReturn-Path: <a>\r\n", "\r\nReturn-Path: <a>\r\n", 0, "", ""},
	{"", "", 0, "", ""},
	{"Return-Path: <a>", "", 0, "", ""},
	{"Return-Path-Not: <a>\r\n", "Return-Path-Not: <a>\r\n", 0, "", ""},
};

static void
check_header(const struct header_case *c, size_t piece)
{
	struct lmtp_header h;
	struct buf out = {0};
	size_t len = strlen(c->in);

	lmtp_header_init(&h);
	for (size_t at = 0; at < len; at += piece) {
		lmtp_header_feed(
			&h, c->in + at, piece < len - at ? piece : len - at, collect, &out);
	}
	lmtp_header_finish(&h, collect, &out);
	assert_string_equal(buf_cstr(&out), c->out);
	assert_int_equal(h.received, c->received);
	assert_string_equal(buf_cstr(&h.delivered), c->delivered);
	assert_string_equal(buf_cstr(&h.message_id), c->message_id);
	lmtp_header_fini(&h);
	buf_free(&out);
}

static void
header_in_all_chunkings(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(header_cases) / sizeof(header_cases[0]); i++) {
		for (size_t piece = 1; piece <= strlen(header_cases[i].in) + 1; piece++) {
			check_header(&header_cases[i], piece);
		}
	}
}

/* Lines longer than what is looked at keep their fate, in pieces of any size. */
static void
long_header_lines(void **state)
{
	static const size_t pieces[] = {1, 7, 1023, 1024, 1025, 5000, 100000};
	size_t pad = 3 * LMTP_FIELD_LOOK + 5;

	(void)state;
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		struct buf in = {0}, out = {0}, want = {0};
		struct lmtp_header h;

		buf_add_cstr(&in, "Return-Path: ");
		for (size_t k = 0; k < pad; k++) {
			buf_add_char(&in, 'r');
		}
		buf_add_cstr(&in, "\r\nSubject: ");
		buf_add_cstr(&want, "Subject: ");
		for (size_t k = 0; k < pad; k++) {
			buf_add_char(&in, 's');
			buf_add_char(&want, 's');
		}
		buf_add_cstr(&in, "\r\nReceived: x\r\n\r\nbody");
		buf_add_cstr(&want, "\r\nReceived: x\r\n\r\nbody");
		lmtp_header_init(&h);
		for (size_t at = 0; at < in.len; at += pieces[i]) {
			size_t left = in.len - at;

			lmtp_header_feed(
				&h, in.p + at, left < pieces[i] ? left : pieces[i], collect, &out);
		}
		lmtp_header_finish(&h, collect, &out);
		assert_string_equal(buf_cstr(&out), buf_cstr(&want));
		assert_int_equal(h.received, 1);
		lmtp_header_fini(&h);
		buf_free(&in);
		buf_free(&out);
		buf_free(&want);
	}
}

static void
delivered_to_is_found(void **state)
{
	struct lmtp_header h;
	struct buf out = {0};
	const char *in = "Delivered-To: A@example.test\r\nDelivered-To: b@example.test\r\n\r\n";

	(void)state;
	lmtp_header_init(&h);
	lmtp_header_feed(&h, in, strlen(in), collect, &out);
	assert_true(lmtp_header_delivered_to(&h, "a@example.test"));
	assert_true(lmtp_header_delivered_to(&h, "b@example.test"));
	assert_false(lmtp_header_delivered_to(&h, "c@example.test"));
	assert_false(lmtp_header_delivered_to(&h, "example.test"));
	lmtp_header_fini(&h);
	buf_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dots_in_all_chunkings),
		cmocka_unit_test(header_in_all_chunkings),
		cmocka_unit_test(long_header_lines),
		cmocka_unit_test(delivered_to_is_found),
	};

	return cmocka_run_group_tests_name("lmtp_data", tests, NULL, NULL);
}
