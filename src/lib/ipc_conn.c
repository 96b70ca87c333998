/* SPDX-License-Identifier: MIT */
#include "lib/ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "lib/io.h"
#include "lib/ipc_frame.h"
#include "lib/mem.h"

enum {
	CONN_READ_CHUNK = 64 * 1024,
	CONN_KEEP_CAP = 16 * 1024, /* an idle connection keeps no larger buffer */
	CONN_FRAMES_PER_TURN = 64, /* then the other connections of the loop have a turn */
};
#define CONN_OUT_MAX ((size_t)256 << 20)

/* Descriptors wait here until the byte of the stream that they ride on is sent. */
struct out_fds {
	struct out_fds *next;
	uint64_t at; /* position in the output stream */
	int fds[IPC_FDS_MAX];
	size_t nfds;
};

struct ipc_conn {
	struct event_base *base;
	int fd;
	size_t body_max;
	const struct ipc_conn_handler *handler;
	void *arg;
	void (*on_drained)(struct ipc_conn *c, void *arg);
	struct event *read_event, *write_event, *resume_event;

	struct buf in;
	int in_fds[IPC_FDS_MAX];
	size_t in_nfds;

	struct buf out;
	uint64_t out_sent; /* bytes of the stream sent so far */
	struct out_fds *out_fds, **out_fds_tail;

	int paused, in_callback, dead, detached, batch;
	enum err dead_error;
};

static void conn_process(struct ipc_conn *c);

static void
conn_destroy(struct ipc_conn *c)
{
	event_free(c->read_event);
	event_free(c->write_event);
	event_free(c->resume_event);
	for (struct out_fds *o = c->out_fds, *next; o; o = next) {
		next = o->next;
		for (size_t i = 0; i < o->nfds; i++)
			close(o->fds[i]);
		free(o);
	}
	for (size_t i = 0; i < c->in_nfds; i++)
		close(c->in_fds[i]);
	buf_free(&c->in);
	buf_free(&c->out);
	io_close(&c->fd);
	free(c);
}

/* Ends the connection from our own side of the loop and tells the handler. */
static void
conn_die(struct ipc_conn *c, enum err e)
{
	c->dead = 1;
	c->in_callback++;
	c->handler->on_close(c, e, c->arg);
	conn_destroy(c);
}

/* Sends what the socket takes. E_CLOSED and others: the connection is broken. */
static enum err
conn_write(struct ipc_conn *c)
{
	while (c->out.len) {
		struct out_fds *o = c->out_fds;
		size_t len = c->out.len;
		int with_fds = o && o->at == c->out_sent;
		struct iovec iov;
		ssize_t n;

		/* Stop short of the next byte that carries descriptors. */
		if (o && !with_fds && o->at - c->out_sent < len)
			len = (size_t)(o->at - c->out_sent);
		else if (with_fds && o->next && o->next->at - c->out_sent < len)
			len = (size_t)(o->next->at - c->out_sent);
		iov = (struct iovec){c->out.p, len};
		n = ipc_sendmsg(c->fd, &iov, 1, with_fds ? o->fds : NULL, with_fds ? o->nfds : 0,
			MSG_DONTWAIT);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			return errno == EAGAIN ? OK : err_from_errno(errno);
		}
		if (with_fds) {
			for (size_t i = 0; i < o->nfds; i++)
				close(o->fds[i]);
			c->out_fds = o->next;
			if (!c->out_fds)
				c->out_fds_tail = &c->out_fds;
			free(o);
		}
		buf_consume(&c->out, (size_t)n);
		c->out_sent += (uint64_t)n;
	}
	if (c->out.cap > CONN_KEEP_CAP)
		buf_free(&c->out);
	return OK;
}

