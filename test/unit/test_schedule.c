/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "mta-lite/schedule.h"

/* Which delivery starts next, and how long a failed one waits. */

static struct schedule *
make(unsigned per_destination, unsigned total, unsigned initial)
{
	const struct schedule_limits limits = {
		.per_destination = per_destination,
		.total = total,
		.initial = initial,
		.dead_ms = 1000,
	};

	return schedule_create(&limits);
}

static struct schedule_job *
add(struct schedule *s, const char *destination)
{
	const struct schedule_kind kind = {0};

	return schedule_add(s, destination, "a@b", &kind, NULL);
}

static void
expect(struct schedule *s, const char *destination, struct schedule_job **job)
{
	*job = schedule_next(s, 0);
	assert_non_null(*job);
	assert_string_equal(schedule_job_destination(*job), destination);
}

/* Makes a destination known as one that answers. */
static void
prove(struct schedule *s, const char *destination)
{
	struct schedule_job *job = add(s, destination);

	expect(s, destination, &job);
	schedule_done(s, &job, SCHEDULE_REACHED, 0);
}

static void
round_robin(void **state)
{
	struct schedule *s = make(10, 100, 10);
	struct schedule_job *job[5];
	static const char *const want[] = {"a", "b", "a", "a", "a"};
	int i;

	(void)state;
	prove(s, "a");
	prove(s, "b");
	for (i = 0; i < 4; i++)
		(void)add(s, "a");
	(void)add(s, "b");
	for (i = 0; i < 5; i++)
		expect(s, want[i], &job[i]);
	assert_null(schedule_next(s, 0));
	assert_int_equal(schedule_running(s), 5);
	assert_int_equal(schedule_destinations(s), 2);
	for (i = 0; i < 5; i++)
		schedule_done(s, &job[i], SCHEDULE_REACHED, 0);
	assert_int_equal(schedule_destinations(s), 0);
	schedule_free(&s);
}

static void
limits(void **state)
{
	struct schedule *s = make(2, 3, 5);
	struct schedule_job *a1, *a2, *b1, *waiting;
	int i;

	(void)state;
	prove(s, "a");
	prove(s, "B");
	for (i = 0; i < 3; i++)
		waiting = add(s, "a");
	(void)add(s, "B");
	(void)add(s, "b");
	assert_int_equal(schedule_destinations(s), 2);
	expect(s, "a", &a1);
	expect(s, "B", &b1);
	expect(s, "a", &a2);
	/* Three in all. */
	assert_null(schedule_next(s, 0));
	schedule_done(s, &b1, SCHEDULE_REACHED, 0);
	/* Two for "a": the other one goes on. */
	expect(s, "B", &b1);
	schedule_done(s, &b1, SCHEDULE_REACHED, 0);
	assert_null(schedule_next(s, 0));
	schedule_done(s, &waiting, SCHEDULE_CANCELLED, 0);
	schedule_done(s, &a1, SCHEDULE_REACHED, 0);
	schedule_done(s, &a2, SCHEDULE_REACHED, 0);
	assert_int_equal(schedule_running(s) + schedule_waiting(s), 0);
	assert_int_equal(schedule_destinations(s), 0);
	schedule_free(&s);
}

/* One that nobody has heard of gets one delivery, then as many as its successes earn. */
static void
window(void **state)
{
	struct schedule *s = make(4, 100, 2);
	struct schedule_job *job, *running[8];
	unsigned n, i, round;
	static const unsigned want[] = {1, 2, 3, 4, 4};

	(void)state;
	for (i = 0; i < 40; i++)
		(void)add(s, "a");
	for (round = 0; round < 5; round++) {
		for (n = 0; (job = schedule_next(s, 0)) != NULL; n++)
			running[n] = job;
		assert_int_equal(n, want[round]);
		for (i = 0; i < n; i++)
			schedule_done(s, &running[i], SCHEDULE_REACHED, 0);
	}
	while ((job = schedule_next(s, 0)) != NULL)
		schedule_done(s, &job, SCHEDULE_REACHED, 0);
	schedule_free(&s);
}

