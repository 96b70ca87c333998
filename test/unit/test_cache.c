/* SPDX-License-Identifier: MIT */
#include "mail/cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char sample[] =
	"Return-Path: <a@b.test>\r\nReceived: from x\r\n"
	"From: =?utf-8?q?J=C3=BCrg?= <a@b.test>\r\nTo: Bob <bob@c.test>, x@y\r\nCc: g: z@z;\r\n"
	"Subject: Re: [list] hello\r\nDate: Thu, 1 Feb 2024 10:11:12 +0100\r\n"
	"Message-ID: <\"3\"@b.test>\r\nReferences: <1@b.test>\r\n <2@b.test>\r\n"
	"In-Reply-To: <9@b.test>\r\nX-Mailer: one\r\nX-Mailer: two\r\nMIME-Version: 1.0\r\n"
	"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nHello,\r\nworld\r\n"
	"--b\r\nContent-Type: image/png\r\n\r\nx\r\n--b--\r\n";

static void
build(const char *message, struct buf *out)
{
	struct mime_message *m;

	mime_parse(str_of(message), NULL, &m);
	assert_int_equal(mail_cache_build(m, out), OK);
	mime_message_free(&m);
}

static void
expect(const struct buf *record, enum mail_cache_field field, const char *text)
{
	struct str s;
	enum err e = mail_cache_get(buf_str(record), field, &s);

	if (!text) {
		assert_int_equal(e, E_NOTFOUND);
		return;
	}
	assert_int_equal(e, OK);
	if (!str_is(s, text))
		fail_msg("%d is %.*s", field, STR_ARG(s));
}

static void
holds_what_clients_ask_for(void **state)
{
	struct mail_cache_sizes z;
	struct part_table t;
	struct buf r = {0};
	struct str s, id;
	time_t when;
	int zone;

	(void)state;
	build(sample, &r);
	assert_int_equal(mail_cache_check(buf_str(&r)), OK);
	expect(&r, MAIL_CACHE_BASE_SUBJECT, "HELLO");
	expect(&r, MAIL_CACHE_SUBJECT_FLAGS, "\1");
	expect(&r, MAIL_CACHE_MESSAGE_ID, "3@b.test");
	expect(&r, MAIL_CACHE_FROM, "A");
	expect(&r, MAIL_CACHE_FROM_DISPLAY, "JU\xcc\x88RG");
	expect(&r, MAIL_CACHE_TO, "BOB");
	expect(&r, MAIL_CACHE_TO_DISPLAY, "BOB");
	expect(&r, MAIL_CACHE_CC, "G");
	expect(&r, MAIL_CACHE_PREVIEW, "Hello, world");
	assert_int_equal(mail_cache_get(buf_str(&r), MAIL_CACHE_REFERENCES, &s), OK);
	assert_true(mail_cache_reference_next(&s, &id));
	assert_true(str_is(id, "1@b.test"));
	assert_true(mail_cache_reference_next(&s, &id));
	assert_true(str_is(id, "2@b.test"));
	assert_false(mail_cache_reference_next(&s, &id));
	assert_int_equal(mail_cache_sent_date(buf_str(&r), &when, &zone), OK);
	assert_int_equal(when, 1706778672);
	assert_int_equal(zone, 60);
	assert_int_equal(mail_cache_sizes(buf_str(&r), &z), OK);
	assert_int_equal(z.size, sizeof(sample) - 1);
	assert_int_equal(z.header_crlf + z.body_crlf, z.size);
	assert_int_equal(z.header_stored, z.header_crlf);
	assert_int_equal(mail_cache_parts(buf_str(&r), &t), OK);
	assert_int_equal(t.n, 3);
	part_table_free(&t);
	assert_int_equal(mail_cache_get(buf_str(&r), MAIL_CACHE_BODY, &s), OK);
	assert_int_equal(s.p[s.len - 1], ')');
	buf_free(&r);
}

