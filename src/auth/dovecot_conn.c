/* SPDX-License-Identifier: MIT */
#include "auth/dovecot_conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <event2/event.h>

#include "lib/io.h"
#include "lib/mem.h"

enum {
	READ_CHUNK = 4 * 1024,
	LINES_PER_TURN = 16, /* then the other connections of the loop have a turn */
};

struct dovecot_conn {
	int fd;
	const struct dovecot_conn_handler *handler;
	void *arg;
	struct event *read_event, *write_event, *turn_event;
	struct buf in, out;
	int paused;
	enum err dead; /* why; told from the loop */
};

static void
conn_destroy(struct dovecot_conn *c)
{
	event_free(c->read_event);
	event_free(c->write_event);
	event_free(c->turn_event);
	buf_wipe(&c->in);
	buf_free(&c->in);
	buf_wipe(&c->out);
	buf_free(&c->out);
	io_close(&c->fd);
	free(c);
}

static void
conn_die(struct dovecot_conn *c, enum err e)
{
	c->handler->on_close(c->arg, e);
	conn_destroy(c);
}

/* From wherever: the loop does it. */
static void
conn_die_soon(struct dovecot_conn *c, enum err e)
{
	if (c->dead)
		return;
	c->dead = e;
	event_del(c->read_event);
	event_del(c->write_event);
	event_active(c->turn_event, EV_TIMEOUT, 0);
}

/* ---- input ---- */

static void
conn_process(struct dovecot_conn *c)
{
	for (unsigned lines = 0; !c->paused && !c->dead; lines++) {
		size_t len = str_find(buf_str(&c->in), 0, '\n');
		enum err e;

		if (len > DOVECOT_LINE_MAX) {
			conn_die_soon(c, E_TOOBIG);
			return;
		}
		if (len == c->in.len) {
			if (!len)
				buf_wipe(&c->in);
			return;
		}
		if (lines == LINES_PER_TURN) {
			event_active(c->turn_event, EV_TIMEOUT, 0);
			return;
		}
		e = c->handler->on_line(c->arg, str_make(c->in.p, len));
		explicit_bzero(c->in.p, len);
		buf_consume(&c->in, len + 1);
		if (e)
			conn_die_soon(c, e);
	}
}

static void
on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct dovecot_conn *c = arg;

	(void)fd;
	(void)what;
	if (c->dead)
		conn_die(c, c->dead);
	else
		conn_process(c);
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct dovecot_conn *c = arg;
	ssize_t n;

	(void)what;
	if (c->dead)
		return;
	/* What is there is worked off first; then the kernel's buffer holds the peer up. */
	if (c->in.len > DOVECOT_LINE_MAX) {
		conn_process(c);
		return;
	}
	buf_reserve(&c->in, READ_CHUNK);
	do {
		n = recv(fd, c->in.p + c->in.len, READ_CHUNK, MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		conn_die_soon(c, n == 0 ? E_CLOSED : err_from_errno(errno));
		return;
	}
	c->in.len += (size_t)n;
	conn_process(c);
}

void
dovecot_conn_pause(struct dovecot_conn *c, int on)
{
	if (c->dead || c->paused == !!on)
		return;
	c->paused = !!on;
	if (on) {
		event_del(c->read_event);
	} else {
		event_add(c->read_event, NULL);
		event_active(c->turn_event, EV_TIMEOUT, 0);
	}
}

/* ---- output ---- */

static enum err
conn_write(struct dovecot_conn *c)
{
	while (c->out.len) {
		ssize_t n = send(c->fd, c->out.p, c->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? OK : err_from_errno(errno);
		buf_consume(&c->out, (size_t)n);
	}
	buf_wipe(&c->out);
	return OK;
}

static void
on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct dovecot_conn *c = arg;
	enum err e = c->dead ? OK : conn_write(c);

	(void)fd;
	(void)what;
	if (e)
		conn_die_soon(c, e);
	else if (!c->out.len)
		event_del(c->write_event);
}

void
dovecot_conn_send(struct dovecot_conn *c, struct buf *b)
{
	enum err e = OK;

	buf_add_char(b, '\n');
	if (!c->dead) {
		buf_add_str(&c->out, buf_str(b));
		e = c->out.len > DOVECOT_OUT_MAX ? E_TOOBIG : conn_write(c);
		if (e)
			conn_die_soon(c, e);
		else if (c->out.len)
			event_add(c->write_event, NULL);
	}
	buf_wipe(b);
	buf_free(b);
}

/* ---- life ---- */

struct dovecot_conn *
dovecot_conn_create(
	struct event_base *base, int fd, const struct dovecot_conn_handler *handler, void *arg)
{
	struct dovecot_conn *c = MEM_NEW(struct dovecot_conn);

	io_set_nonblocking(fd, 1);
	c->fd = fd;
	c->handler = handler;
	c->arg = arg;
	c->read_event = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, c);
	c->write_event = event_new(base, fd, EV_WRITE | EV_PERSIST, on_writable, c);
	c->turn_event = event_new(base, -1, 0, on_turn, c);
	event_add(c->read_event, NULL);
	return c;
}

void
dovecot_conn_close(struct dovecot_conn *c, enum err e)
{
	conn_die_soon(c, e);
}

void
dovecot_conn_free(struct dovecot_conn **c)
{
	if (*c)
		conn_destroy(*c);
	*c = NULL;
}
