/* SPDX-License-Identifier: MIT */
#include "proxy/limits.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/io.h"

static struct net_addr
addr(const char *text)
{
	struct net_addr a;

	assert_int_equal(net_addr_parse(str_of(text), 1, &a), OK);
	return a;
}

static void
test_login_limit(void **state)
{
	struct limits *l;
	struct limits_login held[4], extra;
	struct net_addr a = addr("192.0.2.1"), b = addr("192.0.2.2"), lo = addr("127.0.0.1");
	int fd;
	(void)state;

	assert_int_equal(limits_create(100, &fd), OK);
	assert_int_equal(limits_open(fd, &l), OK);
	for (int i = 0; i < 2; i++)
		assert_int_equal(
			limits_login_enter(l, "u@x.test", &a, 4, 2, &held[i]), LIMITS_LOGIN_OK);
	assert_int_equal(limits_login_enter(l, "u@x.test", &a, 4, 2, &extra), LIMITS_USER_HOST);
	/* A refused one holds nothing: another user and another address are not touched. */
	limits_login_leave(l, &extra);
	assert_int_equal(limits_login_enter(l, "v@x.test", &a, 1, 1, &extra), LIMITS_LOGIN_OK);
	limits_login_leave(l, &extra);
	for (int i = 2; i < 4; i++)
		assert_int_equal(
			limits_login_enter(l, "u@x.test", &b, 4, 2, &held[i]), LIMITS_LOGIN_OK);
	assert_int_equal(limits_login_enter(l, "u@x.test", &lo, 4, 2, &extra), LIMITS_USER);
	assert_int_equal(limits_login_enter(l, "u@x.test", &lo, 0, 2, &extra), LIMITS_LOGIN_OK);
	limits_login_leave(l, &extra);
	limits_login_leave(l, &held[0]);
	assert_int_equal(held[0].user, 0);
	limits_login_leave(l, &held[0]);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(
			limits_login_enter(l, "u@x.test", &lo, 4, 1, &extra), LIMITS_LOGIN_OK);
		limits_login_leave(l, &extra);
	}
	assert_int_equal(limits_login_enter(l, "u@x.test", &a, 4, 2, &held[0]), LIMITS_LOGIN_OK);
	assert_int_equal(limits_login_enter(l, "u@x.test", &a, 0, 2, &extra), LIMITS_USER_HOST);
	/* Nobody counts in all by having logged in. */
	assert_int_equal(limits_total(l), 0);
	limits_close(&l);
	close(fd);
}

static void
test_host_limit(void **state)
{
	struct limits *l;
	struct net_addr a = addr("192.0.2.1"), b = addr("192.0.2.2"), lo = addr("127.0.0.1");
	struct net_addr v6 = addr("[2001:db8::1]"), v6b = addr("[2001:db8::2]"),
			v6c = addr("[2001:db8:0:1::1]");
	int fd;
	(void)state;

	assert_int_equal(limits_create(100, &fd), OK);
	assert_int_equal(limits_open(fd, &l), OK);
	for (int i = 0; i < 3; i++)
		assert_int_equal(limits_enter(l, &a, 100, 3), LIMITS_OK);
	assert_int_equal(limits_enter(l, &a, 100, 3), LIMITS_HOST);
	assert_int_equal(limits_enter(l, &b, 100, 3), LIMITS_OK);
	limits_leave(l, &a);
	assert_int_equal(limits_enter(l, &a, 100, 3), LIMITS_OK);
	assert_int_equal(limits_total(l), 4);
	for (int i = 0; i < 10; i++)
		assert_int_equal(limits_enter(l, &lo, 100, 3), LIMITS_OK);
	assert_int_equal(limits_total(l), 14);
	/* One customer's network. */
	assert_int_equal(limits_enter(l, &v6, 100, 2), LIMITS_OK);
	assert_int_equal(limits_enter(l, &v6b, 100, 2), LIMITS_OK);
	assert_int_equal(limits_enter(l, &v6, 100, 2), LIMITS_HOST);
	assert_int_equal(limits_enter(l, &v6c, 100, 2), LIMITS_OK);
	/* In all. */
	assert_int_equal(limits_enter(l, &b, 17, 3), LIMITS_ALL);
	assert_int_equal(limits_enter(l, &lo, 17, 3), LIMITS_ALL);
	assert_int_equal(limits_total(l), 17);
	limits_close(&l);
	assert_null(l);
	/* What was counted went with its process. */
	assert_int_equal(limits_open(fd, &l), OK);
	assert_int_equal(limits_total(l), 0);
	assert_int_equal(limits_enter(l, &a, 100, 1), LIMITS_OK);
	limits_close(&l);
	close(fd);
}

/* A second process counts too, and its counts vanish when the master says that it is dead. */
static void
test_processes(void **state)
{
	struct limits *l;
	struct net_addr a = addr("192.0.2.1");
	int fd, ready[2], status;
	char byte;
	(void)state;

	assert_int_equal(limits_create(100, &fd), OK);
	assert_int_equal(limits_open(fd, &l), OK);
	assert_int_equal(pipe(ready), 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct limits *mine;
		int ok = limits_open(fd, &mine) == OK &&
			 limits_enter(mine, &a, 100, 3) == LIMITS_OK &&
			 limits_enter(mine, &a, 100, 3) == LIMITS_OK;
		(void)!write(ready[1], ok ? "y" : "n", 1);
		_exit(0); /* without limits_close, as one that was killed */
	}
	assert_int_equal(io_read_exact(ready[0], &byte, 1), OK);
	assert_int_equal(byte, 'y');
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(limits_enter(l, &a, 100, 3), LIMITS_OK);
	assert_int_equal(limits_enter(l, &a, 100, 3), LIMITS_HOST);
	assert_int_equal(limits_total(l), 3);
	limits_clear(fd, pid);
	assert_int_equal(limits_total(l), 1);
	assert_int_equal(limits_enter(l, &a, 100, 3), LIMITS_OK);
	assert_int_equal(limits_enter(l, &a, 100, 3), LIMITS_OK);
	assert_int_equal(limits_enter(l, &a, 100, 3), LIMITS_HOST);
	limits_close(&l);
	close(ready[0]);
	close(ready[1]);
	close(fd);
}

/* Many addresses: each keeps its own count, and the table is empty again at the end. */
static void
test_many(void **state)
{
	enum { HOSTS = 2000 };
	struct limits *l;
	int fd;
	(void)state;

	assert_int_equal(limits_create(2000, &fd), OK);
	assert_int_equal(limits_open(fd, &l), OK);
	for (int round = 0; round < 3; round++) {
		for (int step = 0; step < 3; step++)
			for (int i = 0; i < HOSTS; i++) {
				char text[32];
				snprintf(text, sizeof text, "10.%d.%d.1", i / 256, i % 256);
				struct net_addr a = addr(text);
				if (step == 2)
					limits_leave(l, &a);
				else
					assert_int_equal(limits_enter(l, &a, 1u << 20, 1),
						step == 0 ? LIMITS_OK : LIMITS_HOST);
			}
		assert_int_equal(limits_total(l), 0);
	}
	limits_close(&l);
	close(fd);
}

static void
test_bad_file(void **state)
{
	struct limits *l;
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	(void)state;

	assert_int_not_equal(limits_open(fd, &l), OK);
	assert_null(l);
	close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_host_limit),
		cmocka_unit_test(test_login_limit),
		cmocka_unit_test(test_processes),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_bad_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