static void
knows_the_headers(void **state)
{
	struct buf r = {0}, big = {0};
	struct str s;

	(void)state;
	build(sample, &r);
	assert_int_equal(
		mail_cache_header(buf_str(&r), STR("x-mailer"), &s), MAIL_CACHE_HEADER_FOUND);
	assert_true(str_is(s, "X-Mailer: one\r\nX-Mailer: two\r\n"));
	assert_int_equal(
		mail_cache_header(buf_str(&r), STR("References"), &s), MAIL_CACHE_HEADER_FOUND);
	assert_true(str_is(s, "References: <1@b.test>\r\n <2@b.test>\r\n"));
	assert_int_equal(mail_cache_header(buf_str(&r), STR("Bcc"), &s), MAIL_CACHE_HEADER_ABSENT);
	assert_int_equal(
		mail_cache_header(buf_str(&r), STR("Received"), &s), MAIL_CACHE_HEADER_NOT_CACHED);
	assert_int_equal(
		mail_cache_header(STR("garbage"), STR("Bcc"), &s), MAIL_CACHE_HEADER_NOT_CACHED);
	/* One that is too long is not held, the others are. */
	buf_add_cstr(&big, "Subject: s\nTo: ");
	for (int i = 0; i < 5000; i++)
		buf_add_cstr(&big, "a@b.test, ");
	buf_add_cstr(&big, "\n\n");
	buf_reset(&r);
	build(buf_cstr(&big), &r);
	assert_int_equal(
		mail_cache_header(buf_str(&r), STR("To"), &s), MAIL_CACHE_HEADER_NOT_CACHED);
	assert_int_equal(
		mail_cache_header(buf_str(&r), STR("Subject"), &s), MAIL_CACHE_HEADER_FOUND);
	assert_int_equal(mail_cache_header(buf_str(&r), STR("Cc"), &s), MAIL_CACHE_HEADER_ABSENT);
	/* When not all of the header was looked at, what was not seen may yet be there. */
	buf_reset(&big);
	buf_add_cstr(&big, "Subject: s\n");
	for (int i = 0; i < 3000; i++)
		buf_add_cstr(&big, "X-Other: x\n");
	buf_add_cstr(&big, "To: a@b\n\n");
	buf_reset(&r);
	build(buf_cstr(&big), &r);
	assert_int_equal(
		mail_cache_header(buf_str(&r), STR("Subject"), &s), MAIL_CACHE_HEADER_FOUND);
	assert_int_equal(
		mail_cache_header(buf_str(&r), STR("To"), &s), MAIL_CACHE_HEADER_NOT_CACHED);
	buf_free(&big);
	buf_free(&r);
}

static void
an_empty_message_has_a_record(void **state)
{
	struct mail_cache_sizes z;
	struct buf r = {0};
	struct str s;
	time_t when;
	int zone;

	(void)state;
	build("", &r);
	expect(&r, MAIL_CACHE_MESSAGE_ID, NULL);
	expect(&r, MAIL_CACHE_REFERENCES, "");
	expect(&r, MAIL_CACHE_PREVIEW, "");
	expect(&r, MAIL_CACHE_BASE_SUBJECT, "");
	expect(&r, MAIL_CACHE_FROM, NULL);
	assert_int_equal(mail_cache_sent_date(buf_str(&r), &when, &zone), E_NOTFOUND);
	assert_int_equal(mail_cache_sizes(buf_str(&r), &z), OK);
	assert_int_equal(z.size, 0);
	assert_int_equal(mail_cache_header(buf_str(&r), STR("To"), &s), MAIL_CACHE_HEADER_ABSENT);
	buf_reset(&r);
	build("In-Reply-To: text <5@a> <6@a>\n\n", &r);
	expect(&r, MAIL_CACHE_REFERENCES, "5@a");
	buf_free(&r);
}

static void
long_reference_lists_keep_both_ends(void **state)
{
	struct buf in = {0}, r = {0}, last = {0};
	struct str list, id;
	unsigned n = 0;

	(void)state;
	buf_add_cstr(&in, "References:");
	for (int i = 0; i < 5000; i++)
		buf_printf(&in, "\n <%d@example.test>", i);
	buf_add_cstr(&in, "\n\n");
	build(buf_cstr(&in), &r);
	assert_int_equal(mail_cache_get(buf_str(&r), MAIL_CACHE_REFERENCES, &list), OK);
	assert_true(list.len <= 8192);
	while (mail_cache_reference_next(&list, &id)) {
		if (n++ == 0)
			assert_true(str_is(id, "0@example.test"));
		assert_true(str_ends_i(id, "@example.test"));
		buf_reset(&last);
		buf_add_str(&last, id);
	}
	assert_string_equal(buf_cstr(&last), "4999@example.test");
	assert_true(n > 100);
	buf_free(&in);
	buf_free(&r);
	buf_free(&last);
}

