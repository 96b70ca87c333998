/* SPDX-License-Identifier: MIT */
#include "lib/ipc.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "lib/io.h"

/* ---- fields ---- */

static void
fields_come_back(void **state)
{
	struct buf b = {0};
	struct ipc_reader r;
	char *text;

	(void)state;
	ipc_put_u8(&b, 200);
	ipc_put_u32(&b, UINT32_MAX);
	ipc_put_u64(&b, UINT64_MAX - 1);
	ipc_put_str(&b, STR("a\0b"));
	ipc_put_cstr(&b, NULL);
	r = ipc_reader_of(buf_str(&b));
	assert_int_equal(ipc_get_u8(&r), 200);
	assert_int_equal(ipc_get_u32(&r), UINT32_MAX);
	assert_true(ipc_get_u64(&r) == UINT64_MAX - 1);
	assert_true(str_equal(ipc_get_str(&r), STR("a\0b")));
	assert_int_equal(ipc_reader_end(&r), E_PROTO); /* something is left */
	text = ipc_get_dup(&r);
	assert_string_equal(text, "");
	assert_int_equal(ipc_reader_end(&r), OK);
	free(text);
	buf_free(&b);
}

static void
every_cut_is_noticed(void **state)
{
	struct buf b = {0};

	(void)state;
	ipc_put_u32(&b, 5);
	ipc_put_str(&b, STR("hello"));
	ipc_put_u64(&b, 9);
	for (size_t len = 0; len < b.len; len++) {
		struct ipc_reader r = ipc_reader_of(str_make(b.p, len));
		struct str s;

		ipc_get_u32(&r);
		s = ipc_get_str(&r);
		assert_true(s.len <= len);
		ipc_get_u64(&r);
		assert_int_equal(ipc_reader_end(&r), E_PROTO);
	}
	buf_free(&b);
}

/* ---- blocking ---- */

static void
a_frame_with_a_descriptor(void **state)
{
	int pair[2], pipes[2];
	struct ipc_msg m;
	char c;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(ipc_send(pair[0], 7, 42, STR("body"), &pipes[0], 1, 1000), OK);
	assert_int_equal(ipc_send(pair[0], 8, 43, STR(""), NULL, 0, 1000), OK);
	assert_int_equal(ipc_recv(pair[1], &m, 1000), OK);
	assert_int_equal(m.type, 7);
	assert_int_equal(m.request, 42);
	assert_true(str_is(buf_str(&m.body), "body"));
	assert_true(m.fds[0] >= 0);
	assert_int_equal(write(pipes[1], "x", 1), 1);
	assert_int_equal(read(m.fds[0], &c, 1), 1);
	ipc_msg_free(&m);
	assert_int_equal(ipc_recv(pair[1], &m, 1000), OK);
	assert_int_equal(m.type, 8);
	assert_int_equal(m.fds[0], -1);
	ipc_msg_free(&m);
	assert_int_equal(ipc_recv(pair[1], &m, 10), E_TIMEOUT);
	ipc_msg_free(&m);
	close(pair[0]);
	assert_int_equal(ipc_recv(pair[1], &m, 1000), E_CLOSED);
	ipc_msg_free(&m);
	close(pair[1]);
	close(pipes[0]);
	close(pipes[1]);
}

static void
a_frame_that_is_too_long(void **state)
{
	unsigned char header[IPC_HEADER_SIZE] = {0xff, 0xff, 0xff, 0xff};
	struct ipc_msg m;
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(io_write_all(pair[0], header, sizeof(header)), OK);
	assert_int_equal(ipc_recv(pair[1], &m, 1000), E_TOOBIG);
	ipc_msg_free(&m);
	close(pair[0]);
	close(pair[1]);
}

/* ---- event-driven ---- */

struct peer {
	struct event_base *base;
	unsigned messages, fds;
	size_t bytes;
	enum err closed;
	int detach, detached_fd;
	struct buf readahead;
	int free_at;
};

static void
peer_message(struct ipc_conn *c, struct ipc_msg *m, void *arg)
{
	struct peer *p = arg;

	p->messages++;
	p->bytes += m->body.len;
	p->fds += m->fds[0] >= 0;
	if (p->free_at && p->messages == (unsigned)p->free_at) {
		ipc_conn_free(&c);
		event_base_loopbreak(p->base);
	} else if (p->detach) {
		p->detached_fd = ipc_conn_detach(c, &p->readahead);
		event_base_loopbreak(p->base);
	}
}

static void
peer_close(struct ipc_conn *c, enum err e, void *arg)
{
	struct peer *p = arg;

	(void)c;
	p->closed = e;
	event_base_loopbreak(p->base);
}

static const struct ipc_conn_handler peer_handler = {peer_message, peer_close};

static struct ipc_conn *
peer_open(struct peer *p, int pair[2], size_t body_max)
{
	p->base = event_base_new();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	return ipc_conn_create(p->base, pair[1], body_max, &peer_handler, p);
}

