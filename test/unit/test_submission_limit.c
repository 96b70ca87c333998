/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/log.h"
#include "mta-lite/submission_limit.h"

/* What fits into a limit, when there is room again, and who is told. Time is a number here. */

enum { HOUR = 3600, DAY = 24 * 3600 };
static const int64_t start = 1000000 * (int64_t)HOUR;

struct place {
	char dir[40], sub[64];
	struct config conf;
	struct submission_limit *l;
};

static int
set_up(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	(void)snprintf(p->dir, sizeof(p->dir), "/tmp/test_limit.XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	(void)snprintf(p->sub, sizeof(p->sub), "%s/submission", p->dir);
	assert_int_equal(mkdir(p->sub, 0700), 0);
	p->conf.queue_dir = p->dir;
	assert_int_equal(submission_limit_open(&p->conf, &p->l), OK);
	*state = p;
	return 0;
}

static int
tear_down(void **state)
{
	struct place *p = *state;
	char path[100];

	submission_limit_close(&p->l);
	(void)snprintf(path, sizeof(path), "%s/data.mdb", p->sub);
	assert_int_equal(unlink(path), 0);
	(void)snprintf(path, sizeof(path), "%s/lock.mdb", p->sub);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(p->sub), 0);
	assert_int_equal(rmdir(p->dir), 0);
	free(p);
	return 0;
}

static struct submission_limits
limits(uint64_t hour, uint64_t day)
{
	return (struct submission_limits){.most = {hour, day}};
}

static enum err
take(struct place *p, const char *user, uint64_t n, uint64_t hour, uint64_t day, int64_t now,
	struct submission_over *over)
{
	struct submission_limits l = limits(hour, day);

	memset(over, 0, sizeof(*over));
	return submission_limit_take(p->l, user, n, &l, now, over);
}

static void
windows(void **state)
{
	struct place *p = *state;
	struct submission_over over;

	assert_int_equal(take(p, "a", 6, 10, 0, start, &over), OK);
	assert_int_equal(take(p, "a", 4, 10, 0, start + 1800, &over), OK);
	assert_int_equal(take(p, "a", 1, 10, 0, start + 1801, &over), E_QUOTA);
	assert_int_equal(over.period, SUBMISSION_HOUR);
	assert_int_equal(over.most, 10);
	assert_int_equal(over.use.count[SUBMISSION_HOUR], 10);
	assert_int_equal(over.use.over, 1);
	assert_false(over.never);
	/* Others are not concerned. */
	assert_int_equal(take(p, "b", 10, 10, 0, start + 1801, &over), OK);
	/* As soon as it says, and not a second before. */
	assert_int_equal(take(p, "a", 1, 10, 0, start + 1801, &over), E_QUOTA);
	assert_true(over.wait_s >= 1799 && over.wait_s <= 1799 + 60);
	assert_int_equal(take(p, "a", 1, 10, 0, start + 1801 + over.wait_s - 1, &over), E_QUOTA);
	assert_int_equal(over.wait_s, 1);
	assert_int_equal(take(p, "a", 6, 10, 0, start + HOUR + 60, &over), OK);
	assert_int_equal(take(p, "a", 1, 10, 0, start + HOUR + 60, &over), E_QUOTA);
	/* More at once than there ever is room for. */
	assert_int_equal(take(p, "c", 11, 10, 0, start, &over), E_QUOTA);
	assert_true(over.never);
	/* The day; what is over one limit does not count for the other. */
	assert_int_equal(take(p, "d", 15, 0, 20, start, &over), OK);
	assert_int_equal(take(p, "d", 6, 20, 20, start + 2 * HOUR, &over), E_QUOTA);
	assert_int_equal(over.period, SUBMISSION_DAY);
	assert_int_equal(take(p, "d", 5, 5, 20, start + 2 * HOUR, &over), OK);
	assert_int_equal(take(p, "d", 1, 9, 20, start + DAY - 1, &over), E_QUOTA);
	assert_int_equal(take(p, "d", 15, 0, 20, start + DAY + 1800, &over), OK);
}

static void
never_more_in_any_hour(void **state)
{
	struct place *p = *state;
	struct submission_over over;
	int64_t sent[2000], now;
	size_t n = 0, i, first = 0;

	for (now = start; now < start + 6 * HOUR && n < 2000; now += 7) {
		if (take(p, "a", 1, 50, 0, now, &over) != OK)
			continue;
		sent[n++] = now;
		while (sent[first] <= now - HOUR)
			first++;
		assert_true(n - first <= 50);
	}
	/* And not much less. */
	assert_true(n >= 50 * 6 - 50);
	for (i = 1; i < n; i++)
		assert_true(sent[i] > sent[i - 1]);
}

static void
notices(void **state)
{
	struct place *p = *state;
	struct submission_limits l = limits(1, 0);
	struct submission_over over;

	assert_int_equal(take(p, "a", 1, 1, 0, start, &over), OK);
	assert_int_equal(take(p, "a", 1, 1, 0, start + 1, &over), E_QUOTA);
	assert_true(over.notice);
	assert_int_equal(take(p, "a", 1, 1, 0, start + 2, &over), E_QUOTA);
	assert_false(over.notice);
	assert_int_equal(submission_limit_ask(p->l, "a", 0, 1, &l, start + 3, &over), E_QUOTA);
	assert_false(over.notice);
	/* One that could not be given is given the next time. */
	submission_limit_renotice(p->l, "a", SUBMISSION_HOUR, start + 4);
	assert_int_equal(submission_limit_ask(p->l, "a", 0, 1, &l, start + 4, &over), E_QUOTA);
	assert_true(over.notice);
	/* Of the day there is one of its own, and another in the next hour. */
	assert_int_equal(take(p, "a", 1, 0, 1, start + 5, &over), E_QUOTA);
	assert_true(over.notice);
	assert_int_equal(take(p, "a", 2, 1, 0, start + 4 + HOUR, &over), E_QUOTA);
	assert_true(over.notice);
}

