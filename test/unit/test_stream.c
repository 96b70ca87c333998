/* SPDX-License-Identifier: MIT */
#include "lib/stream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/io.h"

struct ends {
	struct stream *s;
	int peer;
};

static struct ends
ends_open(void)
{
	int pair[2];
	struct ends e;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	e.s = stream_create(pair[0]);
	e.peer = pair[1];
	stream_set_timeouts(e.s, 50, 50);
	return e;
}

static void
ends_close(struct ends *e)
{
	stream_free(&e->s);
	io_close(&e->peer);
}

static void
put(struct ends *e, const char *text)
{
	assert_int_equal(io_write_all(e->peer, text, strlen(text)), OK);
}

static void
reads_lines_of_both_kinds(void **state)
{
	struct ends e = ends_open();
	enum stream_line_end end;
	struct str line;

	(void)state;
	put(&e, "one\r\ntwo\n\r\nth\rree\r\npart");
	assert_int_equal(stream_read_line(e.s, 100, &line, &end), OK);
	assert_true(str_is(line, "one") && end == STREAM_CRLF);
	assert_int_equal(stream_read_line(e.s, 100, &line, &end), OK);
	assert_true(str_is(line, "two") && end == STREAM_LF);
	assert_int_equal(stream_read_line(e.s, 100, &line, &end), OK);
	assert_true(str_is(line, "") && end == STREAM_CRLF);
	assert_int_equal(stream_read_line(e.s, 100, &line, &end), OK);
	assert_true(str_is(line, "th\rree"));
	assert_int_equal(stream_read_line(e.s, 100, &line, &end), E_TIMEOUT);
	put(&e, "ial\r\n");
	assert_int_equal(stream_read_line(e.s, 100, &line, &end), OK);
	assert_true(str_is(line, "partial"));
	io_close(&e.peer);
	assert_int_equal(stream_read_line(e.s, 100, &line, &end), E_CLOSED);
	ends_close(&e);
}

static void
line_bounds(void **state)
{
	static const struct {
		const char *input;
		enum err e;
	} rows[] = {{"12345\r\n", OK}, {"12345\n", OK}, {"123456\r\n", E_TOOBIG},
		{"123456\n", E_TOOBIG}, {"1234567", E_TOOBIG}, {"12345\r", E_TIMEOUT}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ends e = ends_open();
		struct str line;

		put(&e, rows[i].input);
		assert_int_equal(stream_read_line(e.s, 5, &line, NULL), rows[i].e);
		if (rows[i].e == E_TOOBIG) {
			put(&e, "rest\nnext\n");
			assert_int_equal(stream_skip_line(e.s), OK);
			if (strchr(rows[i].input, '\n'))
				assert_int_equal(stream_skip_line(e.s), OK);
			assert_int_equal(stream_read_line(e.s, 5, &line, NULL), OK);
			assert_true(str_is(line, "next"));
		}
		ends_close(&e);
	}
}

static void
replays_what_was_read_ahead(void **state)
{
	struct ends e = ends_open();
	struct str line, piece;
	char bytes[4];

	(void)state;
	stream_push_input(e.s, STR("a1 NOOP\r\nabcd"));
	put(&e, "efgh");
	assert_int_equal(stream_read_line(e.s, 100, &line, NULL), OK);
	assert_true(str_is(line, "a1 NOOP"));
	assert_int_equal(stream_read_exact(e.s, bytes, 4), OK);
	assert_memory_equal(bytes, "abcd", 4);
	assert_int_equal(stream_peek(e.s, 3, &piece), OK);
	assert_true(str_is(piece, "efg"));
	stream_consume(e.s, 1);
	assert_int_equal(stream_peek(e.s, 100, &piece), OK);
	assert_true(str_is(piece, "fgh"));
	put(&e, "ij");
	assert_int_equal(stream_peek_more(e.s, 3, &piece), OK);
	assert_true(str_is(piece, "fghij"));
	ends_close(&e);
}

static void
output_waits_for_a_read_or_a_flush(void **state)
{
	struct ends e = ends_open();
	struct str line;
	char bytes[16];

	(void)state;
	stream_write_cstr(e.s, "* OK ");
	stream_printf(e.s, "%d\r\n", 7);
	assert_int_equal(io_wait_readable(e.peer, 0), E_TIMEOUT);
	assert_int_equal(stream_read_line(e.s, 10, &line, NULL), E_TIMEOUT);
	assert_int_equal(io_read_exact(e.peer, bytes, 8), OK);
	assert_memory_equal(bytes, "* OK 7\r\n", 8);
	assert_int_equal(stream_bytes_out(e.s), 8);
	ends_close(&e);
}

static void
a_peer_that_does_not_read(void **state)
{
	static char big[1 << 20];
	struct ends e = ends_open();
	enum err first = OK;

	(void)state;
	for (int i = 0; i < 16 && !first; i++)
		first = stream_write(e.s, big, sizeof(big));
	assert_int_equal(first, E_TIMEOUT);
	assert_int_equal(stream_error(e.s), E_TIMEOUT);
	assert_int_equal(stream_write_cstr(e.s, "x"), E_TIMEOUT);
	ends_close(&e);
}

static void
waits_for_either(void **state)
{
	struct ends e = ends_open();
	int pipes[2], client, other;

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(stream_wait(e.s, pipes[0], 10, &client, &other), E_TIMEOUT);
	assert_int_equal(write(pipes[1], "x", 1), 1);
	assert_int_equal(stream_wait(e.s, pipes[0], 1000, &client, &other), OK);
	assert_true(!client && other);
	put(&e, "DONE\r\n");
	assert_int_equal(stream_wait(e.s, -1, 1000, &client, &other), OK);
	assert_true(client && !other);
	close(pipes[0]);
	close(pipes[1]);
	ends_close(&e);
}

/* More than a socket takes: without the hold the writes would wait, and fail. */
static void
output_is_held(void **state)
{
	static char text[100 << 10];
	struct ends e = ends_open();

	(void)state;
	memset(text, 'x', sizeof(text));
	stream_hold(e.s, 1);
	for (int i = 0; i < 100; i++)
		assert_int_equal(stream_write(e.s, text, sizeof(text)), OK);
	assert_int_equal(stream_printf(e.s, "end"), OK);
	assert_int_equal(stream_bytes_out(e.s), 0);
	stream_hold(e.s, 0);
	assert_int_equal(stream_error(e.s), E_TIMEOUT);
	ends_close(&e);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_lines_of_both_kinds),
		cmocka_unit_test(line_bounds),
		cmocka_unit_test(replays_what_was_read_ahead),
		cmocka_unit_test(output_waits_for_a_read_or_a_flush),
		cmocka_unit_test(a_peer_that_does_not_read),
		cmocka_unit_test(output_is_held),
		cmocka_unit_test(waits_for_either),
	};

	return cmocka_run_group_tests_name("stream", tests, NULL, NULL);
}
