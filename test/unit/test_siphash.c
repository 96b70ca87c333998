/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/siphash.h"

/* The designers' test vectors for key and text 00 01 02 ... */
static void
vectors(void **state)
{
	static const struct siphash_key key = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
	static const struct {
		size_t len;
		struct siphash want;
	} rows[] = {
		{0, {0xe6a825ba047f81a3, 0x930255c71472f66d}},
		{1, {0x44af996bd8c187da, 0x45fc229b11597634}},
	};
	char text[16];

	(void)state;
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)i;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct siphash h = siphash_128(&key, str_make(text, rows[i].len));

		assert_true(h.a == rows[i].want.a && h.b == rows[i].want.b);
	}
}

/* Every byte counts, and so does the length. */
static void
differences(void **state)
{
	struct siphash_key key = siphash_key_random();
	char text[40] = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(text); i++) {
		struct siphash whole = siphash_128(&key, str_make(text, sizeof(text))), other;

		text[i] = 1;
		other = siphash_128(&key, str_make(text, sizeof(text)));
		assert_false(siphash_equal(whole, other));
		text[i] = 0;
		assert_false(siphash_equal(whole, siphash_128(&key, str_make(text, i))));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vectors),
		cmocka_unit_test(differences),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
