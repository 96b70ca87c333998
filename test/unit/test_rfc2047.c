/* SPDX-License-Identifier: MIT */
#include "mail/rfc2047.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct {
	const char *in, *out;
} cases[] = {
	{"", ""},
	{" plain  text ", "plain  text"},
	{"folded\r\n text", "folded text"},
	{"=?utf-8?q?a?=", "a"},
	{"=?UTF-8?Q?Gr=C3=BC=C3=9Fe_x?=", "Gr\xc3\xbc\xc3\x9f"
					  "e x"},
	{"=?iso-8859-1?Q?=E4?=", "\xc3\xa4"},
	{"=?utf-8?B?R3LDvMOfZQ==?=", "Gr\xc3\xbc\xc3\x9f"
				     "e"},
	{"=?us-ascii*en?q?a?=", "a"},
	/* RFC 2047 section 8. */
	{"=?ISO-8859-1?Q?a?=", "a"},
	{"=?ISO-8859-1?Q?a?= b", "a b"},
	{"=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"},
	{"=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=", "ab"},
	{"=?ISO-8859-1?Q?a?=\r\n    =?ISO-8859-1?Q?b?=", "ab"},
	{"=?ISO-8859-1?Q?a_b?=", "a b"},
	{"=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b"},
	/* A character split between two words. */
	{"=?utf-8?Q?=C3?= =?utf-8?Q?=A4?=", "\xc3\xa4"},
	{"=?utf-8?B?4oI=?= =?UTF-8?B?rA==?=", "\xe2\x82\xac"},
	{"=?utf-8?Q?=C3?= x =?utf-8?Q?=A4?=", "\xef\xbf\xbd x \xef\xbf\xbd"},
	{"x=?utf-8?q?a?=y", "xay"},
	{"(=?utf-8?q?a?=)", "(a)"},
	{"=?utf-8?q?a b?=", "a b"},
	/* Malformed ones are text. */
	{"=?utf-8?x?a?=", "=?utf-8?x?a?="},
	{"=?utf-8?q?a", "=?utf-8?q?a"},
	{"=?utf-8?q?a?", "=?utf-8?q?a?"},
	{"=??q?a?=", "=??q?a?="},
	{"=?", "=?"},
	{"=?=", "=?="},
	{"=?utf-8?", "=?utf-8?"},
	{"=?utf-8?q", "=?utf-8?q"},
	{"=?utf-8?q?", "=?utf-8?q?"},
	{"=?utf-8?q?"
	 "?=",
		""},
	{"=?utf-8?q?=4?=", "=4"},
	{"=?x-unknown?q?a=E4?=", "a\xef\xbf\xbd"},
	{"\xff raw", "\xef\xbf\xbd raw"},
	{"\xc3\xa4 raw", "\xc3\xa4 raw"},
	/* No line end or NUL gets out of a word. */
	{"=?utf-8?q?a=0D=0Ab=00c?=", "a  b c"},
};

static void
decodes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf b = {0};

		assert_int_equal(rfc2047_decode(str_of(cases[i].in), &b), OK);
		if (strcmp(buf_cstr(&b), cases[i].out) != 0)
			fail_msg("%s gives %s", cases[i].in, buf_cstr(&b));
		buf_free(&b);
	}
}

static void
hostile_input_takes_linear_time(void **state)
{
	static const char *const pieces[] = {"=?", "=?a?q?", "=?utf-8?b?=", "=", "?", "=?a",
		"=?utf-8?q?a?=\t", "=?x?q?a?= =?y?b?YQ==?= "};

	(void)state;
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		struct buf in = {0}, out = {0};

		while (in.len < 1 << 20)
			buf_add_cstr(&in, pieces[i]);
		assert_int_equal(rfc2047_decode(buf_str(&in), &out), OK);
		assert_true(str_is_utf8(buf_str(&out)));
		buf_free(&in);
		buf_free(&out);
	}
}

static void
stays_within_the_bound(void **state)
{
	(void)state;
	for (size_t max = 1; max < 12; max++) {
		struct buf b = BUF_INIT(max);

		assert_int_equal(
			rfc2047_decode(
				STR("=?utf-8?q?=E2=82=AC=E2=82=AC?= =?iso-8859-1?q?=E4bcdefgh?="),
				&b),
			E_TOOBIG);
		assert_true(str_is_utf8(buf_str(&b)));
		buf_free(&b);
	}
}

static void
encodes(void **state)
{
	static const struct {
		const char *in, *phrase, *text;
	} rows[] = {
		{"Ann", "Ann", "Ann"},
		{"Ann Cee", "Ann Cee", "Ann Cee"},
		{"Ann, \"C\"", "\"Ann, \\\"C\\\"\"", "Ann, \"C\""},
		{"", "\"\"", ""},
		{"J\xc3\xbcrgen", "=?UTF-8?Q?J=C3=BCrgen?=", "=?UTF-8?Q?J=C3=BCrgen?="},
		{"\xe6\x97\xa5\xe6\x9c\xac", "=?UTF-8?B?5pel5pys?=", "=?UTF-8?B?5pel5pys?="},
		{"=?x?q?y?=", "=?UTF-8?B?PT94P3E/eT89?=", "=?UTF-8?B?PT94P3E/eT89?="},
		{"a\r\nBcc: x", "=?UTF-8?B?YQ0KQmNjOiB4?=", "=?UTF-8?B?YQ0KQmNjOiB4?="},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf b = {0};

		rfc2047_encode_phrase(str_of(rows[i].in), &b);
		assert_string_equal(buf_cstr(&b), rows[i].phrase);
		buf_reset(&b);
		rfc2047_encode_text(str_of(rows[i].in), &b);
		assert_string_equal(buf_cstr(&b), rows[i].text);
		buf_free(&b);
	}
}

static void
what_is_encoded_decodes_to_itself(void **state)
{
	struct buf text = {0};

	(void)state;
	for (int i = 0; i < 60; i++) {
		struct buf e = {0}, d = {0};
		size_t col = 0;

		buf_add_cstr(&text, i % 3 ? "\xe2\x82\xac"
					    "a"
					  : "\xf0\x9f\x98\x80 \xc3\xa4");
		rfc2047_encode_text(buf_str(&text), &e);
		for (size_t k = 0; k < e.len; k++) {
			col = e.p[k] == '\n' ? 0 : col + 1;
			assert_true(col <= 77);
		}
		rfc2047_decode(buf_str(&e), &d);
		assert_string_equal(buf_cstr(&d), buf_cstr(&text));
		buf_free(&e);
		buf_free(&d);
	}
	buf_free(&text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decodes),
		cmocka_unit_test(hostile_input_takes_linear_time),
		cmocka_unit_test(stays_within_the_bound),
		cmocka_unit_test(encodes),
		cmocka_unit_test(what_is_encoded_decodes_to_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
