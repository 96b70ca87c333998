/* SPDX-License-Identifier: MIT */
#include "mail/part.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char sample[] = "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b\n"
			     "Content-Type: message/rfc822\n\nS: x\n\nbody\n--b--\n";

static void
survives_the_disk(void **state)
{
	struct mime_message *m;
	struct part_table t, u;
	struct buf b = {0};

	(void)state;
	mime_parse(str_of(sample), NULL, &m);
	part_table_from_message(m, &t);
	assert_int_equal(t.n, 4);
	assert_int_equal(t.v[3].parent, 2);
	assert_int_equal(part_table_write(&t, &b), OK);
	assert_int_equal(part_table_read(buf_str(&b), &u), OK);
	assert_int_equal(u.n, t.n);
	for (size_t i = 0; i < t.n; i++) {
		assert_int_equal(u.v[i].parent, t.v[i].parent);
		assert_int_equal(u.v[i].number, t.v[i].number);
		assert_int_equal(u.v[i].kind, t.v[i].kind);
		assert_int_equal(u.v[i].header_off, t.v[i].header_off);
		assert_int_equal(u.v[i].header_len, t.v[i].header_len);
		assert_int_equal(u.v[i].body_len, t.v[i].body_len);
		assert_int_equal(u.v[i].body_bare_lf, t.v[i].body_bare_lf);
		assert_int_equal(u.v[i].body_lines, t.v[i].body_lines);
	}
	part_table_free(&t);
	part_table_free(&u);
	buf_free(&b);
	mime_message_free(&m);
}

static void
garbage_is_corrupt(void **state)
{
	static const struct str bad[] = {{"", 0}, {"\0", 1}, {"\1", 1},
		{"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11},
		{"\xff\xff\xff\xff\x0f"
		 "aaaaaaaaaaaa",
			17},
		/* The root begins at 0, has a number, and no kind 9. */
		{"\1\0\1\0\0\1\0\0\0\0\0", 11}, {"\1\0\0\0\0\0\0\0\0\0\0", 11},
		{"\1\0\1\x09\0\0\0\0\0\0\0", 11}, {"\1\1\1\0\0\0\0\0\0\0\0", 11},
		/* More bare line ends than bytes. */
		{"\1\0\1\0\0\0\1\2\0\0\0", 11}};
	struct mime_message *m;
	struct part_table t, u;
	struct buf b = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(part_table_read(bad[i], &u), E_CORRUPT);
		assert_null(u.v);
	}
	mime_parse(str_of(sample), NULL, &m);
	part_table_from_message(m, &t);
	part_table_write(&t, &b);
	for (size_t cut = 0; cut < b.len; cut++) {
		assert_int_equal(part_table_read(str_make(b.p, cut), &u), E_CORRUPT);
		part_table_free(&u);
	}
	/* Any one byte changed: still no table that leaves the message. */
	for (size_t i = 0; i < b.len; i++) {
		for (int v = 0; v < 256; v++) {
			char old = b.p[i];

			b.p[i] = (char)v;
			if (part_table_read(buf_str(&b), &u) == OK)
				for (size_t k = 1; k < u.n; k++)
					assert_true(u.v[k].header_off + u.v[k].header_len +
							    u.v[k].body_len <=
						    u.v[0].header_len + u.v[0].body_len);
			part_table_free(&u);
			b.p[i] = old;
		}
	}
	part_table_free(&t);
	buf_free(&b);
	mime_message_free(&m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(survives_the_disk),
		cmocka_unit_test(garbage_is_corrupt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
