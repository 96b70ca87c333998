/* SPDX-License-Identifier: MIT */
#include "auth/auth_channel.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/io.h"

/* The other end is this test, which knows the questions' numbers and answers before they come. */

enum { QUESTION = 7, OTHER = 8, ANSWER = 9, SHORT_MS = 50 };
static const char nowhere[] = "/nonexistent/socket";

struct ends {
	struct auth_channel ch;
	int fd;
};

static void
ends_open(struct ends *t)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	*t = (struct ends){{.name = "test", .fd = fds[0]}, fds[1]};
}

static void
ends_close(struct ends *t)
{
	auth_channel_close(&t->ch);
	io_close(&t->fd);
}

static void
answer(struct ends *t, uint32_t request, const char *text)
{
	assert_int_equal(ipc_send(t->fd, ANSWER, request, str_of(text), NULL, 0, SHORT_MS), OK);
}

/* What was asked since the last look: "type:text" each, with blanks between. */
static void
assert_asked(struct ends *t, const char *want)
{
	struct buf in = {0}, text = {0};
	struct ipc_msg m;

	while (io_wait_readable(t->fd, 0) == OK)
		if (ipc_frames_read(t->fd, &in, SHORT_MS))
			break;
	while (ipc_frame_take(&in, &m) == OK) {
		buf_printf(&text, "%d:%.*s ", m.type, STR_ARG(buf_str(&m.body)));
		ipc_msg_free(&m);
	}
	assert_int_equal(in.len, 0);
	assert_true(str_is(buf_str(&text), want));
	buf_free(&in);
	buf_free(&text);
}

static void
assert_answer(
	struct ends *t, uint16_t type, const char *question, enum err want_e, const char *want)
{
	struct ipc_msg m;
	enum err e = auth_channel_ask(&t->ch, nowhere, type, str_of(question), &m, SHORT_MS);

	assert_int_equal(e, want_e);
	if (e)
		return;
	assert_true(str_is(buf_str(&m.body), want));
	ipc_msg_free(&m);
}

static void
one_after_the_other(void **state)
{
	struct ends t;

	(void)state;
	ends_open(&t);
	answer(&t, 1, "one");
	answer(&t, 2, "");
	assert_answer(&t, QUESTION, "a", OK, "one");
	assert_answer(&t, OTHER, "b", OK, "");
	assert_asked(&t, "7:a 8:b ");
	assert_answer(&t, QUESTION, "c", E_TEMPFAIL, NULL);
	assert_int_equal(t.ch.fd, -1);
	ends_close(&t);
}

static void
expected_go_together(void **state)
{
	struct ends t;

	(void)state;
	ends_open(&t);
	auth_channel_expect(&t.ch, QUESTION, STR("a"));
	auth_channel_expect(&t.ch, QUESTION, STR("b"));
	auth_channel_expect(&t.ch, QUESTION, STR("a"));
	assert_asked(&t, "");
	for (uint32_t i = 1; i <= 4; i++)
		answer(&t, i, i == 2 ? "two" : "other");
	assert_answer(&t, QUESTION, "a", OK, "other");
	assert_asked(&t, "7:a 7:b 7:a ");
	assert_answer(&t, QUESTION, "b", OK, "two");
	assert_answer(&t, QUESTION, "a", OK, "other");
	assert_asked(&t, "");
	assert_answer(&t, QUESTION, "a", OK, "other");
	assert_asked(&t, "7:a ");
	ends_close(&t);
}

/* What nobody asked for after all is not taken for the answer to something else, or for a later
 * one. */
static void
expected_and_not_asked(void **state)
{
	struct ends t;

	(void)state;
	ends_open(&t);
	auth_channel_expect(&t.ch, QUESTION, STR("a"));
	auth_channel_expect(&t.ch, QUESTION, STR("b"));
	auth_channel_expect_none(&t.ch);
	answer(&t, 3, "three");
	assert_answer(&t, QUESTION, "a", OK, "three");
	assert_asked(&t, "7:a ");
	auth_channel_expect(&t.ch, QUESTION, STR("x"));
	auth_channel_expect(&t.ch, QUESTION, STR("y"));
	answer(&t, 4, "x");
	answer(&t, 5, "y");
	assert_answer(&t, QUESTION, "x", OK, "x");
	/* The same text in another question; and there is no other connection to ask it over. */
	assert_answer(&t, OTHER, "y", E_TEMPFAIL, NULL);
	assert_asked(&t, "7:x 7:y ");
	ends_close(&t);
	ends_open(&t);
	auth_channel_expect(&t.ch, QUESTION, STR("x"));
	auth_channel_expect(&t.ch, QUESTION, STR("y"));
	answer(&t, 1, "old");
	answer(&t, 2, "old");
	assert_answer(&t, QUESTION, "x", OK, "old");
	auth_channel_expect_none(&t.ch);
	assert_int_equal(t.ch.fd, -1);
	ends_close(&t);
}

static void
expected_of_one_that_is_gone(void **state)
{
	struct ends t;

	(void)state;
	ends_open(&t);
	for (int i = 0; i < AUTH_EXPECTED_MAX + 5; i++)
		auth_channel_expect(&t.ch, QUESTION, STR("a"));
	answer(&t, 1, "one");
	assert_answer(&t, QUESTION, "a", OK, "one");
	io_close(&t.fd);
	assert_answer(&t, QUESTION, "a", E_TEMPFAIL, NULL);
	assert_answer(&t, QUESTION, "a", E_TEMPFAIL, NULL);
	ends_close(&t);
	/* An answer with another number is none. */
	ends_open(&t);
	auth_channel_expect(&t.ch, QUESTION, STR("a"));
	auth_channel_expect(&t.ch, QUESTION, STR("b"));
	answer(&t, 2, "two");
	assert_answer(&t, QUESTION, "a", E_TEMPFAIL, NULL);
	ends_close(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_after_the_other),
		cmocka_unit_test(expected_go_together),
		cmocka_unit_test(expected_and_not_asked),
		cmocka_unit_test(expected_of_one_that_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
