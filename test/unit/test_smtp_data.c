/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "mta-lite/smtp_bdat.h"
#include "mta-lite/smtp_data.h"

/* The content behind DATA: nothing but CRLF.CRLF ends it, however the bytes are cut up. */

struct result {
	struct buf out;
	size_t used;
	struct smtp_data d;
};

static void
feed(struct str in, size_t chunk, struct result *r)
{
	memset(r, 0, sizeof(*r));
	r->d = SMTP_DATA_INIT;
	while (r->used < in.len && r->d.state != SMTP_DATA_END) {
		size_t n = in.len - r->used < chunk ? in.len - r->used : chunk;

		r->used += smtp_data_feed(&r->d, str_make(in.p + r->used, n), &r->out);
	}
}

static void
contents(void **state)
{
	static const struct {
		const char *in, *out, *rest;
		int bare_lf, bare_cr;
	} cases[] = {
		{".\r\n", "", "", 0, 0},
		{"\r\n.\r\n", "\r\n", "", 0, 0},
		{"a\r\n.\r\nMAIL", "a\r\n", "MAIL", 0, 0},
		{"..\r\n.\r\n", ".\r\n", "", 0, 0},
		{".a\r\n...\r\n.\r\n", "a\r\n..\r\n", "", 0, 0},
		{"a.\r\n.\r\n", "a.\r\n", "", 0, 0},
		/* What other servers have taken for the end. */
		{"a\n.\nMAIL\r\n.\r\n", "a\n.\nMAIL\r\n", "", 1, 0},
		{"a\n.\r\nMAIL\r\n.\r\n", "a\n.\r\nMAIL\r\n", "", 1, 0},
		{"a\r\n.\nMAIL\r\n.\r\n", "a\r\n\nMAIL\r\n", "", 1, 0},
		{"a\r\n.\rMAIL\r\n.\r\n", "a\r\n\rMAIL\r\n", "", 0, 1},
		{"a\r.\rMAIL\r\n.\r\n", "a\r.\rMAIL\r\n", "", 0, 1},
		{"a\r.\r\nMAIL\r\n.\r\n", "a\r.\r\nMAIL\r\n", "", 0, 1},
		{"a\r\r\n.\r\r\nMAIL\r\n.\r\n", "a\r\r\n\r\r\nMAIL\r\n", "", 0, 1},
		{"a\n\r.\r\n\nMAIL\r\n.\r\n", "a\n\r.\r\n\nMAIL\r\n", "", 1, 1},
		{"a\r\n.\r\r\nMAIL\r\n.\r\n", "a\r\n\r\r\nMAIL\r\n", "", 0, 1},
		{"\n.\n\r\n.\r\n", "\n.\n\r\n", "", 1, 0},
	};
	size_t i, chunk;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct str in = str_of(cases[i].in);

		for (chunk = 1; chunk <= in.len; chunk++) {
			struct result r;

			feed(in, chunk, &r);
			assert_int_equal(r.d.state, SMTP_DATA_END);
			if (!str_is(buf_str(&r.out), cases[i].out))
				fail_msg("case %zu, chunk %zu: \"%s\"", i, chunk, buf_cstr(&r.out));
			assert_string_equal(in.p + r.used, cases[i].rest);
			assert_int_equal(r.d.bare_lf, cases[i].bare_lf);
			assert_int_equal(r.d.bare_cr, cases[i].bare_cr);
			buf_free(&r.out);
		}
	}
}

/* Every sequence of seven out of CR, LF, dot, letter: the end is found where a plain search finds
 * it. */
static void
all_sequences(void **state)
{
	static const char alphabet[] = "\r\n.x";
	unsigned n;

	(void)state;
	for (n = 0; n < 1u << 14; n++) {
		char text[9];
		const char *end;
		struct result r;
		unsigned i, bits = n;

		memcpy(text, "\r\n", 2);
		for (i = 0; i < 7; i++, bits >>= 2)
			text[2 + i] = alphabet[bits & 3];
		/* The first line end is DATA's own. */
		feed(str_make(text + 2, 7), 1 + n % 3, &r);
		end = memmem(text, sizeof(text), "\r\n.\r\n", 5);
		if ((r.d.state == SMTP_DATA_END) != (end != NULL))
			fail_msg("sequence %u", n);
		if (end)
			assert_int_equal(r.used, (size_t)(end + 5 - (text + 2)));
		buf_free(&r.out);
	}
}

static void
flags(void **state)
{
	struct result r;

	(void)state;
	feed(STR("caf\xc3\xa9\r\nlonger line\r\n.\r\n"), 5, &r);
	assert_true(r.d.has_8bit);
	assert_false(r.d.has_nul);
	assert_int_equal(r.d.longest, 11);
	buf_free(&r.out);
	feed(STR("a\0b\r\n.\r\n"), 100, &r);
	assert_true(r.d.has_nul);
	assert_false(r.d.has_8bit);
	buf_free(&r.out);
}

