/* SPDX-License-Identifier: MIT */
#include "lib/hex.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void
digits_of_either_case(void **state)
{
	static const char digits[] = "0123456789abcdef0123456789ABCDEF";

	(void)state;
	for (int c = -128; c < 128; c++) {
		const char *at = c ? strchr(digits, c) : NULL;

		assert_int_equal(hex_value((char)c), at ? (int)(at - digits) % 16 : -1);
	}
}

static void
every_byte_comes_back(void **state)
{
	unsigned char all[256], back[256] = {0};
	char text[513], one[3];
	struct buf added = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(all); i++)
		all[i] = (unsigned char)i;
	memset(text, 'x', sizeof(text));
	hex_write(all, sizeof(all), text);
	assert_int_equal(strlen(text), 512);
	for (size_t i = 0; i < sizeof(all); i++) {
		snprintf(one, sizeof(one), "%02x", (unsigned)i);
		assert_memory_equal(text + 2 * i, one, 2);
	}
	assert_int_equal(hex_read(str_of(text), back, sizeof(back)), 1);
	assert_memory_equal(all, back, sizeof(all));
	assert_int_equal(hex_add(all, 0, &added), OK);
	assert_int_equal(added.len, 0);
	assert_int_equal(hex_add(all, 1, &added), OK);
	assert_int_equal(hex_add(all + 1, 255, &added), OK);
	assert_string_equal(buf_cstr(&added), text);
	added.max = added.len + 1;
	assert_int_equal(hex_add(all, 1, &added), E_TOOBIG);
	assert_int_equal(added.len, 512);
	buf_free(&added);
	hex_write(all, 0, text);
	assert_string_equal(text, "");
	assert_int_equal(hex_read(str_of(text), back, 0), 1);
}

static void
other_texts_are_none(void **state)
{
	static const char *const bad[] = {"", "0", "012", "01234", "012345", "0g23", "01 3",
		"0123 ", "-123", "0x12", "01G3", "01A3", "0A23", "a12F",
		"01\xff"
		"3"};
	unsigned char out[2];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(hex_read(str_of(bad[i]), out, sizeof(out)), 0);
	assert_int_equal(hex_read(STR("01\0"
				      "3"),
				 out, sizeof(out)),
		0);
	assert_int_equal(hex_read(STR("a12f"), out, sizeof(out)), 1);
	assert_int_equal(out[0], 0xa1);
	assert_int_equal(out[1], 0x2f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(digits_of_either_case),
		cmocka_unit_test(every_byte_comes_back),
		cmocka_unit_test(other_texts_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
