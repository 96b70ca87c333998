/* SPDX-License-Identifier: MIT */
#include "lib/link.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

/* A server that accepts and does nothing else, and a link to it. */
struct fixture {
	char dir[64];
	struct sockaddr_un addr;
	struct event_base *base;
	struct link *link;
	int listener;
	int peer;
};

static int
set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	strcpy(f->dir, "/tmp/roost-link-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->addr.sun_family = AF_UNIX;
	snprintf(f->addr.sun_path, sizeof f->addr.sun_path, "%s/socket", f->dir);
	f->listener = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(f->listener, (struct sockaddr *)&f->addr, sizeof f->addr), 0);
	assert_int_equal(listen(f->listener, 5), 0);
	f->base = event_base_new();
	f->link = link_create(f->base, f->addr.sun_path);
	assert_int_equal(link_open(f->link), OK);
	f->peer = accept(f->listener, NULL, NULL);
	assert_true(f->peer >= 0);
	*state = f;
	return 0;
}

static int
tear_down(void **state)
{
	struct fixture *f = *state;

	link_free(&f->link);
	event_base_free(f->base);
	close(f->listener);
	unlink(f->addr.sun_path);
	rmdir(f->dir);
	free(f);
	return 0;
}

static void
a_peer_that_closes_leaves_a_stale_link(void **state)
{
	struct fixture *f = *state;

	assert_false(link_is_stale(f->link));
	close(f->peer);
	assert_true(link_is_stale(f->link));
}

/* The end then comes as ECONNRESET. */
static void
a_peer_that_dies_with_something_unread_too(void **state)
{
	struct fixture *f = *state;

	link_notify(f->link, 1, STR("nobody reads this"));
	event_base_loop(f->base, EVLOOP_NONBLOCK);
	assert_false(link_is_stale(f->link));
	close(f->peer);
	assert_true(link_is_stale(f->link));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_peer_that_closes_leaves_a_stale_link, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_peer_that_dies_with_something_unread_too, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
