/* SPDX-License-Identifier: MIT */
#include "auth/saslprep.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "auth/password.h"

#define BAD NULL

static const struct {
	const char *in, *query, *stored;
} cases[] = {
	/* RFC 4013 section 3. */
	{"I\xc2\xadX", "IX", "IX"},
	{"user", "user", "user"},
	{"USER", "USER", "USER"},
	{"\xc2\xaa", "a", "a"},
	{"\xe2\x85\xa8", "IX", "IX"},
	{"\x07", BAD, BAD},
	{"\xd8\xa7"
	 "1",
		BAD, BAD},
	/* Section 2.1: a space that is not ASCII's. */
	{"a\xc2\xa0\xe3\x80\x80z", "a  z", "a  z"},
	/* Section 2.2: composed. */
	{"a\xcc\x88", "\xc3\xa4", "\xc3\xa4"},
	/* Section 2.3: private use, no character, a surrogate's place, tags, replacement. */
	{"x\xee\x80\x80", BAD, BAD},
	{"x\xef\xbf\xbe", BAD, BAD},
	{"x\xef\xbf\xbd", BAD, BAD},
	{"x\xf3\xa0\x80\x81", BAD, BAD},
	{"x\xe2\x80\xa8", BAD, BAD},
	/* Section 2.4: right to left throughout. */
	{"\xd8\xa7"
	 "1\xd8\xa7",
		"\xd8\xa7"
		"1\xd8\xa7",
		"\xd8\xa7"
		"1\xd8\xa7"},
	/* Section 2.5: not in Unicode 3.2. */
	{"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80", BAD},
	/* Nothing, and nothing that is left. */
	{"", BAD, BAD},
	{"\xc2\xad", BAD, BAD},
	/* No UTF-8. */
	{"caf\xe9", BAD, BAD},
	{"x\xc0\x80", BAD, BAD},
	{"x\xed\xa0\x80", BAD, BAD},
	{"a b~!\"", "a b~!\"", "a b~!\""},
};

static void
check(const char *in, enum saslprep_use use, const char *want)
{
	struct buf out = {0};
	enum err e = saslprep(str_of(in), use, &out);

	assert_int_equal(e, want ? OK : E_PARSE);
	if (want)
		assert_string_equal(buf_cstr(&out), want);
	buf_free(&out);
}

static void
test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		check(cases[i].in, SASLPREP_QUERY, cases[i].query);
		check(cases[i].in, SASLPREP_STORED, cases[i].stored);
	}
}

/* The longest, of characters that become the most; and one byte more. */
static void
test_long(void **state)
{
	static const char most[] = "\xef\xb7\xba"; /* 18 characters, 33 bytes */
	struct buf in = {0}, out = {0};

	(void)state;
	while (in.len + 3 <= SASLPREP_MAX)
		buf_add_cstr(&in, most);
	assert_int_equal(saslprep(buf_str(&in), SASLPREP_QUERY, &out), OK);
	assert_int_equal(out.len, in.len / 3 * 33);
	buf_reset(&in);
	buf_reset(&out);
	while (in.len <= SASLPREP_MAX)
		buf_add_char(&in, 'x');
	assert_int_equal(saslprep(buf_str(&in), SASLPREP_QUERY, &out), E_TOOBIG);
	buf_free(&in);
	buf_free(&out);
}

/* What was typed on one keyboard is right from another, with what is stored from before, too. */
static void
test_passwords(void **state)
{
	static const char *const same[] = {"p\xc3\xa4ss \xe2\x85\xa8", "pa\xcc\x88ss\xc2\xa0IX"};
	static const char old[] = "{PLAIN}pa\xcc\x88ss\xc2\xa0IX";
	char *stored;

	(void)state;
	for (size_t made = 0; made < 2; made++) {
		assert_int_equal(password_hash("SSHA256", str_of(same[made]), &stored), OK);
		for (size_t typed = 0; typed < 2; typed++)
			assert_int_equal(password_verify(stored, str_of(same[typed]), 0), OK);
		assert_int_equal(password_verify(stored, STR("pass IX"), 0), E_AUTH);
		free(stored);
	}
	/* Stored before anything was prepared: good as it is written. */
	assert_int_equal(password_verify(old, str_of(same[1]), 0), OK);
	assert_int_equal(password_verify(old, str_of(same[0]), 0), E_AUTH);
	/* What has no prepared form is itself. */
	assert_int_equal(password_hash("SSHA256", STR("caf\xe9"), &stored), OK);
	assert_int_equal(password_verify(stored, STR("caf\xe9"), 0), OK);
	assert_int_equal(password_verify(stored, STR("caf\xc3\xa9"), 0), E_AUTH);
	free(stored);
}

static int
load(void **state)
{
	(void)state;
	return saslprep_init();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_passwords),
	};

	return cmocka_run_group_tests(tests, load, NULL);
}
