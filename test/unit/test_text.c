/* SPDX-License-Identifier: MIT */
#include "mail/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct {
	const char *in, *out;
} html_cases[] = {
	{"", ""},
	{"plain", "plain"},
	{"<p>Hello,   <b>wor</b>ld</p>\n<p>x", "Hello, world x"},
	{"a<br>b<br/>c", "a b c"},
	{"<script>var a = '<b>';</script>x<style>p{}</style>y", "x y"},
	{"<script>if (a<b && c</d) \"</scrip</script >x", "x"},
	{"<title>T</title>x", "x"},
	{"<!-- a -- <b> --><!DOCTYPE html>x<!---->y<!-->z", "xyz"},
	{"<?xml version='1'?>x", "x"},
	{"<a href=\"x>y\" title='<'>z</a>", "z"},
	{"a &amp; b &lt;c&gt; &quot;", "a & b <c> \""},
	{"&auml;&#228;&#xE4;&#XE4;", "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"},
	{"&nbsp", "\xc2\xa0"},
	{"&amp", "&"},
	{"&amp x", "& x"},
	{"&bogus; &; & &#; &#x; &#xg;", "&bogus; &; & &#; &#x; &#xg;"},
	{"&#0;&#x110000;&#xD800;&#99999999999;",
		"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
	{"&#150;&#x80;", "\xe2\x80\x93\xe2\x82\xac"},
	{"a < b", "a < b"},
	{"1<2", "1<2"},
	{"a<", "a<"},
	{"a<b", "a"},
	{"a<b x='", "a"},
	{"</p>x</>y", "x y"},
	{"<style>never ends", ""},
	{"<!-- never ends", ""},
	{"&aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa;",
		"&aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa;"},
	{"<SPAN>a</SPAN>b<DIV>c</DIV>", "ab c"},
};

static void
makes_text_of_html_in_any_pieces(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(html_cases) / sizeof(html_cases[0]); i++) {
		for (size_t step = 1; step < 50; step += 3) {
			const char *in = html_cases[i].in;
			struct buf out = {0};
			struct html_text h;

			html_text_init(&h);
			for (size_t at = 0, len = strlen(in); at < len; at += step)
				html_text_feed(
					&h, in + at, len - at < step ? len - at : step, &out);
			html_text_finish(&h, &out);
			if (strcmp(buf_cstr(&out), html_cases[i].out) != 0)
				fail_msg("%s gives %s", in, buf_cstr(&out));
			buf_free(&out);
		}
	}
}

static void
stops_where_the_room_ends(void **state)
{
	struct buf b = BUF_INIT(3);
	struct html_text h;

	(void)state;
	html_text_init(&h);
	assert_int_equal(html_text_feed(&h, "a b c d", 7, &b), E_TOOBIG);
	assert_string_equal(buf_cstr(&b), "a b");
	buf_free(&b);
}

static void
makes_previews(void **state)
{
	static const struct {
		const char *in;
		size_t max;
		const char *out;
	} cases[] = {
		{"", 200, ""},
		{"  \r\n\t Hello,\r\n\r\nworld  ", 200, "Hello, world"},
		{"abcdef", 3, "abc"},
		{"ab cd", 3, "ab"},
		{"ab cd", 4, "ab c"},
		{"\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac", 2, "\xe2\x82\xac\xe2\x82\xac"},
		{"a\xe2\x82", 200, "a"},
		{"a\xff"
		 "b",
			200,
			"a\xef\xbf\xbd"
			"b"},
		{"> quoted\n> more\nanswer\n", 200, "answer"},
		{"> only\n> quotes", 200, "> only > quotes"},
		{"a > b", 200, "a > b"},
		{"a\x01\x7f"
		 "b",
			200, "a b"},
		{"\xc2\xa0\xe2\x80\x8b\xc2\xad\xe2\x80\x8cx", 200, "x"},
		{"a\xe2\x80\x8d"
		 "b",
			200,
			"a\xe2\x80\x8d"
			"b"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf b = {0};

		assert_int_equal(text_preview(str_of(cases[i].in), cases[i].max, &b), OK);
		if (strcmp(buf_cstr(&b), cases[i].out) != 0)
			fail_msg("%s gives %s", cases[i].in, buf_cstr(&b));
		buf_free(&b);
	}
}

static void
html_of_megabytes_is_no_burden(void **state)
{
	static const char *const pieces[] = {"<", "<!", "<!--", "&", "&amp", "</", "<a ",
		"<script>", "<a '", "&#", "--", "<p>", " "};

	(void)state;
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		struct buf in = {0}, out = {0};
		struct html_text h;

		while (in.len < 1 << 20)
			buf_add_cstr(&in, pieces[i]);
		html_text_init(&h);
		assert_int_equal(html_text_feed(&h, in.p, in.len, &out), OK);
		html_text_finish(&h, &out);
		buf_free(&in);
		buf_free(&out);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(makes_text_of_html_in_any_pieces),
		cmocka_unit_test(stops_where_the_room_ends),
		cmocka_unit_test(makes_previews),
		cmocka_unit_test(html_of_megabytes_is_no_burden),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
