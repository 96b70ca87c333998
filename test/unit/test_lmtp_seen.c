/* SPDX-License-Identifier: MIT */
#include "lmtp/lmtp_seen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/io.h"
#include "lib/mem.h"

enum { HOUR_MS = 3600 * 1000 };

static enum err
look(const char *home, const char *id, const char *sender, const char *folder, int delivered)
{
	struct lmtp_seen s;
	enum err e = lmtp_seen_open(home, HOUR_MS, str_of(id), str_of(sender), str_of(folder), &s);

	lmtp_seen_close(&s, delivered);
	return e;
}

static void
remove_home(const char *home)
{
	char *path = mem_printf("%s/roost-delivered", home);

	unlink(path);
	rmdir(path);
	assert_int_equal(rmdir(home), 0);
	free(path);
}

/* Same id, sender and folder: the same message, once it was delivered. */
static void
test_same(void **state)
{
	char home[] = "/tmp/test-seen.XXXXXX";

	(void)state;
	assert_non_null(mkdtemp(home));
	assert_int_equal(look(home, "<1@x>", "a@x", "INBOX", 0), OK);
	assert_int_equal(look(home, "<1@x>", "a@x", "INBOX", 1), OK);
	assert_int_equal(look(home, "<1@x>", "a@x", "INBOX", 0), E_EXISTS);
	assert_int_equal(look(home, "<1@x>", "a@x", "Lists", 0), OK);
	assert_int_equal(look(home, "<1@x>", "b@x", "INBOX", 0), OK);
	assert_int_equal(look(home, "<2@x>", "a@x", "INBOX", 1), OK);
	assert_int_equal(look(home, "<1@x>", "a@x", "INBOX", 0), E_EXISTS);
	assert_int_equal(look(home, "<2@x>", "a@x", "INBOX", 0), E_EXISTS);
	remove_home(home);
}

/* Old lines do not count and go away; odd ones do no harm. */
static void
test_old(void **state)
{
	char home[] = "/tmp/test-seen.XXXXXX";
	char *path;
	struct buf text = {0}, now = {0};
	struct lmtp_seen s;
	struct stat st;

	(void)state;
	assert_non_null(mkdtemp(home));
	path = mem_printf("%s/roost-delivered", home);
	assert_int_equal(look(home, "<1@x>", "a@x", "INBOX", 1), OK);
	assert_int_equal(io_read_file(path, &now), OK);
	for (int i = 0; i < 2000; i++)
		buf_printf(&text, "%d 0123456789abcdef0123456789abcdef\nodd\n\n x\n", i);
	/* The same hash, but two hours ago. */
	buf_printf(&text, "%lld%s", (long long)time(NULL) - 7200, strchr(now.p, ' '));
	assert_int_equal(io_write_file_atomic(path, text.p, text.len, 0600), OK);
	assert_int_equal(
		lmtp_seen_open(home, HOUR_MS, STR("<1@x>"), STR("a@x"), STR("INBOX"), &s), OK);
	lmtp_seen_close(&s, 1);
	assert_int_equal(stat(path, &st), 0);
	assert_in_range(st.st_size, 1, 100);
	assert_int_equal(look(home, "<1@x>", "a@x", "INBOX", 0), E_EXISTS);
	remove_home(home);
	buf_free(&text);
	buf_free(&now);
	free(path);
}

/* What is no file there, or no home at all, keeps no mail away. */
static void
test_trouble(void **state)
{
	char home[] = "/tmp/test-seen.XXXXXX";
	char *path;

	(void)state;
	assert_non_null(mkdtemp(home));
	path = mem_printf("%s/roost-delivered", home);
	assert_int_equal(look("/nonexistent", "<1@x>", "a@x", "INBOX", 1), OK);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_int_equal(look(home, "<1@x>", "a@x", "INBOX", 1), OK);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(look(home, "<1@x>", "a@x", "INBOX", 1), OK);
	remove_home(home);
	free(path);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same),
		cmocka_unit_test(test_old),
		cmocka_unit_test(test_trouble),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
