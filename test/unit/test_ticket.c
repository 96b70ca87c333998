/* SPDX-License-Identifier: MIT */
#include "auth/seal.h"
#include "auth/ticket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char key[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
static const char other_key[] = "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

static char alice[] = "alice@example.test", home[] = "/mail/example.test/alice";

static const struct ticket sample = {
	.user = alice,
	.home = home,
	.quota_bytes = 1234567890123,
	.quota_messages = 42,
	.quota_rules = (char *)"Trash:+100M;Junk:ignore",
	.acl_groups = (char *)"staff,sales",
	.expires = 2000,
};
static char bob[] = "bob@example.test", bobs_home[] = "/mail/example.test/bob";

static void
of_a_guest(void **state)
{
	struct ticket with = sample, t;
	struct buf b = {0};

	(void)state;
	with.guest = bob;
	with.guest_home = bobs_home;
	assert_int_equal(ticket_make(key, &with, &b), OK);
	assert_int_equal(ticket_check(key, buf_str(&b), 1999, &t), OK);
	assert_string_equal(t.user, sample.user);
	assert_string_equal(t.guest, bob);
	assert_string_equal(t.guest_home, bobs_home);
	ticket_free(&t);
	buf_free(&b);
}

static void
round_trip(void **state)
{
	struct buf b = {0};
	struct ticket t;

	(void)state;
	assert_int_equal(ticket_make(key, &sample, &b), OK);
	assert_false(str_has_control(buf_str(&b)));
	assert_int_equal(ticket_check(key, buf_str(&b), 1999, &t), OK);
	assert_string_equal(t.user, sample.user);
	assert_string_equal(t.home, sample.home);
	assert_true(t.quota_bytes == sample.quota_bytes);
	assert_true(t.quota_messages == sample.quota_messages);
	assert_string_equal(t.quota_rules, sample.quota_rules);
	assert_string_equal(t.acl_groups, sample.acl_groups);
	assert_true(t.expires == sample.expires);
	assert_null(t.guest);
	ticket_free(&t);
	buf_free(&b);
}

static void
expired(void **state)
{
	struct buf b = {0};
	struct ticket t;

	(void)state;
	assert_int_equal(ticket_make(key, &sample, &b), OK);
	assert_int_equal(ticket_check(key, buf_str(&b), 2000, &t), E_AUTH);
	assert_null(t.user);
	ticket_free(&t);
	buf_free(&b);
}

static void
forged_anywhere(void **state)
{
	struct buf b = {0};
	struct ticket t;

	(void)state;
	assert_int_equal(ticket_make(key, &sample, &b), OK);
	assert_int_equal(ticket_check(other_key, buf_str(&b), 0, &t), E_AUTH);
	for (size_t i = 0; i < b.len; i++) {
		b.p[i] ^= 1;
		assert_int_equal(ticket_check(key, buf_str(&b), 0, &t), E_AUTH);
		b.p[i] ^= 1;
	}
	assert_int_equal(ticket_check(key, buf_str(&b), 0, &t), OK);
	ticket_free(&t);
	buf_free(&b);
}

static void
truncated_anywhere(void **state)
{
	struct buf b = {0};
	struct ticket t;

	(void)state;
	assert_int_equal(ticket_make(key, &sample, &b), OK);
	for (size_t len = 0; len < b.len; len++) {
		char *copy = malloc(len ? len : 1);

		memcpy(copy, b.p, len);
		assert_int_equal(ticket_check(key, str_make(copy, len), 0, &t), E_AUTH);
		free(copy);
	}
	buf_add_char(&b, '0');
	assert_int_equal(ticket_check(key, buf_str(&b), 0, &t), E_AUTH);
	buf_free(&b);
}

static void
odd_text(void **state)
{
	static const char *const texts[] = {"", ":", "::::::", "1:2:3:4:5:6:7", "x",
		"1:99:0:0:61:62:0000000000000000000000000000000000000000000000000000000000000000"};
	struct ticket t;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_int_equal(ticket_check(key, str_of(texts[i]), 0, &t), E_AUTH);
}

static void
bad_keys(void **state)
{
	static const char *const keys[] = {"", "00",
		"zz0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f00"};
	struct buf b = {0};
	struct ticket t;

	(void)state;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		assert_int_equal(ticket_make(keys[i], &sample, &b), E_RANGE);
		assert_int_equal(b.len, 0);
		assert_int_equal(ticket_check(keys[i], STR("1:2"), 0, &t), E_RANGE);
	}
}

static void
seals(void **state)
{
	struct buf sealed = {0};
	struct str body;

	(void)state;
	assert_int_equal(seal_make(key, "label", STR("context"), STR("body"), &sealed), OK);
	assert_int_equal(sealed.len, SEAL_BYTES + 4);
	assert_int_equal(seal_open(key, "label", STR("context"), buf_str(&sealed), &body), OK);
	assert_true(str_is(body, "body"));
	/* What it is bound to, and that nothing can move from one part into another. */
	assert_int_equal(seal_open(key, "labe", STR("lcontext"), buf_str(&sealed), &body), E_AUTH);
	assert_int_equal(seal_open(key, "other", STR("context"), buf_str(&sealed), &body), E_AUTH);
	assert_int_equal(seal_open(key, "label", STR(""), buf_str(&sealed), &body), E_AUTH);
	for (size_t i = 0; i < sealed.len; i++) {
		sealed.p[i] ^= 1;
		assert_int_equal(
			seal_open(key, "label", STR("context"), buf_str(&sealed), &body), E_AUTH);
		sealed.p[i] ^= 1;
		assert_int_equal(
			seal_open(key, "label", STR("context"), str_make(sealed.p, i), &body),
			E_AUTH);
	}
	assert_int_equal(seal_make("", "label", STR(""), STR(""), &sealed), E_RANGE);
	assert_int_equal(seal_open("", "label", STR(""), buf_str(&sealed), &body), E_RANGE);
	buf_free(&sealed);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(of_a_guest),
		cmocka_unit_test(expired),
		cmocka_unit_test(forged_anywhere),
		cmocka_unit_test(truncated_anywhere),
		cmocka_unit_test(odd_text),
		cmocka_unit_test(bad_keys),
		cmocka_unit_test(seals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