static void
on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct ipc_conn *c = arg;
	enum err e = c->dead ? c->dead_error : conn_write(c);

	(void)fd;
	(void)what;
	if (e) {
		conn_die(c, e);
	} else if (!c->out.len) {
		event_del(c->write_event);
		if (c->on_drained)
			c->on_drained(c, c->arg);
	}
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct ipc_conn *c = arg;
	/* Most messages are small: a buffer of this size on the heap costs more than the copy. */
	char chunk[CONN_READ_CHUNK];

	(void)what;
	if (c->dead)
		return; /* the write event reports it */
	for (;;) {
		ssize_t n =
			ipc_recvmsg(fd, chunk, sizeof(chunk), c->in_fds, &c->in_nfds, MSG_DONTWAIT);

		if (n > 0) {
			buf_add(&c->in, chunk, (size_t)n);
			explicit_bzero(chunk, (size_t)n); /* it may have been a password */
			break;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		conn_die(c, n == 0 ? E_CLOSED : err_from_errno(errno));
		return;
	}
	conn_process(c);
}

static void
on_resume(evutil_socket_t fd, short what, void *arg)
{
	struct ipc_conn *c = arg;

	(void)fd;
	(void)what;
	if (!c->dead && !c->paused)
		conn_process(c);
}

/* Copies the first whole frame of the input. *used: its length, 0 when there is none yet. */
static enum err
conn_next(struct ipc_conn *c, struct ipc_msg *m, size_t *used)
{
	struct ipc_header h;
	enum err e;

	*used = 0;
	if (c->in.len < IPC_HEADER_SIZE)
		return OK;
	e = ipc_header_read(c->in.p, &h);
	if (!e && h.len > c->body_max)
		e = E_TOOBIG;
	if (e || c->in.len - IPC_HEADER_SIZE < h.len)
		return e;
	/* Descriptors arrive no later than the first byte of their frame. */
	if (h.nfds > c->in_nfds)
		return E_PROTO;
	*m = (struct ipc_msg){.type = h.type, .request = h.request, .fds = {-1, -1, -1, -1}};
	buf_add(&m->body, c->in.p + IPC_HEADER_SIZE, h.len);
	memcpy(m->fds, c->in_fds, h.nfds * sizeof(int));
	c->in_nfds -= h.nfds;
	memmove(c->in_fds, c->in_fds + h.nfds, c->in_nfds * sizeof(int));
	*used = IPC_HEADER_SIZE + h.len;
	return OK;
}

/* What a batch left: sends it, or waits until the peer takes more. */
static void
conn_flush(struct ipc_conn *c)
{
	enum err e = conn_write(c);

	if (e) {
		c->dead = 1;
		c->dead_error = e;
	} else if (c->out.len) {
		event_add(c->write_event, NULL);
	}
}

static void
conn_process(struct ipc_conn *c)
{
	enum err e = OK;

	c->in_callback++;
	for (unsigned turns = 0; !c->paused && !c->dead && !c->detached; turns++) {
		struct ipc_msg m;
		size_t used;

		if (turns == CONN_FRAMES_PER_TURN) {
			event_active(c->resume_event, EV_TIMEOUT, 0);
			break;
		}
		e = conn_next(c, &m, &used);
		if (e || !used)
			break;
		/* Before the call: a handler that detaches must find only what follows its frame.
		 */
		buf_consume(&c->in, used);
		c->handler->on_message(c, &m, c->arg);
		ipc_msg_free(&m);
	}
	if (c->batch && !c->dead && !c->detached && c->out.len)
		conn_flush(c);
	c->in_callback--;
	if (c->detached || (c->dead && c->dead_error == E_CANCELLED)) {
		conn_destroy(c);
		return;
	}
	if (e || c->dead) {
		conn_die(c, c->dead ? c->dead_error : e);
		return;
	}
	if (!c->in.len)
		buf_free(&c->in);
}

