/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "lib/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/io.h"
#include "lib/mem.h"

struct place {
	char dir[64], mine[128], theirs[128];
};

static void
place_make(struct place *p)
{
	snprintf(p->dir, sizeof(p->dir), "/tmp/test-sandbox-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	snprintf(p->mine, sizeof(p->mine), "%s/mine", p->dir);
	snprintf(p->theirs, sizeof(p->theirs), "%s/theirs", p->dir);
	mkdir(p->mine, 0700);
	mkdir(p->theirs, 0700);
}

static void
place_remove(struct place *p)
{
	char *command = mem_printf("rm -rf %s", p->dir);

	assert_int_equal(system(command), 0);
	free(command);
}

static int
can_create(const char *dir)
{
	char *path = mem_printf("%s/file", dir);
	int fd = open(path, O_WRONLY | O_CREAT, 0600);

	free(path);
	if (fd < 0)
		return 0;
	close(fd);
	return 1;
}

/* Each of these runs in a child inside the sandbox and returns 0 when all is as it should be. */
static int
only_its_own_directory(const struct place *p)
{
	if (!can_create(p->mine))
		return 1;
	if (can_create(p->theirs))
		return 2;
	if (open("/etc/passwd", O_RDONLY) >= 0)
		return 3;
	return 0;
}

/* The test itself is outside. Kernels before 6.12 do not know this scope. */
static int
no_signal_to_others(const struct place *p)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, 1);

	(void)p;
	return abi >= 6 && kill(getppid(), 0) == 0;
}

#ifndef ROOST_ASAN
static int
no_network_no_process(const struct place *p)
{
	(void)p;
	if (socket(AF_INET, SOCK_STREAM, 0) >= 0)
		return 1;
	if (socket(AF_UNIX, SOCK_STREAM, 0) < 0)
		return 2;
	if (fork() >= 0)
		return 3;
	execl("/bin/true", "true", (char *)NULL);
	return 0; /* still here: it could not run another program */
}
#endif

static void
confined(int (*check)(const struct place *))
{
	struct place p;
	int status;
	pid_t pid;

	place_make(&p);
	pid = fork();
	if (pid == 0) {
		struct sandbox *sb = sandbox_create();
		enum err e;

		sandbox_allow_path(sb, p.mine, SANDBOX_READ | SANDBOX_WRITE);
		sandbox_allow_path(sb, "/nonexistent/place", SANDBOX_READ);
		e = sandbox_enter(sb);
		_exit(e == E_UNSUPPORTED ? 0 : e ? 100 : check(&p));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	place_remove(&p);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void
files(void **state)
{
	(void)state;
	confined(only_its_own_directory);
}

static void
signals(void **state)
{
	(void)state;
	confined(no_signal_to_others);
}

static void
system_calls(void **state)
{
	(void)state;
#ifdef ROOST_ASAN
	skip();
#else
	confined(no_network_no_process);
#endif
}

/* A table of the administrator's that we may not read must not keep the whole program from
 * starting. */
static void
out_of_reach(void **state)
{
	struct place p;
	int status;
	pid_t pid;

	(void)state;
	place_make(&p);
	pid = fork();
	if (pid == 0) {
		struct sandbox *sb = sandbox_create();
		char *path = mem_printf("%s/file", p.theirs);
		enum err e;

		if (!can_create(p.theirs) || chmod(p.dir, 0755) != 0 || chmod(p.theirs, 0) != 0 ||
			(geteuid() == 0 && setresuid(65534, 65534, 65534) != 0))
			_exit(101);
		sandbox_allow_path(sb, path, SANDBOX_READ);
		e = sandbox_enter(sb);
		_exit(e == E_UNSUPPORTED ? 0 : e ? 100 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	(void)chmod(p.theirs, 0700);
	place_remove(&p);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void
one_covers_another(void **state)
{
	struct sandbox *all = sandbox_create(), *some = sandbox_create();

	(void)state;
	sandbox_allow_path(all, "/etc/roost", SANDBOX_READ);
	sandbox_allow_path(all, "/var/x", SANDBOX_READ | SANDBOX_WRITE);
	sandbox_allow(all, SANDBOX_CAN_UDP | SANDBOX_CAN_FORK);
	assert_true(sandbox_covers(all, some));
	sandbox_allow_path(some, "/etc/roost/a/b", SANDBOX_READ);
	sandbox_allow_path(some, "/var/x", SANDBOX_WRITE);
	sandbox_allow(some, SANDBOX_CAN_UDP);
	assert_true(sandbox_covers(all, some));
	assert_false(sandbox_covers(some, all));
	sandbox_allow_path(some, "/etc/roost2", SANDBOX_READ);
	assert_false(sandbox_covers(all, some));
	sandbox_add(all, some);
	assert_true(sandbox_covers(all, some));
	sandbox_allow_path(some, "/etc/roost", SANDBOX_WRITE);
	assert_false(sandbox_covers(all, some));
	sandbox_allow(all, SANDBOX_CAN_ALL);
	assert_true(sandbox_covers(all, some));
	sandbox_free(&all);
	sandbox_free(&some);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files),
		cmocka_unit_test(out_of_reach),
		cmocka_unit_test(signals),
		cmocka_unit_test(one_covers_another),
		cmocka_unit_test(system_calls),
	};

	return cmocka_run_group_tests_name("sandbox", tests, NULL, NULL);
}
