/* SPDX-License-Identifier: MIT */
#include "imap/seqset.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
parses(void **state)
{
	static const struct {
		const char *text;
		uint32_t largest;
		const char *want;
	} cases[] = {
		{"1", 10, "1"},
		{"1:3", 10, "1:3"},
		{"3:1", 10, "1:3"},
		{"1,2,3", 10, "1:3"},
		{"9,7,5,1:2", 10, "1:2,5,7,9"},
		{"*", 10, "10"},
		{"*:*", 10, "10"},
		{"*:8", 10, "8:10"},
		{"12:*", 10, "10:12"},
		{"4294967295:*", 10, "10:4294967295"},
		{"1:4294967295", 10, "1:4294967295"},
		{"4294967295", 10, "4294967295"},
		{"1:*,*:1,5", 10, "1:10"},
		{"*", 0, ""},
		{"*:*", 0, ""},
		{"1:*", 0, "1"},
		{"*:4294967295", 0, "4294967295"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct numset set = {0};
		struct buf text = BUF_INIT(0);

		assert_int_equal(
			imap_seqset_parse(str_of(cases[i].text), cases[i].largest, &set, NULL), OK);
		(void)numset_format(&set, &text);
		assert_string_equal(buf_cstr(&text), cases[i].want);
		numset_free(&set);
		buf_free(&text);
	}
}

static void
refuses(void **state)
{
	static const struct {
		const char *text;
		enum err e;
		size_t at;
	} cases[] = {
		{"", E_PARSE, 0},
		{"0", E_PARSE, 0},
		{"1:0", E_PARSE, 2},
		{"0:*", E_PARSE, 0},
		{"1,", E_PARSE, 2},
		{",1", E_PARSE, 0},
		{"1,,2", E_PARSE, 2},
		{"1:2:3", E_PARSE, 3},
		{"1:", E_PARSE, 2},
		{":1", E_PARSE, 0},
		{"a", E_PARSE, 0},
		{"1 2", E_PARSE, 1},
		{"**", E_PARSE, 1},
		{"-1", E_PARSE, 0},
		{"4294967296", E_RANGE, 0},
		{"1:99999999999999999999999", E_RANGE, 2},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct numset set = {0};
		size_t at = 99;

		assert_int_equal(
			imap_seqset_parse(str_of(cases[i].text), 10, &set, &at), cases[i].e);
		assert_int_equal(at, cases[i].at);
		assert_true(numset_is_empty(&set));
		numset_free(&set);
	}
}

/* count items in falling order, the order that costs most. */
static enum err
parse_many(uint32_t count, uint64_t *size)
{
	struct buf text = BUF_INIT(0);
	struct numset set = {0};
	enum err e;

	for (uint32_t n = count; n > 0; n--)
		(void)buf_printf(&text, n > 1 ? "%u," : "%u", 2 * n);
	e = imap_seqset_parse(buf_str(&text), 1, &set, NULL);
	*size = numset_size(&set);
	numset_free(&set);
	buf_free(&text);
	return e;
}

static void
many_items(void **state)
{
	uint64_t size;

	(void)state;
	assert_int_equal(parse_many(IMAP_SEQSET_ITEMS_MAX, &size), OK);
	assert_int_equal(size, IMAP_SEQSET_ITEMS_MAX);
	assert_int_equal(parse_many(1000000, &size), E_TOOBIG);
	assert_int_equal(size, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses),
		cmocka_unit_test(refuses),
		cmocka_unit_test(many_items),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
