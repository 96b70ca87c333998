/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "index/core_dirents.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Some 230 bytes each, so that a thread reads them in several pieces. */
enum { FILES = 4000, NAME_LEN = 200 };

struct place {
	char path[64];
	int fd;
};

static void
name_of(int i, char *out)
{
	memset(out, 'x', NAME_LEN);
	out[NAME_LEN] = '\0';
	snprintf(out, 8, "%d", i);
	out[strlen(out)] = 'x';
}

static int
setup(void **state)
{
	struct place *p = calloc(1, sizeof(*p));
	char name[NAME_LEN + 1];

	strcpy(p->path, "/tmp/roost-dirents-XXXXXX");
	if (!mkdtemp(p->path))
		return -1;
	p->fd = open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < FILES; i++) {
		name_of(i, name);
		close(openat(p->fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	}
	*state = p;
	return 0;
}

static int
teardown(void **state)
{
	struct place *p = *state;
	char name[NAME_LEN + 1];

	for (int i = 0; i < FILES; i++) {
		name_of(i, name);
		unlinkat(p->fd, name, 0);
	}
	close(p->fd);
	rmdir(p->path);
	free(p);
	return 0;
}

/* Each is there once, and behind the last one there is nothing, however often that is asked. */
static void
all_are_seen(struct place *p, int in_thread)
{
	static unsigned char seen[FILES];
	const struct dirent64 *d;
	struct core_dirents *all;
	enum err e;
	int dots = 0;

	memset(seen, 0, sizeof(seen));
	assert_int_equal(lseek(p->fd, 0, SEEK_SET), 0);
	all = core_dirents_begin(p->fd, in_thread);
	while ((d = core_dirents_next(all, &e))) {
		int i = atoi(d->d_name);

		if (d->d_name[0] == '.') {
			dots++;
			continue;
		}
		assert_int_equal(strlen(d->d_name), NAME_LEN);
		assert_in_range(i, 0, FILES - 1);
		seen[i]++;
	}
	assert_int_equal(e, OK);
	assert_null(core_dirents_next(all, &e));
	assert_int_equal(e, OK);
	core_dirents_end(&all);
	assert_null(all);
	assert_int_equal(dots, 2);
	for (int i = 0; i < FILES; i++)
		assert_int_equal(seen[i], 1);
}

static void
test_all(void **state)
{
	all_are_seen(*state, 0);
	all_are_seen(*state, 1);
}

static void
test_end_in_the_middle(void **state)
{
	struct place *p = *state;

	for (int entries = 0; entries < 3000; entries += 1400) {
		struct core_dirents *all;
		enum err e;

		assert_int_equal(lseek(p->fd, 0, SEEK_SET), 0);
		all = core_dirents_begin(p->fd, 1);
		for (int i = 0; i < entries; i++)
			assert_non_null(core_dirents_next(all, &e));
		core_dirents_end(&all);
		assert_null(all);
	}
}

/* An error is no end. */
static void
test_error(void **state)
{
	(void)state;
	for (int in_thread = 0; in_thread < 2; in_thread++) {
		int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		struct core_dirents *all = core_dirents_begin(fd, in_thread);
		enum err e = OK;

		assert_null(core_dirents_next(all, &e));
		assert_int_not_equal(e, OK);
		core_dirents_end(&all);
		close(fd);
	}
	core_dirents_end(&(struct core_dirents *){NULL});
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all),
		cmocka_unit_test(test_end_in_the_middle),
		cmocka_unit_test(test_error),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
