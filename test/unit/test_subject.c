/* SPDX-License-Identifier: MIT */
#include "mail/subject.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
finds_the_base(void **state)
{
	static const struct {
		const char *in, *out;
		int reply;
	} cases[] = {
		{"", "", 0},
		{"Hello", "Hello", 0},
		{" Hello \t world\r\n x ", "Hello world x", 0},
		{"Re: Hello", "Hello", 1},
		{"RE : re:Fw: FWD: Hello", "Hello", 1},
		{"Re[2]: Hello", "Hello", 1},
		{"Re [2] : Hello", "Hello", 1},
		{"[list] Re: Hello", "Hello", 1},
		{"[list] Hello", "Hello", 0},
		{"[list]", "[list]", 0},
		{"[a] [b]", "[b]", 0},
		{"[a][b] Re: [c] x", "x", 1},
		{"Hello (fwd)", "Hello", 1},
		{"Hello (fwd) (FWD) ", "Hello", 1},
		{"[fwd: Hello]", "Hello", 1},
		{"[Fwd: Re: [Fwd: Hello]]", "Hello", 1},
		{"[fwd:]", "", 1},
		{"Re:", "", 1},
		{"Regards", "Regards", 0},
		{"Fwdx: y", "Fwdx: y", 0},
		{"=?utf-8?q?Re=3A_H=C3=A4?=", "H\xc3\xa4", 1},
		{"re: [x", "[x", 1},
		{"[]x", "x", 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf b = {0};
		int reply;

		assert_int_equal(subject_base(str_of(cases[i].in), &b, &reply), OK);
		if (strcmp(buf_cstr(&b), cases[i].out) != 0 || reply != cases[i].reply)
			fail_msg("%s gives %s, %d", cases[i].in, buf_cstr(&b), reply);
		buf_free(&b);
	}
}

static void
hostile_subjects_take_linear_time(void **state)
{
	static const char *const pieces[] = {
		"[a]", "re:", "(fwd)", "[fwd:", "[", "]", "re[a]", " ", "[fwd:[a]", "re "};

	(void)state;
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		struct buf in = {0}, out = {0};

		while (in.len < 256 * 1024)
			buf_add_cstr(&in, pieces[i]);
		subject_base(buf_str(&in), &out, NULL);
		for (size_t n = in.len / 2; n; n--)
			buf_add_char(&in, ']');
		subject_base(buf_str(&in), &out, NULL);
		buf_free(&in);
		buf_free(&out);
	}
}

static void
finds_message_ids(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{"<a@b>", "a@b;"},
		{"<a@b><c@d> (x <no@no>) <e@f>", "a@b;c@d;e@f;"},
		{"<\"a\"@b>", "a@b;"},
		{"<\"a\\\"b>\"@c>", "a\"b>@c;"},
		{"<a@\r\n b>", "a@b;"},
		{"text a@b more <c@d>", "c@d;"},
		{"<a@b <c@d>", "c@d;"},
		{"<>", ""},
		{"<", ""},
		{"", ""},
		{"(((", ""},
		{"<\"", ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf id = {0}, all = {0};
		struct str s = str_of(cases[i].in);

		while (message_id_next(&s, &id)) {
			buf_add_buf(&all, &id);
			buf_add_char(&all, ';');
		}
		assert_string_equal(buf_cstr(&all), cases[i].out);
		buf_free(&id);
		buf_free(&all);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_the_base),
		cmocka_unit_test(hostile_subjects_take_linear_time),
		cmocka_unit_test(finds_message_ids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