static void
asking_and_returning(void **state)
{
	struct place *p = *state;
	struct submission_limits l = limits(5, 0);
	struct submission_over over;
	int i;

	for (i = 0; i < 20; i++)
		assert_int_equal(submission_limit_ask(p->l, "a", 4, 1, &l, start, &over), OK);
	assert_int_equal(submission_limit_ask(p->l, "a", 5, 1, &l, start, &over), E_QUOTA);
	assert_int_equal(take(p, "a", 5, 5, 0, start, &over), OK);
	/* In another minute, and some of it in the one before. */
	submission_limit_return(p->l, "a", 3, start + 100);
	assert_int_equal(take(p, "a", 3, 5, 0, start + 100, &over), OK);
	assert_int_equal(take(p, "a", 1, 5, 0, start + 100, &over), E_QUOTA);
	submission_limit_return(p->l, "a", 4, start + 100);
	assert_int_equal(take(p, "a", 4, 5, 0, start + 100, &over), OK);
	submission_limit_return(p->l, "nobody", 1, start);
}

struct seen {
	unsigned users;
	uint64_t sent, over;
};

static void
see(void *arg, const char *user, const struct submission_use *use)
{
	struct seen *s = arg;

	assert_true(strlen(user) == 5);
	s->users++;
	s->sent += use->count[SUBMISSION_DAY];
	s->over += use->over;
}

static void
listing_and_reset(void **state)
{
	struct place *p = *state;
	struct submission_over over;
	struct seen s = {0};
	char user[8];
	size_t n;
	int i;

	for (i = 0; i < 200; i++) {
		(void)snprintf(user, sizeof(user), "u%04d", i);
		assert_int_equal(take(p, user, 3, 3, 0, start, &over), OK);
	}
	assert_int_equal(take(p, user, 2, 3, 0, start, &over), E_QUOTA);
	assert_int_equal(submission_limit_each(p->l, start, see, &s), OK);
	assert_int_equal(s.users, 200);
	assert_int_equal(s.sent, 600);
	assert_int_equal(s.over, 2);
	assert_int_equal(submission_limit_reset(p->l, user, &n), OK);
	assert_int_equal(n, 1);
	assert_int_equal(submission_limit_reset(p->l, user, &n), OK);
	assert_int_equal(n, 0);
	assert_int_equal(take(p, user, 3, 3, 0, start, &over), OK);
	/* Old records give way to new ones, wherever they are. */
	for (i = 200; i < 300; i++) {
		(void)snprintf(user, sizeof(user), "u%04d", (i * 37) % 1000);
		assert_int_equal(take(p, user, 1, 3, 0, start + 2 * DAY, &over), OK);
	}
	assert_int_equal(submission_limit_reset(p->l, NULL, &n), OK);
	assert_true(n >= 100 && n < 200);
	s = (struct seen){0};
	assert_int_equal(submission_limit_each(p->l, start, see, &s), OK);
	assert_int_equal(s.users, 0);
}

/* Processes at once: of a limit as many are taken as it has, and all of them outlive their taker.
 */
static void
concurrency(void **state)
{
	struct place *p = *state;
	struct submission_over over;
	int i, status, sum = 0;
	pid_t pids[8];

	submission_limit_close(&p->l);
	for (i = 0; i < 8; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			int k, got = 0;

			if (submission_limit_open(&p->conf, &p->l) != OK)
				_exit(255);
			for (k = 0; k < 60; k++)
				got += take(p, "a", 1, 200, 0, start, &over) == OK;
			_exit(got);
		}
	}
	for (i = 0; i < 8; i++) {
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 255);
		sum += WEXITSTATUS(status);
	}
	assert_int_equal(sum, 200);
	assert_int_equal(submission_limit_open(&p->conf, &p->l), OK);
	assert_int_equal(take(p, "a", 1, 200, 0, start, &over), E_QUOTA);
}

static void
odd_clocks_and_names(void **state)
{
	struct place *p = *state;
	struct submission_over over;
	char name[600];

	assert_int_equal(take(p, "a", 5, 5, 5, start, &over), OK);
	/* A little back: nothing is forgotten. Far away: everything is. */
	assert_int_equal(take(p, "a", 1, 5, 0, start - 600, &over), E_QUOTA);
	assert_int_equal(take(p, "a", 5, 5, 5, start - 10 * DAY, &over), OK);
	assert_int_equal(take(p, "a", 5, 5, 5, start + 400 * DAY, &over), OK);
	memset(name, 'x', sizeof(name));
	name[599] = '\0';
	assert_int_not_equal(take(p, name, 1, 5, 0, start, &over), OK);
	assert_int_not_equal(take(p, "", 1, 5, 0, start, &over), OK);
}

static void
no_store(void **state)
{
	struct config conf = {.queue_dir = (char *)"/nonexistent"};
	struct submission_limit *l;

	(void)state;
	assert_int_not_equal(submission_limit_open(&conf, &l), OK);
	assert_null(l);
}

#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_STORE(windows),
		WITH_STORE(never_more_in_any_hour),
		WITH_STORE(notices),
		WITH_STORE(asking_and_returning),
		WITH_STORE(listing_and_reset),
		WITH_STORE(concurrency),
		WITH_STORE(odd_clocks_and_names),
		cmocka_unit_test(no_store),
	};

	log_init("test", LOGL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