static void
dead(void **state)
{
	struct schedule *s = make(5, 100, 5);
	struct schedule_job *job;
	int i;

	(void)state;
	for (i = 0; i < 3; i++)
		(void)add(s, "a");
	expect(s, "a", &job);
	assert_null(schedule_next_dead(s, 0));
	schedule_set_reason(s, job, "nobody there");
	schedule_done(s, &job, SCHEDULE_UNREACHED, 100);
	assert_null(schedule_next(s, 100));
	/* Those that wait are handed back, with the reason. */
	job = schedule_next_dead(s, 200);
	assert_string_equal(schedule_reason(job), "nobody there");
	schedule_done(s, &job, SCHEDULE_CANCELLED, 200);
	/* After a while there is another chance. */
	assert_null(schedule_next_dead(s, 1100));
	job = schedule_next(s, 1100);
	assert_non_null(job);
	schedule_done(s, &job, SCHEDULE_UNREACHED, 1200);
	(void)add(s, "a");
	assert_null(schedule_next(s, 1300));
	schedule_revive(s);
	job = schedule_next(s, 1300);
	schedule_done(s, &job, SCHEDULE_UNREACHED, 1300);
	/* One alone, by its name in any letters. */
	(void)add(s, "a");
	schedule_revive_one(s, "b");
	assert_null(schedule_next(s, 1400));
	schedule_revive_one(s, "A");
	job = schedule_next(s, 1400);
	assert_non_null(job);
	schedule_done(s, &job, SCHEDULE_REACHED, 1400);
	schedule_free(&s);
}

/* A crowd of destinations that hang does not take the place of those that answer. */
static void
crowd(void **state)
{
	struct schedule *s = make(20, 10, 5);
	struct schedule_job *hung[10], *job;
	char name[16];
	int i, n = 0;

	(void)state;
	prove(s, "alive");
	for (i = 0; i < 1000; i++) {
		(void)snprintf(name, sizeof(name), "dead%d", i);
		(void)add(s, name);
	}
	while ((job = schedule_next(s, 0)) != NULL)
		hung[n++] = job;
	assert_int_equal(n, 8);
	(void)add(s, "alive");
	expect(s, "alive", &job);
	schedule_done(s, &job, SCHEDULE_REACHED, 0);
	/* A newcomer is not behind all of them. */
	(void)add(s, "newcomer");
	for (i = 0; i < 8; i++) {
		schedule_done(s, &hung[i], SCHEDULE_UNREACHED, 0);
		hung[i] = schedule_next(s, 0);
		if (strcmp(schedule_job_destination(hung[i]), "newcomer") == 0)
			break;
	}
	assert_in_range(i, 0, 7);
	for (n = 0; n < 8; n++)
		schedule_done(s, &hung[n], SCHEDULE_UNREACHED, 0);
	while ((job = schedule_next(s, 0)) != NULL || (job = schedule_next_dead(s, 0)) != NULL)
		schedule_done(s, &job, SCHEDULE_UNREACHED, 0);
	schedule_free(&s);
}

/* What was tried in vain before leaves places for what is new. */
static void
retries(void **state)
{
	struct schedule *s = make(20, 10, 5);
	struct schedule_job *job[10];
	const struct schedule_kind retry = {.retry = 1};
	char name[16];
	int i, n = 0;

	(void)state;
	for (i = 0; i < 100; i++) {
		(void)snprintf(name, sizeof(name), "dead%d", i);
		(void)schedule_add(s, name, "a@b", &retry, NULL);
	}
	while ((job[n] = schedule_next(s, 0)) != NULL)
		n++;
	assert_int_equal(n, 6);
	(void)add(s, "newcomer");
	expect(s, "newcomer", &job[n++]);
	while (n-- > 0)
		schedule_done(s, &job[n], SCHEDULE_REACHED, 0);
	while ((job[0] = schedule_next(s, 0)) != NULL)
		schedule_done(s, &job[0], SCHEDULE_REACHED, 0);
	schedule_sweep(s, INT64_C(1) << 40);
	schedule_free(&s);
}

