/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/log.h"
#include "mta-lite/greylist.h"

/* Who waits, how long, and who is known. Time is a number here. */

static const struct greylist_settings settings = {
	.delay_s = 300, .retry_window_s = 1000, .lifetime_s = 100000, .client_passes = 3};

static int64_t
ask(struct greylist *g, const char *ip, const char *sender, const char *rcpt, int64_t now)
{
	struct net_addr peer;
	int64_t wait = -1;
	enum err e;

	assert_int_equal(net_addr_parse(str_of(ip), 1, &peer), OK);
	e = greylist_check(g, &peer, str_of(sender), str_of(rcpt), now, &wait);
	assert_true(e == OK || e == E_TEMPFAIL);
	assert_int_equal(e == E_TEMPFAIL, wait > 0);
	return wait;
}

static void
waits(void **state)
{
	struct greylist *g;
	char dir[] = "/tmp/test_greylist.XXXXXX", path[64];

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(greylist_open(dir, &settings, &g), OK);

	assert_int_equal(ask(g, "192.0.2.1:1", "a@x.test", "b@y.test", 10000), 300);
	assert_int_equal(ask(g, "192.0.2.1:1", "a@x.test", "b@y.test", 10100), 200);
	/* Another of the same network, other letters: the same. */
	assert_int_equal(ask(g, "192.0.2.77:9", "A@x.test", "b@Y.test", 10200), 100);
	/* Other networks, senders and recipients wait for themselves. */
	assert_int_equal(ask(g, "192.0.3.1:1", "a@x.test", "b@y.test", 10200), 300);
	assert_int_equal(ask(g, "192.0.2.1:1", "c@x.test", "b@y.test", 10200), 300);
	assert_int_equal(ask(g, "192.0.2.1:1", "a@x.test", "c@y.test", 10200), 300);
	assert_int_equal(ask(g, "[2001:db8::1]:1", "a@x.test", "b@y.test", 10200), 300);
	assert_int_equal(ask(g, "[2001:db8::ffff]:1", "a@x.test", "b@y.test", 10300), 200);
	assert_int_equal(ask(g, "192.0.2.1:1", "a@x.test", "b@y.test", 10300), 0);
	assert_int_equal(ask(g, "192.0.2.1:1", "a@x.test", "b@y.test", 10301), 0);
	/* A retry that comes too late is a first try. */
	assert_int_equal(ask(g, "192.0.3.1:1", "a@x.test", "b@y.test", 11300), 300);
	/* Forgotten after its lifetime. */
	assert_int_equal(ask(g, "192.0.2.1:1", "a@x.test", "b@y.test", 200000), 300);
	greylist_close(&g);

	/* What was seen outlives the process. */
	assert_int_equal(greylist_open(dir, &settings, &g), OK);
	assert_int_equal(ask(g, "192.0.2.1:1", "a@x.test", "b@y.test", 200300), 0);
	greylist_close(&g);
	assert_null(g);
	(void)snprintf(path, sizeof(path), "%s/data.mdb", dir);
	assert_int_equal(unlink(path), 0);
	(void)snprintf(path, sizeof(path), "%s/lock.mdb", dir);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(dir), 0);
}

static void
known_client(void **state)
{
	struct greylist *g;
	char dir[] = "/tmp/test_greylist.XXXXXX", cmd[64];
	int i;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(greylist_open(dir, &settings, &g), OK);
	for (i = 0; i < 3; i++) {
		char sender[16];

		(void)snprintf(sender, sizeof(sender), "s%d@x.test", i);
		assert_int_equal(ask(g, "192.0.2.1:1", sender, "b@y.test", 1000 + i), 300);
		assert_int_equal(ask(g, "192.0.2.1:1", sender, "b@y.test", 1300 + i), 0);
	}
	assert_int_equal(ask(g, "192.0.2.9:1", "new@x.test", "b@y.test", 2000), 0);
	assert_int_equal(ask(g, "192.0.4.9:1", "new@x.test", "b@y.test", 2000), 300);
	/* Its use keeps it known. */
	assert_int_equal(ask(g, "192.0.2.9:1", "new@x.test", "b@y.test", 90000), 0);
	assert_int_equal(ask(g, "192.0.2.9:1", "new2@x.test", "b@y.test", 180000), 0);
	assert_int_equal(ask(g, "192.0.2.9:1", "new2@x.test", "b@y.test", 290000), 300);
	greylist_close(&g);
	(void)snprintf(cmd, sizeof(cmd), "%s/data.mdb", dir);
	(void)unlink(cmd);
	(void)snprintf(cmd, sizeof(cmd), "%s/lock.mdb", dir);
	(void)unlink(cmd);
	(void)rmdir(dir);
}

static void
no_store(void **state)
{
	struct greylist *g;

	(void)state;
	assert_int_not_equal(greylist_open("/nonexistent/greylist", &settings, &g), OK);
	assert_null(g);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(waits),
		cmocka_unit_test(known_client),
		cmocka_unit_test(no_store),
	};

	log_init("test", LOGL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
