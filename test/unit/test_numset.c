/* SPDX-License-Identifier: MIT */
#include "lib/numset.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void
expect(const struct numset *s, const char *text)
{
	struct buf out = {0};

	assert_int_equal(numset_format(s, &out), OK);
	assert_string_equal(buf_cstr(&out), text);
	buf_free(&out);
}

static void
parses_and_normalises(void **state)
{
	static const struct {
		const char *text;
		enum err e;
		const char *normal;
	} rows[] = {
		{"1", OK, "1"},
		{"3,1,2", OK, "1:3"},
		{"5:2", OK, "2:5"},
		{"1:3,7,9:12,10:20", OK, "1:3,7,9:20"},
		{"4294967295,4294967294", OK, "4294967294:4294967295"},
		{"1:4294967295,5", OK, "1:4294967295"},
		{"0", E_RANGE, ""},
		{"1:0", E_RANGE, ""},
		{"4294967296", E_RANGE, ""},
		{"", E_PARSE, ""},
		{"1,", E_PARSE, ""},
		{"1:", E_PARSE, ""},
		{"1:2:3", E_PARSE, ""},
		{"*", E_PARSE, ""},
		{"1 2", E_PARSE, ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct numset s;

		assert_int_equal(numset_parse(str_of(rows[i].text), &s), rows[i].e);
		expect(&s, rows[i].normal);
		numset_free(&s);
	}
}

/* Compares with a plain array of booleans over many random changes. */
static void
agrees_with_a_model(void **state)
{
	enum { SIZE = 64 };
	struct numset s = {0};
	int model[SIZE] = {0};
	unsigned seed = 7;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		uint32_t first, last;
		uint64_t size = 0;

		seed = seed * 1103515245u + 12345u;
		first = (seed >> 16) % SIZE;
		last = first + (seed >> 8) % 5;
		if (last >= SIZE)
			last = SIZE - 1;
		if (seed & 0x40000000)
			numset_add_range(&s, first, last);
		else
			numset_remove_range(&s, first, last);
		for (uint32_t n = first; n <= last; n++)
			model[n] = (seed & 0x40000000) != 0;
		for (uint32_t n = 0; n < SIZE; n++) {
			assert_int_equal(numset_contains(&s, n), model[n]);
			size += (uint64_t)model[n];
		}
		assert_int_equal(numset_size(&s), size);
		for (size_t i = 1; i < s.count; i++)
			assert_true(s.ranges[i].first > s.ranges[i - 1].last + 1);
	}
	numset_free(&s);
}

static void
copies(void **state)
{
	struct numset a = {0}, b = {0};

	(void)state;
	numset_add_range(&a, 3, 9);
	numset_add(&b, 100);
	numset_copy(&b, &a);
	numset_remove_range(&a, 1, 100);
	assert_true(numset_is_empty(&a));
	expect(&b, "3:9");
	numset_copy(&b, &a);
	assert_true(numset_is_empty(&b));
	numset_free(&a);
	numset_free(&b);
}

/* Both operations over many pairs of random sets, against arrays of booleans. */
static void
intersects_and_subtracts(void **state)
{
	enum { SIZE = 40 };
	unsigned seed = 11;

	(void)state;
	for (int round = 0; round < 5000; round++) {
		struct numset s[2] = {{0}}, both = {0}, rest = {0};

		for (int which = 0; which < 2; which++) {
			for (uint32_t n = 0; n < SIZE; n++) {
				seed = seed * 1103515245u + 12345u;
				if (seed & 0x10000000)
					numset_add(&s[which], n);
			}
		}
		numset_intersect(&s[0], &s[1], &both);
		numset_subtract(&s[0], &s[1], &rest);
		for (uint32_t n = 0; n < SIZE; n++) {
			int a = numset_contains(&s[0], n), b = numset_contains(&s[1], n);

			assert_int_equal(numset_contains(&both, n), a && b);
			assert_int_equal(numset_contains(&rest, n), a && !b);
		}
		assert_int_equal(numset_size(&both) + numset_size(&rest), numset_size(&s[0]));
		numset_free(&s[0]);
		numset_free(&s[1]);
		numset_free(&both);
		numset_free(&rest);
	}
}

static void
subtracts_at_the_edges(void **state)
{
	struct numset a = {0}, b = {0}, out = {0};

	(void)state;
	numset_add_range(&a, 1, UINT32_MAX);
	numset_add_range(&b, 5, 9);
	numset_add(&b, UINT32_MAX);
	numset_subtract(&a, &b, &out);
	expect(&out, "1:4,10:4294967294");
	numset_intersect(&a, &b, &out);
	expect(&out, "5:9,4294967295");
	numset_subtract(&a, &a, &out);
	expect(&out, "");
	numset_free(&a);
	numset_free(&b);
	numset_free(&out);
}

static void
packs(void **state)
{
	static const char *const sets[] = {"", "1", "1:4294967295", "4294967295", "5,7,9:300,70000",
		"1:127,129:16512,2097152"};
	static const char *const bad[] = {"\x01", "\x80", "\xff\xff\xff\xff\xff\x01\x01",
		"\xff\xff\xff\xff\x0f\x01", "\x01\x01\x01\x01"};

	(void)state;
	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
		struct numset set = {0}, back;
		struct buf packed = {0};

		if (sets[i][0])
			assert_int_equal(numset_parse(str_of(sets[i]), &set), OK);
		numset_pack(&set, &packed);
		assert_int_equal(numset_unpack(buf_str(&packed), &back), OK);
		expect(&back, sets[i]);
		numset_free(&set);
		numset_free(&back);
		buf_free(&packed);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct numset back;

		assert_int_equal(numset_unpack(str_of(bad[i]), &back), E_PROTO);
		numset_free(&back);
	}
}

static void
keeps_the_last(void **state)
{
	static const struct {
		const char *text;
		uint64_t n;
		const char *left;
	} rows[] = {
		{"1:3,7,9:12", 0, ""},
		{"1:3,7,9:12", 3, "10:12"},
		{"1:3,7,9:12", 4, "9:12"},
		{"1:3,7,9:12", 5, "7,9:12"},
		{"1:3,7,9:12", 7, "2:3,7,9:12"},
		{"1:3,7,9:12", 8, "1:3,7,9:12"},
		{"1:3,7,9:12", UINT64_MAX, "1:3,7,9:12"},
		{"1:4294967295", 1, "4294967295"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct numset s;

		assert_int_equal(numset_parse(str_of(rows[i].text), &s), OK);
		numset_keep_last(&s, rows[i].n);
		expect(&s, rows[i].left);
		numset_free(&s);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses_and_normalises),
		cmocka_unit_test(agrees_with_a_model),
		cmocka_unit_test(copies),
		cmocka_unit_test(intersects_and_subtracts),
		cmocka_unit_test(subtracts_at_the_edges),
		cmocka_unit_test(packs),
		cmocka_unit_test(keeps_the_last),
	};

	return cmocka_run_group_tests_name("numset", tests, NULL, NULL);
}
