/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "lib/mem.h"
#include "mta-lite/report.h"

/* Delivery reports: who hears about what, and in which words. */

static void
due(void **state)
{
	static const struct {
		enum queue_status status;
		unsigned notify;
		int want;
	} cases[] = {
		{QUEUE_FAILED, 0, 1},
		{QUEUE_FAILED, DSN_NOTIFY_FAILURE, 1},
		{QUEUE_FAILED, DSN_NOTIFY_SUCCESS, 0},
		{QUEUE_FAILED, DSN_NOTIFY_NEVER, 0},
		{QUEUE_DELIVERED, 0, 0},
		{QUEUE_DELIVERED, DSN_NOTIFY_SUCCESS, 1},
		{QUEUE_EXPANDED, DSN_NOTIFY_SUCCESS, 1},
		{QUEUE_RELAYED, DSN_NOTIFY_SUCCESS, 0},
		{QUEUE_PENDING, DSN_NOTIFY_SUCCESS, 0},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct queue_rcpt r = {.status = cases[i].status, .notify = cases[i].notify};

		assert_int_equal(report_is_due(&r), cases[i].want);
		r.reported = 1;
		assert_false(report_is_due(&r));
	}
}

static void
make_entry(struct queue_entry *q)
{
	memset(q, 0, sizeof(*q));
	q->sender = mem_strdup("alice@example.test");
	q->envid = mem_strdup("E1");
	q->client = mem_strdup("");
	q->content_len = 40;
	queue_rcpt_set(queue_entry_add_rcpt(q, "joe@example.com", "rfc822;j+x@example.com", 0, 0),
		QUEUE_FAILED, STR("5.1.1"), STR("550 5.1.1 no\r\nsuch user"),
		STR("mx.example.com"));
	queue_rcpt_set(queue_entry_add_rcpt(q, "quiet@example.com", "", DSN_NOTIFY_NEVER, 0),
		QUEUE_FAILED, STR("5.1.1"), STR("550 no"), STR("mx.example.com"));
}

static void
has(struct buf *text, const char *what)
{
	if (!strstr(buf_cstr(text), what))
		fail_msg("\"%s\" is missing in:\n%s", what, buf_cstr(text));
}

static void
failure(void **state)
{
	struct buf out = {0};
	struct queue_entry q;
	struct report r = {
		.entry = &q,
		.hostname = "mail.example.test",
		.to = "alice@example.test",
		.id = "6B00",
		.now = 1700000000,
		.content = STR("Subject: x\r\n\r\nbody\r\n"),
		.whole = 1,
	};
	size_t i;

	(void)state;
	make_entry(&q);
	assert_true(report_returns_whole(&q));
	assert_int_equal(report_write(&r, &out), OK);
	has(&out, "To: <alice@example.test>\r\n");
	has(&out, "Auto-Submitted: auto-replied\r\n");
	has(&out, "Content-Type: multipart/report; report-type=delivery-status;\r\n");
	has(&out, "Original-Envelope-Id: E1\r\n");
	has(&out, "Original-Recipient: rfc822; j+x@example.com\r\n");
	has(&out, "Final-Recipient: rfc822; joe@example.com\r\n");
	has(&out, "Action: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; mx.example.com\r\n");
	has(&out, "Diagnostic-Code: smtp; 550 5.1.1 no??such user\r\n");
	has(&out, "Content-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\nbody\r\n");
	has(&out, "\r\n--roost-6B00--\r\n");
	assert_null(strstr(buf_cstr(&out), "quiet"));
	assert_null(strstr(buf_cstr(&out), "Future-Release"));
	for (i = 0; i < out.len; i++)
		assert_true(out.p[i] != '\n' || (i > 0 && out.p[i - 1] == '\r'));
	buf_reset(&out);
	q.release_asked = mem_strdup("for;60");
	r.whole = 0;
	assert_int_equal(report_write(&r, &out), OK);
	has(&out, "Content-Type: text/rfc822-headers\r\n\r\nSubject: x\r\n");
	assert_null(strstr(buf_cstr(&out), "body"));
	has(&out, "\r\nFuture-Release-Request: for;60\r\n\r\nOriginal-Recipient");
	q.ret = DSN_RET_HDRS;
	assert_false(report_returns_whole(&q));
	queue_entry_free(&q);
	buf_free(&out);
}

