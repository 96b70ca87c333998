/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/quota_rules.h"

static const struct quota_rule *
find(const struct quota_rules *r, const char *mailbox)
{
	return quota_rules_find(r, str_of(mailbox));
}

static void
each_part(void **state)
{
	struct quota_rules r = {0};
	const struct quota_rule *q;

	(void)state;
	assert_int_equal(quota_rules_add(&r,
				 STR("Trash:storage=+100M:messages=+50; Junk:ignore ;;\n"
				     "Old Mail/*:+10%\ninbox:max=1G:max_messages=7"),
				 NULL),
		OK);
	assert_int_equal(r.count, 4);
	q = find(&r, "Trash");
	assert_int_equal(q->more_bytes, 100 << 20);
	assert_int_equal(q->more_messages, 50);
	assert_false(q->ignore);
	assert_true(find(&r, "Junk")->ignore);
	assert_int_equal(find(&r, "Old Mail/a/b")->more_percent, 10);
	assert_null(find(&r, "Old Mail"));
	assert_null(find(&r, "Old Mail/"));
	assert_null(find(&r, "Old Mailbox"));
	q = find(&r, "INBOX");
	assert_int_equal(q->max_bytes, 1 << 30);
	assert_int_equal(q->max_messages, 7);
	assert_null(find(&r, "trash"));
	quota_rules_free(&r);
	assert_null(find(&r, "Trash"));
}

static void
the_last_holds(void **state)
{
	struct quota_rules r = {0};

	(void)state;
	assert_int_equal(quota_rules_add(&r, STR("Trash:+1M;Junk:ignore"), NULL), OK);
	assert_int_equal(quota_rules_add(&r, STR("Trash:+0"), NULL), OK);
	assert_int_equal(find(&r, "Trash")->more_bytes, 0);
	assert_true(find(&r, "Junk")->ignore);
	quota_rules_free(&r);
}

static void
bad_input(void **state)
{
	static const char *const bad[] = {"Trash", "Trash:", ":ignore", "Trash:100M", "Trash:+x",
		"Trash:+1001%", "Trash:messages=5", "Trash:ignore:?", "a\001b:ignore",
		"\xff:ignore", "Trash:max=-1", "Trash:+99999999999999999999999"};
	struct quota_rules r = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct buf why = {0};

		assert_int_equal(quota_rules_add(&r, str_of(bad[i]), &why), E_PARSE);
		assert_true(why.len > 0);
		assert_int_equal(r.count, 0);
		buf_free(&why);
	}
	for (int i = 0; i < QUOTA_RULES_MAX; i++)
		assert_int_equal(quota_rules_add(&r, STR("a:ignore"), NULL), OK);
	assert_int_equal(quota_rules_add(&r, STR("a:ignore"), NULL), E_TOOBIG);
	quota_rules_free(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_part),
		cmocka_unit_test(the_last_holds),
		cmocka_unit_test(bad_input),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
