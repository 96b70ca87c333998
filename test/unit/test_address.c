/* SPDX-License-Identifier: MIT */
#include "mail/address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A list in one line: name|route|mailbox|host; "-" is NIL, "{" and "}" are the group markers. */
static void
show(const struct address_list *l, struct buf *out)
{
	for (size_t i = 0; i < l->n; i++) {
		const struct address *a = &l->v[i];
		const struct str parts[] = {a->name, a->route, a->mailbox, a->host};

		if (i)
			buf_add_char(out, ' ');
		if (a->kind == ADDRESS_GROUP_END) {
			buf_add_char(out, '}');
			continue;
		}
		if (a->kind == ADDRESS_GROUP_START) {
			buf_add_str(out, a->mailbox);
			buf_add_char(out, '{');
			continue;
		}
		for (size_t k = 0; k < 4; k++) {
			if (k)
				buf_add_char(out, '|');
			if (parts[k].p)
				buf_add_str(out, parts[k]);
			else
				buf_add_char(out, '-');
		}
	}
}

static const struct {
	const char *in, *out;
} cases[] = {
	{"", ""},
	{" \r\n ", ""},
	{",,,", ""},
	{"a@b", "-|-|a|b"},
	{"a@b,c@d", "-|-|a|b -|-|c|d"},
	{"Ann <a@b>", "Ann|-|a|b"},
	{"Ann B. Cee <a@b>", "Ann B. Cee|-|a|b"},
	{"\"Cee, Ann\" <a@b>, x@y", "Cee, Ann|-|a|b -|-|x|y"},
	{"\"A \\\"q\\\" \\\\\" <a@b>", "A \"q\" \\|-|a|b"},
	{"\"\" <a@b>", "|-|a|b"},
	{"a@b (Ann)", "Ann|-|a|b"},
	{"<a@b> (Ann (nested) \\) x)", "Ann (nested) ) x|-|a|b"},
	{"(before) a(mid)@(mid)b (after)", "after|-|a|b"},
	{"Ann (c) <a@b>", "Ann|-|a|b"},
	{"<@r1,@r2:a@b>", "-|@r1,@r2|a|b"},
	{"Ann <@r1:a@b>", "Ann|@r1|a|b"},
	{"g:;", "g{ }"},
	{"undisclosed recipients:;", "undisclosed recipients{ }"},
	{"g: a@b, c@d;, e@f", "g{ -|-|a|b -|-|c|d } -|-|e|f"},
	{"g: a@b; h: c@d;", "g{ -|-|a|b } h{ -|-|c|d }"},
	{"g: a@b", "g{ -|-|a|b }"},
	{"g:", "g{ }"},
	{"g: h: a@b;", "g{ -|-|h: a|b }"},
	{"a@b; c@d", "-|-|a|b -|-|c|d"},
	{"joe", "-|-|joe|"},
	{"Ann <joe>", "Ann|-|joe|"},
	{"Ann <>", "Ann|-||"},
	{"<>", "-|-||"},
	{"\"\"@d", "-|-||d"},
	{"@d", "-|-||d"},
	{"a@", "-|-|a|"},
	{"@", "-|-||"},
	{"\"a b\"@c", "-|-|a b|c"},
	{"\"a@b\"@c", "-|-|a@b|c"},
	{"a . b @ c . d", "-|-|a.b|c.d"},
	{"\"a\".b@c", "-|-|a.b|c"},
	{"a@[192.0.2.1]", "-|-|a|[192.0.2.1]"},
	{"a@[IPv6:2001:db8::1]", "-|-|a|[IPv6:2001:db8::1]"},
	{"a@b <a@b>", "a@b|-|a|b"},
	{"a@b.com <c@d>, e@f", "a@b.com|-|c|d -|-|e|f"},
	{"=?utf-8?q?=C3=A4?= <a@b>", "=?utf-8?q?=C3=A4?=|-|a|b"},
	{"=?utf-8?q?a?=\r\n =?utf-8?q?b?= <a@b>", "=?utf-8?q?a?= =?utf-8?q?b?=|-|a|b"},
	{"\xc3\xa4 <a@b>", "\xc3\xa4|-|a|b"},
	{"\xff\xc3 <\x80@b>", "\xff\xc3|-|\x80|b"},
	/* Broken ones: something is said, nothing runs away. */
	{"Ann <a@b", "Ann|-|a|b"},
	{"Ann <a@b, c@d", "Ann|-|a|b -|-|c|d"},
	{"Ann a@b>", "-|-|Ann a|b>"},
	{"\"unterminated <a@b>", "-|-|unterminated <a@b>|"},
	{"(unterminated a@b", ""},
	{"a@b (unterminated", "unterminated|-|a|b"},
	{"a@[1.2", "-|-|a|[1.2"},
	{"<<a@b>>", "-|-||"},
	{"a@b c@d", "-|-|a|b"},
	{"a@b@c", "-|-|a|b"},
	{"<a@b@c>", "-|-|a|b"},
	{"\\", "-|-|\\|"},
	{"<@", "-|@||"},
	{"<@a:", "-|@a||"},
	{"a b c", "-|-|a b c|"},
	{";;;", ""},
	{":", "{ }"},
	{"::::", "{ -|-|:::| }"},
};