/* Whatever goes in, what comes out is one message, and the same one after unstuffing. */
static void
way_out(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{"", ".\r\n"},
		{"a\r\n", "a\r\n.\r\n"},
		{"a", "a\r\n.\r\n"},
		{".\r\n", "..\r\n.\r\n"},
		{"a\n.\nb", "a\r\n..\r\nb\r\n.\r\n"},
		{"a\r.\rb\r\n", "a.b\r\n.\r\n"},
		{"a\r\n\r.\r\n", "a\r\n..\r\n.\r\n"},
		{"\r\r\n.", "\r\n..\r\n.\r\n"},
	};
	size_t i, chunk;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct str in = str_of(cases[i].in);

		for (chunk = 1; chunk <= in.len + 1; chunk++) {
			enum smtp_data_state s = SMTP_DATA_LINE_START;
			struct buf out = {0};
			struct result r;
			size_t off;

			for (off = 0; off < in.len; off += chunk)
				smtp_data_stuff(&s,
					str_make(in.p + off,
						in.len - off < chunk ? in.len - off : chunk),
					&out);
			smtp_data_finish(&s, &out);
			if (!str_is(buf_str(&out), cases[i].out))
				fail_msg("case %zu: \"%s\"", i, buf_cstr(&out));
			feed(buf_str(&out), 3, &r);
			assert_int_equal(r.d.state, SMTP_DATA_END);
			assert_int_equal(r.used, out.len);
			assert_false(r.d.bare_lf || r.d.bare_cr);
			buf_free(&r.out);
			buf_free(&out);
		}
	}
}

/* Content in chunks: the same is found wherever they end. */
static void
chunks(void **state)
{
	static const struct {
		const char *in;
		size_t len;
		int bare_lf, bare_cr, nul, eight;
		uint64_t longest;
	} cases[] = {
		{"", 0, 0, 0, 0, 0, 0},
		{"a\r\nbc\r\n", 7, 0, 0, 0, 0, 2},
		{"a\nb\r\n", 5, 1, 0, 0, 0, 3},
		{"a\rb\r\n", 5, 0, 1, 0, 0, 1},
		{"a\r\r\n", 4, 0, 1, 0, 0, 1},
		{"a\r", 2, 0, 1, 0, 0, 1},
		{"a\0b", 3, 0, 0, 1, 0, 3},
		{"\xc3\xa4\r\n", 4, 0, 0, 0, 1, 2},
		{".\r\n.\r\n", 6, 0, 0, 0, 0, 1},
	};
	size_t i, cut;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (cut = 0; cut <= cases[i].len; cut++) {
			struct smtp_data d = SMTP_DATA_INIT;

			smtp_bdat_look(&d, str_make(cases[i].in, cut));
			smtp_bdat_look(&d, str_make(cases[i].in + cut, cases[i].len - cut));
			smtp_bdat_end(&d);
			assert_int_equal(d.bare_lf, cases[i].bare_lf);
			assert_int_equal(d.bare_cr, cases[i].bare_cr);
			assert_int_equal(d.has_nul, cases[i].nul);
			assert_int_equal(d.has_8bit, cases[i].eight);
			assert_int_equal(d.longest >= cases[i].longest, 1);
		}
	}
}

static void
chunk_arguments(void **state)
{
	static const struct {
		const char *args;
		enum err e;
		uint64_t size;
		int last;
	} cases[] = {
		{"0", OK, 0, 0},
		{"86 LAST", OK, 86, 1},
		{"86 last", OK, 86, 1},
		{"18446744073709551615", OK, UINT64_MAX, 0},
		{"18446744073709551616", E_PARSE, 0, 0},
		{"", E_PARSE, 0, 0},
		{"-1", E_PARSE, 0, 0},
		{"+1", E_PARSE, 0, 0},
		{"1x", E_PARSE, 0, 0},
		{"1 LAST LAST", E_PARSE, 0, 0},
		{"1 FIRST", E_PARSE, 0, 0},
		{"000000000000000000001", E_PARSE, 0, 0},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t size = 0;
		int last = 0;

		assert_int_equal(smtp_bdat_parse(str_of(cases[i].args), &size, &last), cases[i].e);
		assert_int_equal(size, cases[i].size);
		assert_int_equal(last, cases[i].last);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chunks),
		cmocka_unit_test(chunk_arguments),
		cmocka_unit_test(contents),
		cmocka_unit_test(all_sequences),
		cmocka_unit_test(flags),
		cmocka_unit_test(way_out),
	};

	return cmocka_run_group_tests_name("smtp_data", tests, NULL, NULL);
}