/* Within a destination senders take turns, and urgent mail goes first. */
static void
senders(void **state)
{
	struct schedule *s = make(1, 10, 1);
	static const char *const want = "UMSMS";
	struct schedule_job *job;
	static char many[] = "M", single[] = "S", urgent[] = "U", patient[] = "P";
	int i;

	(void)state;
	for (i = 0; i < 3; i++)
		(void)schedule_add(s, "a", "many@b", &(struct schedule_kind){.priority = 0}, many);
	for (i = 0; i < 2; i++)
		(void)schedule_add(
			s, "a", "single@b", &(struct schedule_kind){.priority = 0}, single);
	(void)schedule_add(s, "a", "patient@b", &(struct schedule_kind){.priority = -3}, patient);
	(void)schedule_add(s, "a", "many@b", &(struct schedule_kind){.priority = 5}, urgent);
	for (i = 0; want[i]; i++) {
		expect(s, "a", &job);
		assert_int_equal(*(char *)schedule_job_arg(job), want[i]);
		schedule_done(s, &job, SCHEDULE_REACHED, 0);
	}
	expect(s, "a", &job);
	assert_int_equal(*(char *)schedule_job_arg(job), 'M');
	schedule_done(s, &job, SCHEDULE_REACHED, 0);
	expect(s, "a", &job);
	assert_int_equal(*(char *)schedule_job_arg(job), 'P');
	schedule_done(s, &job, SCHEDULE_REACHED, 0);
	schedule_free(&s);
}

static void
rate(void **state)
{
	const struct schedule_limits limits = {
		.per_destination = 5, .total = 10, .initial = 5, .rate_delay_ms = 500};
	struct schedule *s = schedule_create(&limits);
	struct schedule_job *job;

	(void)state;
	(void)add(s, "a");
	(void)add(s, "a");
	job = schedule_next(s, 1000);
	assert_null(schedule_next(s, 1000));
	schedule_done(s, &job, SCHEDULE_REACHED, 1100);
	assert_null(schedule_next(s, 1100));
	assert_int_equal(schedule_wait_ms(s, 1100), 400);
	job = schedule_next(s, 1500);
	assert_non_null(job);
	schedule_done(s, &job, SCHEDULE_REACHED, 1600);
	assert_int_equal(schedule_wait_ms(s, 1600), -1);
	schedule_free(&s);
}

/* The next one over the same connection, but not for ever while others wait. */
static void
follow(void **state)
{
	struct schedule *s = make(2, 1, 2);
	struct schedule_job *job, *next;
	int i, n = 0;

	(void)state;
	for (i = 0; i < 30; i++)
		(void)add(s, "a");
	expect(s, "a", &job);
	(void)add(s, "b");
	while ((next = schedule_follow(s, &job, 0)) != NULL) {
		assert_null(job);
		job = next;
		n++;
	}
	assert_in_range(n, 1, 20);
	assert_int_equal(schedule_running(s), 1);
	schedule_done(s, &job, SCHEDULE_REACHED, 0);
	while ((job = schedule_next(s, 0)) != NULL)
		schedule_done(s, &job, SCHEDULE_REACHED, 0);
	schedule_sweep(s, INT64_C(1) << 40);
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
		cmocka_unit_test(window),
		cmocka_unit_test(dead),
		cmocka_unit_test(crowd),
		cmocka_unit_test(retries),
		cmocka_unit_test(senders),
		cmocka_unit_test(rate),
		cmocka_unit_test(follow),
		cmocka_unit_test(backoff),
	};

	return cmocka_run_group_tests_name("schedule", tests, NULL, NULL);
}
