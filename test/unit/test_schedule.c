/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "mta-lite/schedule.h"

/* Which delivery starts next, and how long a failed one waits. */

static void
round_robin(void **state)
{
	struct schedule *s = schedule_create(10, 100);
	struct schedule_job *job[6];
	static const char *const want[] = {"a", "b", "a", "a", "a"};
	int i;

	(void)state;
	for (i = 0; i < 4; i++)
		(void)schedule_add(s, "a", NULL);
	(void)schedule_add(s, "b", NULL);
	for (i = 0; i < 5; i++) {
		job[i] = schedule_next(s);
		assert_non_null(job[i]);
		assert_string_equal(schedule_job_destination(job[i]), want[i]);
	}
	assert_null(schedule_next(s));
	assert_int_equal(schedule_running(s), 5);
	for (i = 0; i < 5; i++)
		schedule_done(s, &job[i]);
	assert_int_equal(schedule_destinations(s), 0);
	schedule_free(&s);
}

static void
limits(void **state)
{
	struct schedule *s = schedule_create(2, 3);
	struct schedule_job *a1, *a2, *b1, *waiting;
	int i;

	(void)state;
	for (i = 0; i < 3; i++)
		waiting = schedule_add(s, "a", NULL);
	(void)schedule_add(s, "B", NULL);
	(void)schedule_add(s, "b", NULL);
	assert_int_equal(schedule_destinations(s), 2);
	a1 = schedule_next(s);
	b1 = schedule_next(s);
	a2 = schedule_next(s);
	assert_string_equal(schedule_job_destination(a2), "a");
	/* Three in all. */
	assert_null(schedule_next(s));
	schedule_done(s, &b1);
	/* Two for "a": the other one goes on. */
	b1 = schedule_next(s);
	assert_string_equal(schedule_job_destination(b1), "B");
	schedule_done(s, &b1);
	assert_null(schedule_next(s));
	schedule_done(s, &waiting);
	schedule_done(s, &a1);
	schedule_done(s, &a2);
	assert_int_equal(schedule_running(s) + schedule_waiting(s), 0);
	assert_int_equal(schedule_destinations(s), 0);
	schedule_free(&s);
}

static void
backoff(void **state)
{
	static const struct {
		int64_t min, max;
		uint32_t attempts;
		int64_t want;
	} cases[] = {
		{300, 4000, 0, 300},
		{300, 4000, 1, 300},
		{300, 4000, 2, 600},
		{300, 4000, 4, 2400},
		{300, 4000, 5, 4000},
		{300, 4000, 4000000000u, 4000},
		{300, 100, 1, 100},
		{1, INT64_MAX, 63, INT64_C(1) << 62},
		{1, INT64_MAX, 64, INT64_MAX},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(schedule_backoff_ms(cases[i].min, cases[i].max, cases[i].attempts),
			cases[i].want);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_robin),
		cmocka_unit_test(limits),
		cmocka_unit_test(backoff),
	};

	return cmocka_run_group_tests_name("schedule", tests, NULL, NULL);
}