static void
parses_lists(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct address_list l;
		struct buf b = {0};

		address_parse_rfc822(str_of(cases[i].in), 0, &l);
		show(&l, &b);
		if (strcmp(buf_cstr(&b), cases[i].out) != 0)
			fail_msg("%s\n  gives %s\n  not   %s", cases[i].in, buf_cstr(&b),
				cases[i].out);
		buf_free(&b);
		address_list_free(&l);
	}
}

static void
the_count_is_bounded_and_groups_are_closed(void **state)
{
	struct buf in = {0};
	struct address_list l;

	(void)state;
	for (int i = 0; i < 100000; i++)
		buf_add_cstr(&in, "a@b, ");
	address_parse_rfc822(buf_str(&in), 0, &l);
	assert_int_equal(l.n, ADDRESS_MAX);
	assert_true(l.truncated);
	address_list_free(&l);
	address_parse_rfc822(STR("g: a@b, c@d;"), 2, &l);
	assert_int_equal(l.n, 3);
	assert_int_equal(l.v[2].kind, ADDRESS_GROUP_END);
	address_list_free(&l);
	buf_free(&in);
}

/* Each of these would take hours if any scan started over again and again. */
static void
hostile_input_takes_linear_time(void **state)
{
	static const char *const pieces[] = {"(", "\"", "<", "a@b <", "((a)", "@", ":", ";", "\\",
		"[", "a@[", "\"a\" ", "a (", ",", ".", "<@", "a:b;", "(\\"};
	enum { LEN = 4 << 20 };

	(void)state;
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		struct buf in = {0};
		struct address_list l;

		while (in.len < LEN)
			buf_add_cstr(&in, pieces[i]);
		address_parse_rfc822(buf_str(&in), SIZE_MAX, &l);
		address_list_free(&l);
		buf_free(&in);
	}
}

static void
formats(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{"a@b", "a@b"},
		{"Ann <a@b>", "Ann <a@b>"},
		{"\"Cee, Ann\" <a@b>", "\"Cee, Ann\" <a@b>"},
		{"\"q\\\"\" <\"x y\"@b>", "\"q\\\"\" <\"x y\"@b>"},
		{"=?utf-8?q?a?= <a@b>", "=?utf-8?q?a?= <a@b>"},
		{"\"\"@b", "\"\"@b"},
		{"g:;", "g:"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct address_list l;
		struct buf b = {0};

		address_parse_rfc822(str_of(rows[i].in), 0, &l);
		assert_true(l.n > 0);
		assert_int_equal(address_format(&l.v[0], &b), OK);
		assert_string_equal(buf_cstr(&b), rows[i].out);
		buf_free(&b);
		address_list_free(&l);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses_lists),
		cmocka_unit_test(the_count_is_bounded_and_groups_are_closed),
		cmocka_unit_test(hostile_input_takes_linear_time),
		cmocka_unit_test(formats),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
