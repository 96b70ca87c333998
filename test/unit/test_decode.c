/* SPDX-License-Identifier: MIT */
#include "mail/decode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
reads_the_encoding(void **state)
{
	(void)state;
	assert_int_equal(mail_encoding_parse(STR(" Base64 (x)")), MAIL_ENCODING_BASE64);
	assert_int_equal(mail_encoding_parse(STR("QUOTED-PRINTABLE;")), MAIL_ENCODING_QP);
	assert_int_equal(mail_encoding_parse(STR("")), MAIL_ENCODING_7BIT);
	assert_int_equal(mail_encoding_parse(STR("8bit")), MAIL_ENCODING_8BIT);
	assert_int_equal(mail_encoding_parse(STR("x-uuencode")), MAIL_ENCODING_UNKNOWN);
	assert_string_equal(mail_encoding_name(MAIL_ENCODING_BASE64), "BASE64");
}

struct decode_case {
	enum mail_encoding encoding;
	const char *in, *out;
	unsigned bad;
};

static const struct decode_case decode_cases[] = {
	{MAIL_ENCODING_7BIT, "a=3D\r\n", "a=3D\r\n", 0},
	{MAIL_ENCODING_BASE64, "", "", 0},
	{MAIL_ENCODING_BASE64, "aGVsbG8=", "hello", 0},
	{MAIL_ENCODING_BASE64, "aGVs\r\nbG8g d29ybGQ=\r\n", "hello world", 0},
	{MAIL_ENCODING_BASE64, "aGk=aGk=", "hihi", 0},
	{MAIL_ENCODING_BASE64, "aGk", "hi", 1},
	{MAIL_ENCODING_BASE64, "aGVsbG8", "hello", 1},
	{MAIL_ENCODING_BASE64, "a", "", 2},
	{MAIL_ENCODING_BASE64, "a!G\x80Vs", "hel", 2},
	{MAIL_ENCODING_BASE64, "====", "", 0},
	{MAIL_ENCODING_BASE64, "a===", "", 1},
	{MAIL_ENCODING_QP, "", "", 0},
	{MAIL_ENCODING_QP, "=48=65llo", "Hello", 0},
	{MAIL_ENCODING_QP, "a=\r\nb=\nc=  \r\nd", "abcd", 0},
	{MAIL_ENCODING_QP, "blank   \r\nx \t\ny", "blank\r\nx\ny", 0},
	{MAIL_ENCODING_QP, "a b  c", "a b  c", 0},
	{MAIL_ENCODING_QP, "end  ", "end", 0},
	{MAIL_ENCODING_QP, "a=", "a", 0},
	{MAIL_ENCODING_QP, "=e4=E4", "\xe4\xe4", 0},
	{MAIL_ENCODING_QP, "=G1=4", "=G1=4", 2},
	{MAIL_ENCODING_QP, "==3D", "==", 1},
	{MAIL_ENCODING_QP, "=4=41", "=4A", 1},
	{MAIL_ENCODING_QP, "= x", "= x", 1},
	{MAIL_ENCODING_QP, "a\rb", "a\rb", 0},
	{MAIL_ENCODING_QP, "=\r=41", "=\rA", 1},
};

static void
decodes_in_pieces_of_any_size(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(decode_cases) / sizeof(decode_cases[0]); i++) {
		const struct decode_case *c = &decode_cases[i];

		for (size_t step = 1; step < 9; step++) {
			struct buf out = {0};
			struct decoder d;
			size_t len = strlen(c->in);

			decoder_init(&d, c->encoding);
			for (size_t at = 0; at < len; at += step)
				decoder_feed(
					&d, c->in + at, len - at < step ? len - at : step, &out);
			decoder_finish(&d, &out);
			assert_string_equal(buf_cstr(&out), c->out);
			assert_int_equal(d.bad, c->bad);
			buf_free(&out);
		}
	}
}

static void
keeps_what_fits(void **state)
{
	struct buf b = BUF_INIT(5);

	(void)state;
	assert_int_equal(decode_all(MAIL_ENCODING_7BIT, STR("abcdefgh"), &b, NULL), E_TOOBIG);
	assert_string_equal(buf_cstr(&b), "abcde");
	buf_reset(&b);
	assert_int_equal(
		decode_all(MAIL_ENCODING_BASE64, STR("YWJjZGVmZ2hpams="), &b, NULL), E_TOOBIG);
	assert_true(b.len >= 3 && b.len <= 5 && memcmp(b.p, "abcde", b.len) == 0);
	buf_reset(&b);
	assert_int_equal(decode_all(MAIL_ENCODING_QP, STR("a=42cdefgh"), &b, NULL), E_TOOBIG);
	assert_int_equal(b.len, 5);
	buf_free(&b);
}

static void
many_held_blanks_come_out_in_the_end(void **state)
{
	struct buf in = {0}, out = {0};

	(void)state;
	for (int i = 0; i < 1000; i++)
		buf_add_char(&in, ' ');
	buf_add_char(&in, 'x');
	decode_all(MAIL_ENCODING_QP, buf_str(&in), &out, NULL);
	assert_int_equal(out.len, 1001);
	buf_free(&in);
	buf_free(&out);
}

static void
encodes(void **state)
{
	struct buf b = {0};

	(void)state;
	encode_base64(STR("hello world"), 8, &b);
	assert_string_equal(buf_cstr(&b), "aGVsbG8g\r\nd29ybGQ=\r\n");
	buf_reset(&b);
	encode_base64(STR("ab"), 0, &b);
	assert_string_equal(buf_cstr(&b), "YWI=");
	buf_reset(&b);
	encode_qp(STR("a=b \n.\nFrom x\r\n\xe4"), 1, &b);
	assert_string_equal(buf_cstr(&b), "a=3Db=20\r\n=2E\r\n=46rom x\r\n=E4");
	buf_reset(&b);
	encode_qp(STR("a\r\nb"), 0, &b);
	assert_string_equal(buf_cstr(&b), "a=0D=0Ab");
	buf_free(&b);
}

static void
what_is_encoded_decodes_to_itself(void **state)
{
	char bytes[700];

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i * 37 + i / 251);
	for (size_t len = 0; len < sizeof(bytes); len += 13) {
		struct buf e = {0}, d = {0};
		uint64_t bad;

		encode_qp(str_make(bytes, len), 0, &e);
		for (size_t i = 0, col = 0; i < e.len; i++) {
			col = e.p[i] == '\n' ? 0 : col + 1;
			assert_true(col <= 77); /* 76 and the CR */
		}
		decode_all(MAIL_ENCODING_QP, buf_str(&e), &d, &bad);
		assert_int_equal(bad, 0);
		assert_int_equal(d.len, len);
		assert_memory_equal(d.p ? d.p : "", bytes, len);
		buf_reset(&e);
		buf_reset(&d);
		encode_base64(str_make(bytes, len), 76, &e);
		decode_all(MAIL_ENCODING_BASE64, buf_str(&e), &d, &bad);
		assert_int_equal(bad, 0);
		assert_int_equal(d.len, len);
		assert_memory_equal(d.p ? d.p : "", bytes, len);
		buf_free(&e);
		buf_free(&d);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_the_encoding),
		cmocka_unit_test(decodes_in_pieces_of_any_size),
		cmocka_unit_test(keeps_what_fits),
		cmocka_unit_test(many_held_blanks_come_out_in_the_end),
		cmocka_unit_test(encodes),
		cmocka_unit_test(what_is_encoded_decodes_to_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