struct ipc_conn *
ipc_conn_create(struct event_base *base, int fd, size_t body_max,
	const struct ipc_conn_handler *handler, void *arg)
{
	struct ipc_conn *c = MEM_NEW(struct ipc_conn);

	io_set_nonblocking(fd, 1);
	c->base = base;
	c->fd = fd;
	c->body_max = body_max < IPC_BODY_MAX ? body_max : IPC_BODY_MAX;
	c->handler = handler;
	c->arg = arg;
	c->out_fds_tail = &c->out_fds;
	c->read_event = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, c);
	c->write_event = event_new(base, fd, EV_WRITE | EV_PERSIST, on_writable, c);
	c->resume_event = event_new(base, -1, 0, on_resume, c);
	event_add(c->read_event, NULL);
	return c;
}

void
ipc_conn_free(struct ipc_conn **c)
{
	if (!*c)
		return;
	if ((*c)->in_callback) {
		/* From inside a handler: conn_process destroys it when the handler returns. */
		(*c)->dead = 1;
		(*c)->dead_error = E_CANCELLED;
		event_del((*c)->read_event);
		event_del((*c)->write_event);
	} else {
		conn_destroy(*c);
	}
	*c = NULL;
}

void
ipc_conn_send(struct ipc_conn *c, uint16_t type, uint32_t request, struct str body, const int *fds,
	size_t nfds)
{
	char header[IPC_HEADER_SIZE];
	enum err e;

	if (c->dead)
		return;
	if (nfds) {
		struct out_fds *o = MEM_NEW(struct out_fds);

		o->at = c->out_sent + c->out.len;
		for (size_t i = 0; i < nfds && i < IPC_FDS_MAX; i++) {
			int copy = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);

			if (copy >= 0)
				o->fds[o->nfds++] = copy;
		}
		*c->out_fds_tail = o;
		c->out_fds_tail = &o->next;
	}
	ipc_header_write(header, (uint32_t)body.len, type, nfds, request);
	int idle = c->out.len == 0;
	buf_add(&c->out, header, sizeof(header));
	buf_add_str(&c->out, body);
	e = c->out.len > CONN_OUT_MAX ? E_TOOBIG : OK;
	if (!e && c->batch && c->in_callback)
		return; /* conn_process sends it */
	if (!e && idle)
		e = conn_write(c);
	if (e) {
		/* Reported from the loop, since the caller still uses the connection. */
		c->dead = 1;
		c->dead_error = e;
		event_active(c->write_event, EV_WRITE, 0);
	} else if (c->out.len && idle) {
		event_add(c->write_event, NULL);
	}
}

void
ipc_conn_batch(struct ipc_conn *c)
{
	c->batch = 1;
}

void
ipc_conn_on_drained(struct ipc_conn *c, void (*fn)(struct ipc_conn *c, void *arg))
{
	c->on_drained = fn;
}

size_t
ipc_conn_pending(const struct ipc_conn *c)
{
	return c->out.len;
}

void *
ipc_conn_arg(const struct ipc_conn *c)
{
	return c->arg;
}

void
ipc_conn_set_arg(struct ipc_conn *c, void *arg)
{
	c->arg = arg;
}

int
ipc_conn_fd(const struct ipc_conn *c)
{
	return c->fd;
}

void
ipc_conn_pause(struct ipc_conn *c, int on)
{
	if (c->paused == on)
		return;
	c->paused = on;
	if (on) {
		event_del(c->read_event);
	} else {
		event_add(c->read_event, NULL);
		if (!c->in_callback)
			event_active(c->resume_event, EV_TIMEOUT, 0);
	}
}

int
ipc_conn_detach(struct ipc_conn *c, struct buf *readahead)
{
	int fd = c->fd;

	c->fd = -1;
	c->detached = 1;
	buf_add_buf(readahead, &c->in);
	buf_reset(&c->in);
	event_del(c->read_event);
	event_del(c->write_event);
	return fd;
}

void
ipc_conn_push_input(struct ipc_conn *c, struct str bytes)
{
	buf_add_str(&c->in, bytes);
	event_active(c->resume_event, EV_TIMEOUT, 0);
}
