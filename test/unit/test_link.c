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

struct asked {
	struct link_request request; /* first */
	struct link *link;
	int answers, lost;
};

static void
on_answer(struct link_request *r, struct ipc_msg *m)
{
	struct asked *a = (struct asked *)r;

	a->answers += m != NULL;
	a->lost += m == NULL;
	link_forget(a->link, r);
}

static void
ask(struct fixture *f, struct asked *a)
{
	*a = (struct asked){.request.on_answer = on_answer, .link = f->link};
	assert_int_equal(link_ask(f->link, &a->request, 1, STR("?"), NULL, 0), OK);
}

static void
send_frame(struct fixture *f, int peer, uint16_t type, uint32_t request)
{
	assert_int_equal(ipc_send(peer, type, request, STR(""), NULL, 0, 1000), OK);
	event_base_loop(f->base, EVLOOP_NONBLOCK);
}

static int
is_closed(int peer)
{
	char text[64];
	ssize_t n;

	do
		n = recv(peer, text, sizeof text, MSG_DONTWAIT);
	while (n > 0);
	return n == 0;
}

static void
what_is_under_way_is_answered_where_it_was_asked(void **state)
{
	struct fixture *f = *state;
	struct asked before, after;
	int successor;

	ask(f, &before);
	send_frame(f, f->peer, LINK_MOVED, 0);
	assert_false(is_closed(f->peer));
	ask(f, &after);
	successor = accept(f->listener, NULL, NULL);
	assert_true(successor >= 0);
	assert_int_equal(link_pending(f->link), 2);
	send_frame(f, f->peer, 2, before.request.id);
	assert_int_equal(before.answers, 1);
	assert_true(is_closed(f->peer));
	assert_false(is_closed(successor));
	send_frame(f, successor, 2, after.request.id);
	assert_int_equal(after.answers, 1);
	assert_int_equal(before.lost + after.lost, 0);
	assert_int_equal(link_pending(f->link), 0);
	assert_true(link_is_open(f->link));
	close(successor);
	close(f->peer);
}

static void
one_that_moved_and_dies_takes_its_requests_only(void **state)
{
	struct fixture *f = *state;
	struct asked before, moved, after;

	ask(f, &before);
	send_frame(f, f->peer, LINK_MOVED, 0);
	ask(f, &after);
	close(f->peer);
	event_base_loop(f->base, EVLOOP_NONBLOCK);
	assert_int_equal(before.lost, 1);
	assert_int_equal(after.lost, 0);
	assert_true(link_is_open(f->link));
	f->peer = accept(f->listener, NULL, NULL);
	moved = (struct asked){.request.on_answer = on_answer, .link = f->link};
	link_hand_on(f->link, &after.request, &moved.request);
	send_frame(f, f->peer, LINK_MOVED, 0);
	assert_false(link_is_open(f->link));
	link_forget(f->link, &moved.request);
	assert_true(is_closed(f->peer));
	close(f->peer);
}

static void
count_lost(struct link *l, void *arg)
{
	assert_false(link_is_open(l));
	++*(int *)arg;
}

static void
one_that_moves_with_nothing_under_way_is_closed(void **state)
{
	struct fixture *f = *state;
	int lost = 0;

	link_on_lost(f->link, count_lost, &lost);
	send_frame(f, f->peer, LINK_MOVED, 0);
	assert_int_equal(lost, 1);
	assert_true(is_closed(f->peer));
	assert_false(link_is_open(f->link));
	close(f->peer);
}

static void
count_notice(struct link *l, struct ipc_msg *m, void *arg)
{
	(void)l;
	assert_int_equal(m->type, 7);
	++*(int *)arg;
}

static void
what_nobody_asked_is_a_notice(void **state)
{
	struct fixture *f = *state;
	static struct asked asked; /* still under way when the link is freed */
	int notices = 0;

	send_frame(f, f->peer, 7, 0);
	link_on_notice(f->link, count_notice, &notices);
	ask(f, &asked);
	send_frame(f, f->peer, 7, 0);
	assert_int_equal(notices, 1);
	/* An answer that nobody waits for any more is none. */
	send_frame(f, f->peer, 7, asked.request.id + 1);
	/* Nor what comes from one that another has replaced. */
	send_frame(f, f->peer, LINK_MOVED, 0);
	send_frame(f, f->peer, 7, 0);
	assert_int_equal(notices, 1);
	assert_int_equal(asked.lost, 0);
	close(f->peer);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_peer_that_closes_leaves_a_stale_link, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_peer_that_dies_with_something_unread_too, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			what_is_under_way_is_answered_where_it_was_asked, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			one_that_moved_and_dies_takes_its_requests_only, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			one_that_moves_with_nothing_under_way_is_closed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_nobody_asked_is_a_notice, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
