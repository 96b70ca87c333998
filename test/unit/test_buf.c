/* SPDX-License-Identifier: MIT */
#include "lib/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
adds_pieces_in_order(void **state)
{
	struct buf b = {0};

	(void)state;
	assert_int_equal(buf_add_cstr(&b, "UID "), OK);
	assert_int_equal(buf_add_u64(&b, UINT64_MAX), OK);
	assert_int_equal(buf_add_char(&b, ' '), OK);
	assert_int_equal(buf_printf(&b, "%s=%d", "x", -7), OK);
	assert_string_equal(buf_cstr(&b), "UID 18446744073709551615 x=-7");
	buf_free(&b);
}

static void
growth_past_max_changes_nothing_and_sticks(void **state)
{
	struct buf b = BUF_INIT(4);

	(void)state;
	assert_int_equal(buf_add_cstr(&b, "abc"), OK);
	assert_int_equal(buf_add_cstr(&b, "de"), E_TOOBIG);
	assert_int_equal(b.err, E_TOOBIG);
	assert_string_equal(buf_cstr(&b), "abc");
	assert_int_equal(buf_add_cstr(&b, "d"), OK);
	assert_int_equal(b.err, E_TOOBIG);
	buf_reset(&b);
	assert_int_equal(b.err, OK);
	assert_int_equal(buf_reserve(&b, SIZE_MAX), E_TOOBIG);
	buf_free(&b);
}

static void
consume_and_truncate(void **state)
{
	struct buf b = {0};

	(void)state;
	buf_add_cstr(&b, "hello world");
	buf_consume(&b, 6);
	assert_string_equal(buf_cstr(&b), "world");
	buf_truncate(&b, 3);
	assert_string_equal(buf_cstr(&b), "wor");
	buf_truncate(&b, 30);
	assert_int_equal(b.len, 3);
	buf_consume(&b, 99);
	assert_int_equal(b.len, 0);
	buf_free(&b);
}

static void
empty_buffer_has_a_c_string(void **state)
{
	struct buf b = {0};
	char *p;

	(void)state;
	assert_string_equal(buf_cstr(&b), "");
	p = buf_steal(&b);
	assert_string_equal(p, "");
	assert_null(b.p);
	free(p);
}

static void
room_for_the_nul_at_every_length(void **state)
{
	struct buf b = {0};

	(void)state;
	for (size_t len = 0; len < 300; len++) {
		assert_int_equal(strlen(buf_cstr(&b)), len);
		buf_add_char(&b, 'x');
	}
	buf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(adds_pieces_in_order),
		cmocka_unit_test(growth_past_max_changes_nothing_and_sticks),
		cmocka_unit_test(consume_and_truncate),
		cmocka_unit_test(empty_buffer_has_a_c_string),
		cmocka_unit_test(room_for_the_nul_at_every_length),
	};

	return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