static void
success(void **state)
{
	struct buf out = {0};
	struct queue_entry q;
	struct report r = {.entry = &q, .hostname = "h", .to = "a@b", .id = "1"};

	(void)state;
	memset(&q, 0, sizeof(q));
	q.sender = mem_strdup("a@b");
	q.envid = mem_strdup("");
	queue_rcpt_set(queue_entry_add_rcpt(&q, "bob@h", "", DSN_NOTIFY_SUCCESS, 1),
		QUEUE_DELIVERED, STR("2.0.0"), STR("250 ok"), STR("lmtp"));
	queue_rcpt_set(queue_entry_add_rcpt(&q, "joe@x", "", DSN_NOTIFY_SUCCESS, 0),
		QUEUE_DELIVERED, STR("2.0.0"), STR("250 ok"), STR("mx"));
	assert_false(report_returns_whole(&q));
	assert_int_equal(report_write(&r, &out), OK);
	has(&out, "Subject: Your mail was delivered\r\n");
	has(&out, "Final-Recipient: rfc822; bob@h\r\nAction: delivered\r\n");
	has(&out, "Final-Recipient: rfc822; joe@x\r\nAction: relayed\r\n");
	assert_null(strstr(buf_cstr(&out), "Original-Envelope-Id"));
	queue_entry_free(&q);
	buf_free(&out);
}

#define HEADER_UTF8 "Subject: \xc3\xa4\r\n\r\n"

/* RFC 6533: media types of their own for what is beyond ASCII, and for that alone. */
static void
international(void **state)
{
	static const struct {
		const char *to;
		int stays_here, whole;
		const char *content, *part;
	} cases[] = {
		{"a@b", 1, 1, HEADER_UTF8,
			"message/global\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
			"Subject: \xc3\xa4\r\n"},
		{"a@b", 0, 1, HEADER_UTF8,
			"message/global\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
			"Subject: =C3=A4\r\n"},
		{"\xc3\xa4@b", 0, 1, HEADER_UTF8,
			"message/global\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSubject: \xc3\xa4\r\n"},
		{"a@b", 0, 0, HEADER_UTF8,
			"message/global-headers\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
			"Subject: \xc3\xa4\r\n"},
		{"a@b", 0, 1, "Subject: a\r\n\r\n", "message/rfc822\r\n\r\nSubject: a\r\n"},
		{"a@b", 0, 0, "Subject: a\r\n\r\n", "text/rfc822-headers\r\n\r\nSubject: a\r\n"},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf out = {0};
		struct queue_entry q;
		struct report r = {.entry = &q,
			.hostname = "h",
			.to = cases[i].to,
			.id = "1",
			.content = str_of(cases[i].content),
			.whole = cases[i].whole,
			.stays_here = cases[i].stays_here};

		make_entry(&q);
		q.flags = QUEUE_SMTPUTF8 | QUEUE_8BIT;
		queue_rcpt_set(queue_entry_add_rcpt(&q, i < 4 ? "\xc3\xbc@xn--x" : "u@xn--x",
				       i == 0  ? "rfc822;\xc3\xbc@\xc3\xbc"
				       : i < 4 ? "utf-8;\xc3\xbc@\xc3\xbc"
					       : "",
				       0, 0),
			QUEUE_FAILED, STR("5.6.7"), STR("no SMTPUTF8"), STR(""));
		assert_int_equal(report_needs_utf8(&r), i < 4);
		assert_int_equal(report_write(&r, &out), OK);
		has(&out, cases[i].part);
		has(&out, i < 4 ? "Content-Type: message/global-delivery-status\r\n"
				: "Content-Type: message/delivery-status\r\n");
		if (i < 4)
			has(&out, "Original-Recipient: utf-8; \xc3\xbc@\xc3\xbc\r\n"
				  "Final-Recipient: utf-8; \xc3\xbc@xn--x\r\n");
		else
			assert_true(str_is_ascii(buf_str(&out)));
		queue_entry_free(&q);
		buf_free(&out);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(due),
		cmocka_unit_test(failure),
		cmocka_unit_test(success),
		cmocka_unit_test(international),
	};

	return cmocka_run_group_tests_name("report", tests, NULL, NULL);
}