static void
the_bound_is_kept(void **state)
{
	struct mime_message *m;

	(void)state;
	mime_parse(str_of(sample), NULL, &m);
	for (size_t max = 1; max < 1000; max += 7) {
		struct buf b = BUF_INIT(max);

		assert_int_equal(mail_cache_build(m, &b), E_TOOBIG);
		assert_int_equal(b.len, 0);
		buf_free(&b);
	}
	mime_message_free(&m);
}

static void
every_message_has_a_record(void **state)
{
	struct buf in = {0}, r = {0};
	struct str s;

	(void)state;
	/* As many addresses as a megabyte holds, which Sender and Reply-To repeat, in many
	 * messages. */
	for (int depth = 0; depth < 50; depth++) {
		buf_add_cstr(&in, "Content-Type: message/rfc822\nFrom: ");
		for (int i = 0; i < (depth ? 8000 : 80000); i++)
			buf_add_cstr(&in, "a,");
		buf_add_cstr(&in, "\nSubject: ");
		for (int i = 0; i < 900; i++)
			buf_add_cstr(&in, "\"\\");
		buf_add_cstr(&in, "\n\n");
	}
	build(buf_cstr(&in), &r);
	assert_true(r.len < MAIL_CACHE_RECORD_MAX);
	assert_int_equal(mail_cache_get(buf_str(&r), MAIL_CACHE_BODY, &s), OK);
	expect(&r, MAIL_CACHE_PREVIEW, "");
	assert_int_equal(
		mail_cache_header(buf_str(&r), STR("Content-Type"), &s), MAIL_CACHE_HEADER_FOUND);
	buf_free(&in);
	buf_free(&r);
}

/* All readers, on whatever this is. */
static void
read_all(struct str record)
{
	struct mail_cache_sizes z;
	struct part_table t;
	struct str s, id;
	time_t when;
	int zone;

	mail_cache_check(record);
	for (int f = 0; f < 20; f++)
		if (mail_cache_get(record, (enum mail_cache_field)f, &s) == OK)
			assert_true(s.p >= record.p && s.p + s.len <= record.p + record.len);
	if (mail_cache_get(record, MAIL_CACHE_REFERENCES, &s) == OK)
		while (mail_cache_reference_next(&s, &id))
			assert_true(id.len > 0);
	mail_cache_sent_date(record, &when, &zone);
	mail_cache_sizes(record, &z);
	if (mail_cache_parts(record, &t) == OK)
		part_table_free(&t);
	if (mail_cache_header(record, STR("User-Agent"), &s) == MAIL_CACHE_HEADER_FOUND)
		assert_true(s.p >= record.p && s.p + s.len <= record.p + record.len);
}

static void
garbage_is_corrupt(void **state)
{
	struct buf r = {0};

	(void)state;
	assert_int_equal(mail_cache_check(STR("")), E_CORRUPT);
	assert_int_equal(mail_cache_check(STR("RC\2")), E_CORRUPT);
	assert_int_equal(mail_cache_check(str_make("RC\2\0", 4)), E_CORRUPT);
	assert_int_equal(mail_cache_check(str_make("RC\1\0", 4)), OK);
	assert_int_equal(mail_cache_check(str_make("RC\1\0x", 5)), E_CORRUPT);
	assert_int_equal(mail_cache_check(str_make("RC\1\xff", 4)), E_CORRUPT);
	build(sample, &r);
	for (size_t cut = 0; cut < r.len; cut++) {
		char *copy = malloc(cut ? cut : 1);

		memcpy(copy, r.p, cut);
		assert_int_equal(mail_cache_check(str_make(copy, cut)), E_CORRUPT);
		read_all(str_make(copy, cut));
		free(copy);
	}
	for (size_t i = 0; i < r.len; i++) {
		char old = r.p[i];

		for (int bit = 0; bit < 8; bit++) {
			r.p[i] = (char)(old ^ 1 << bit);
			read_all(buf_str(&r));
		}
		r.p[i] = old;
	}
	buf_free(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(holds_what_clients_ask_for),
		cmocka_unit_test(knows_the_headers),
		cmocka_unit_test(an_empty_message_has_a_record),
		cmocka_unit_test(long_reference_lists_keep_both_ends),
		cmocka_unit_test(the_bound_is_kept),
		cmocka_unit_test(every_message_has_a_record),
		cmocka_unit_test(garbage_is_corrupt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
