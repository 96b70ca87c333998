/* SPDX-License-Identifier: MIT */
#include "index/entry_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
test_any_bytes(void **state)
{
	struct entry_list in = {0}, out;
	char value[256], name[255];
	struct buf text = {0};
	size_t bad;

	(void)state;
	for (int i = 0; i < 256; i++)
		value[i] = (char)i;
	for (int i = 0; i < 255; i++)
		name[i] = (char)(i + 1);
	entry_list_set(&in, str_make(name, sizeof(name)), str_make(value, sizeof(value)));
	entry_list_set(&in, STR("b"), STR(" spaces "));
	entry_list_set(&in, STR("a"), STR(""));
	entry_list_format(&in, &text);
	assert_int_equal(entry_list_parse(buf_str(&text), &out, &bad), OK);
	assert_int_equal(bad, 0);
	assert_int_equal(out.count, 3);
	assert_int_equal(entry_list_bytes(&out), 255 + 256 + 1 + 8 + 1);
	assert_true(str_equal(
		buf_str(&entry_list_get(&out, str_make(name, 255))->value), str_make(value, 256)));
	assert_true(str_is(buf_str(&entry_list_get(&out, STR("b"))->value), " spaces "));
	assert_true(str_is(buf_str(&entry_list_get(&out, STR("a"))->value), ""));
	assert_null(entry_list_get(&out, STR("c")));
	assert_int_equal(entry_list_remove(&out, STR("b")), 1);
	assert_int_equal(entry_list_remove(&out, STR("b")), 0);
	assert_int_equal(out.count, 2);
	entry_list_free(&in);
	entry_list_free(&out);
	buf_free(&text);
}

static void
test_text(void **state)
{
	static const struct {
		const char *text, *again;
		size_t bad;
	} rows[] = {
		{"roost 1\n", "roost 1\n", 0},
		{"roost 1", "roost 1\n", 0},
		{"roost 1\nb 2\na 1\n", "roost 1\na 1\nb 2\n", 0},
		{"roost 1\na 1\na 2", "roost 1\na 2\n", 0},
		{"roost 1\n\n\na \n", "roost 1\na \n", 0},
		{"roost 1\na%20b x%0Ay%25\n", "roost 1\na%20b x%0Ay%25\n", 0},
		{"roost 1\nword\n%zz 1\na %0\nb %0a\n%00 x\n x\nc 3\n", "roost 1\nc 3\n", 6},
		{"", NULL, 0},
		{"roost 2\na 1\n", NULL, 0},
		{"a 1\n", NULL, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct entry_list l;
		struct buf text = {0};
		size_t bad;
		enum err e = entry_list_parse(str_of(rows[i].text), &l, &bad);

		assert_int_equal(e, rows[i].again ? OK : E_CORRUPT);
		assert_int_equal(bad, rows[i].bad);
		entry_list_format(&l, &text);
		if (rows[i].again)
			assert_string_equal(buf_cstr(&text), rows[i].again);
		entry_list_free(&l);
		buf_free(&text);
	}
}

static void
test_rights(void **state)
{
	char out[ENTRY_RIGHTS_MAX + 1];

	(void)state;
	assert_int_equal(entry_rights_normalize(STR("srl0rs"), out), OK);
	assert_string_equal(out, "lrs0");
	assert_int_equal(
		entry_rights_normalize(STR("9876543210zyxwvutsrqponmlkjihgfedcba"), out), OK);
	assert_int_equal(strlen(out), ENTRY_RIGHTS_MAX);
	assert_int_equal(entry_rights_normalize(STR(""), out), OK);
	assert_int_equal(entry_rights_normalize(STR("lR"), out), E_RANGE);
	assert_int_equal(entry_rights_normalize(str_make("l\0", 2), out), E_RANGE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_bytes),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_rights),
	};

	return cmocka_run_group_tests_name("entry_file", tests, NULL, NULL);
}