static void
takes_many_frames_in_odd_pieces(void **state)
{
	struct peer p = {0};
	struct buf stream = {0};
	int pair[2];

	(void)state;
	peer_open(&p, pair, 1000);
	for (uint32_t i = 0; i < 300; i++) {
		uint32_t len = i % 97;
		uint16_t type = 1, flags = 0;

		buf_add(&stream, &len, 4);
		buf_add(&stream, &type, 2);
		buf_add(&stream, &flags, 2);
		buf_add(&stream, &i, 4);
		for (uint32_t k = 0; k < len; k++)
			buf_add_char(&stream, 'x');
	}
	for (size_t at = 0, n = 1; at < stream.len; at += n, n = n % 61 + 1) {
		if (n > stream.len - at)
			n = stream.len - at;
		assert_int_equal(io_write_all(pair[0], stream.p + at, n), OK);
		event_base_loop(p.base, EVLOOP_NONBLOCK);
	}
	close(pair[0]);
	event_base_dispatch(p.base);
	assert_int_equal(p.messages, 300);
	assert_int_equal(p.closed, E_CLOSED);
	event_base_free(p.base);
	buf_free(&stream);
}

static void
a_frame_over_the_connections_bound_ends_it(void **state)
{
	struct peer p = {0};
	int pair[2];

	(void)state;
	peer_open(&p, pair, 3);
	assert_int_equal(ipc_send(pair[0], 1, 1, STR("four"), NULL, 0, 1000), OK);
	event_base_dispatch(p.base);
	assert_int_equal(p.messages, 0);
	assert_int_equal(p.closed, E_TOOBIG);
	close(pair[0]);
	event_base_free(p.base);
}

static void
detach_loses_nothing(void **state)
{
	struct peer p = {.detach = 1};
	struct ipc_reader r;
	int pair[2];

	(void)state;
	peer_open(&p, pair, 1000);
	assert_int_equal(ipc_send(pair[0], 1, 1, STR("first"), NULL, 0, 1000), OK);
	assert_int_equal(ipc_send(pair[0], 1, 2, STR("second"), NULL, 0, 1000), OK);
	event_base_dispatch(p.base);
	assert_int_equal(p.messages, 1);
	assert_int_equal(p.readahead.len, IPC_HEADER_SIZE + 6);
	r = ipc_reader_of(buf_str(&p.readahead));
	assert_int_equal(ipc_get_u32(&r), 6);
	p.detach = 0;
	struct ipc_conn *c = ipc_conn_create(p.base, p.detached_fd, 1000, &peer_handler, &p);
	ipc_conn_push_input(c, buf_str(&p.readahead));
	event_base_loop(p.base, EVLOOP_ONCE);
	assert_int_equal(p.messages, 2);
	ipc_conn_free(&c);
	close(pair[0]);
	buf_free(&p.readahead);
	event_base_free(p.base);
}

static void
freed_from_its_own_handler(void **state)
{
	struct peer p = {.free_at = 2};
	int pair[2];

	(void)state;
	peer_open(&p, pair, 1000);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(ipc_send(pair[0], 1, i, STR("x"), NULL, 0, 1000), OK);
	event_base_dispatch(p.base);
	assert_int_equal(p.messages, 2);
	assert_int_equal(p.closed, OK);
	close(pair[0]);
	event_base_free(p.base);
}

/* More than the socket holds, with descriptors in between, read slowly at the other end. */
static void
back_pressure_keeps_order_and_descriptors(void **state)
{
	enum { FRAMES = 200, SIZE = 10000 };
	static char big[SIZE];
	struct peer p = {0};
	int pair[2], devnull = open("/dev/null", O_RDONLY);
	struct ipc_conn *c = peer_open(&p, pair, 1000);

	(void)state;
	for (uint32_t i = 0; i < FRAMES; i++)
		ipc_conn_send(c, 3, i, str_make(big, sizeof(big)), &devnull, i % 3 == 0);
	assert_true(ipc_conn_pending(c) > 0);
	for (uint32_t i = 0; i < FRAMES; i++) {
		struct ipc_msg m;

		while (io_wait_readable(pair[0], 0) == E_TIMEOUT)
			event_base_loop(p.base, EVLOOP_ONCE);
		/* A frame may come in pieces: let the loop send while the blocking side reads. */
		for (int turn = 0; turn < 4; turn++)
			event_base_loop(p.base, EVLOOP_NONBLOCK);
		assert_int_equal(ipc_recv(pair[0], &m, 5000), OK);
		assert_int_equal(m.request, i);
		assert_int_equal(m.body.len, SIZE);
		assert_int_equal(m.fds[0] >= 0, i % 3 == 0);
		ipc_msg_free(&m);
	}
	assert_int_equal(ipc_conn_pending(c), 0);
	ipc_conn_free(&c);
	close(pair[0]);
	close(devnull);
	event_base_free(p.base);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields_come_back),
		cmocka_unit_test(every_cut_is_noticed),
		cmocka_unit_test(a_frame_with_a_descriptor),
		cmocka_unit_test(a_frame_that_is_too_long),
		cmocka_unit_test(takes_many_frames_in_odd_pieces),
		cmocka_unit_test(a_frame_over_the_connections_bound_ends_it),
		cmocka_unit_test(detach_loses_nothing),
		cmocka_unit_test(freed_from_its_own_handler),
		cmocka_unit_test(back_pressure_keeps_order_and_descriptors),
	};

	return cmocka_run_group_tests_name("ipc", tests, NULL, NULL);
}
