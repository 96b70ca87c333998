/* SPDX-License-Identifier: MIT */
#include "lib/stream.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/io.h"
#include "lib/mem.h"

enum {
	STREAM_OUT_FLUSH = 32 * 1024, /* output that is sent without being asked */
	STREAM_IN_CHUNK = 16 * 1024,
	STREAM_KEEP_CAP = 4096, /* an idle stream keeps no larger buffers than this */
	STREAM_LINE_MAX = 1 << 20,
	STREAM_TIMEOUT_MS = 5 * 60 * 1000,
};

struct stream {
	int fd;
	int read_ms, write_ms;
	struct buf in; /* in.p + at .. in.p + in.len is unread */
	size_t at;
	struct buf out;
	int held; /* out only grows */
	uint64_t bytes_in, bytes_out;
	enum err err;
};

struct stream *
stream_create(int fd)
{
	struct stream *s = MEM_NEW(struct stream);

	s->fd = fd;
	s->read_ms = s->write_ms = STREAM_TIMEOUT_MS;
	return s;
}

void
stream_free(struct stream **s)
{
	if (!*s)
		return;
	io_close(&(*s)->fd);
	buf_free(&(*s)->in);
	buf_free(&(*s)->out);
	MEM_FREE(*s);
}

int
stream_fd(const struct stream *s)
{
	return s->fd;
}

int
stream_release_fd(struct stream *s)
{
	int fd = s->fd;

	s->fd = -1;
	s->err = E_CLOSED;
	return fd;
}

void
stream_set_timeouts(struct stream *s, int read_ms, int write_ms)
{
	s->read_ms = read_ms;
	s->write_ms = write_ms;
}

/* Moves the unread bytes to the front of the buffer. */
static void
compact(struct stream *s)
{
	if (!s->at)
		return;
	buf_consume(&s->in, s->at);
	s->at = 0;
}

void
stream_push_input(struct stream *s, struct str bytes)
{
	compact(s);
	buf_add_str(&s->in, bytes);
}

size_t
stream_input_available(const struct stream *s)
{
	return s->in.len - s->at;
}

void
stream_drop_input(struct stream *s)
{
	buf_reset(&s->in);
	s->at = 0;
}

uint64_t
stream_bytes_in(const struct stream *s)
{
	return s->bytes_in;
}

uint64_t
stream_bytes_out(const struct stream *s)
{
	return s->bytes_out;
}

enum err
stream_error(const struct stream *s)
{
	return s->err;
}

/* A sticky error. E_TIMEOUT and E_CANCELLED of a read do not stick: the session says goodbye. */
static enum err
fail(struct stream *s, enum err e)
{
	s->err = e;
	return e;
}

/*
 * Waits for events on fd. A signal that asks the session to end interrupts poll(2): E_CANCELLED,
 * when the caller is reading; a writer goes on.
 */
static enum err
wait_events(struct stream *s, short events, int timeout_ms)
{
	enum err e;

	do
		e = io_wait_or_signal(s->fd, events, &timeout_ms);
	while (e == E_CANCELLED && !(events & POLLIN));
	return e && e != E_TIMEOUT && e != E_CANCELLED ? fail(s, e) : e;
}

static enum err
send_bytes(struct stream *s, const char *p, size_t len)
{
	while (len) {
		ssize_t n = send(s->fd, p, len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n >= 0) {
			p += n;
			len -= (size_t)n;
			s->bytes_out += (uint64_t)n;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return fail(s, err_from_errno(errno));
		enum err e = wait_events(s, POLLOUT, s->write_ms);
		if (e)
			return fail(s, e);
	}
	return OK;
}

enum err
stream_flush(struct stream *s)
{
	enum err e;

	if (s->err)
		return s->err;
	if (!s->out.len)
		return OK;
	if (s->fd < 0)
		return fail(s, E_CLOSED);
	e = send_bytes(s, s->out.p, s->out.len);
	buf_reset(&s->out);
	return e;
}

enum err
stream_write(struct stream *s, const void *p, size_t len)
{
	enum err e;

	if (s->err)
		return s->err;
	if (!s->held && s->out.len + len > STREAM_OUT_FLUSH) {
		e = stream_flush(s);
		if (e)
			return e;
		if (len >= STREAM_OUT_FLUSH)
			return s->fd < 0 ? fail(s, E_CLOSED) : send_bytes(s, p, len);
	}
	return buf_add(&s->out, p, len);
}

enum err
stream_write_cstr(struct stream *s, const char *text)
{
	return stream_write(s, text, strlen(text));
}

enum err
stream_write_str(struct stream *s, struct str text)
{
	return stream_write(s, text.p, text.len);
}

enum err
stream_printf(struct stream *s, const char *fmt, ...)
{
	va_list ap;

	if (s->err)
		return s->err;
	va_start(ap, fmt);
	buf_vprintf(&s->out, fmt, ap);
	va_end(ap);
	return !s->held && s->out.len > STREAM_OUT_FLUSH ? stream_flush(s) : OK;
}

void
stream_hold(struct stream *s, int on)
{
	s->held = on;
	/* An error sticks: the next write returns it. */
	if (!on && s->out.len > STREAM_OUT_FLUSH)
		(void)stream_flush(s);
}

enum err
stream_send_file(struct stream *s, int file_fd, uint64_t offset, uint64_t len)
{
	off_t at = (off_t)offset;
	enum err e = stream_flush(s);

	while (!e && len) {
		size_t chunk = len > (1 << 20) ? 1 << 20 : (size_t)len;
		ssize_t n = sendfile(s->fd, file_fd, &at, chunk);

		if (n > 0) {
			len -= (uint64_t)n;
			s->bytes_out += (uint64_t)n;
		} else if (n == 0) {
			e = fail(s, E_CORRUPT); /* the file is shorter than announced */
		} else if (errno == EAGAIN) {
			e = wait_events(s, POLLOUT, s->write_ms);
			if (e)
				fail(s, e);
		} else if (errno != EINTR) {
			e = fail(s, err_from_errno(errno));
		}
	}
	return e;
}

/* Nothing there for now: a sleeping session should hold little memory. */
static void
shrink(struct stream *s)
{
	if (s->in.len || s->out.len)
		return;
	if (s->in.cap > STREAM_KEEP_CAP)
		buf_free(&s->in);
	if (s->out.cap > STREAM_KEEP_CAP)
		buf_free(&s->out);
}

/* Reads more from the socket behind what is there; waits for at least a byte. */
static enum err
fill(struct stream *s)
{
	enum err e;

	if (s->err)
		return s->err;
	if (s->fd < 0)
		return E_CLOSED;
	e = stream_flush(s);
	if (e)
		return e;
	compact(s);
	buf_reserve(&s->in, STREAM_IN_CHUNK);
	for (;;) {
		ssize_t n =
			recv(s->fd, s->in.p + s->in.len, s->in.cap - s->in.len - 1, MSG_DONTWAIT);

		if (n > 0) {
			s->in.len += (size_t)n;
			s->bytes_in += (uint64_t)n;
			return OK;
		}
		if (n == 0)
			return fail(s, E_CLOSED);
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return fail(s, err_from_errno(errno));
		shrink(s);
		e = wait_events(s, POLLIN, s->read_ms);
		if (e)
			return e;
		buf_reserve(&s->in, STREAM_IN_CHUNK);
	}
}

enum err
stream_read_line(struct stream *s, size_t max, struct str *line, enum stream_line_end *end)
{
	size_t searched = 0;

	*line = (struct str){0};
	if (max > STREAM_LINE_MAX)
		max = STREAM_LINE_MAX;
	for (;;) {
		struct str rest = str_make(s->in.p + s->at, s->in.len - s->at);
		size_t lf = str_find(rest, searched, '\n');
		int crlf = lf < rest.len && lf > 0 && rest.p[lf - 1] == '\r';
		enum err e;

		if (lf < rest.len && lf - (size_t)crlf <= max) {
			*line = str_make(rest.p, lf - (size_t)crlf);
			if (end)
				*end = crlf ? STREAM_CRLF : STREAM_LF;
			s->at += lf + 1;
			return OK;
		}
		/* One byte over max may still be the CR of the line end. */
		if (lf < rest.len || rest.len > max + 1)
			return E_TOOBIG;
		searched = rest.len;
		e = fill(s);
		if (e)
			return e;
	}
}

enum err
stream_skip_line(struct stream *s)
{
	for (;;) {
		struct str rest = str_make(s->in.p + s->at, s->in.len - s->at);
		size_t lf = str_find(rest, 0, '\n');
		enum err e;

		if (lf < rest.len) {
			s->at += lf + 1;
			return OK;
		}
		s->at = s->in.len;
		e = fill(s);
		if (e)
			return e;
	}
}

enum err
stream_read_exact(struct stream *s, void *p, size_t len)
{
	char *to = p;

	while (len) {
		struct str piece;
		enum err e = stream_peek(s, len, &piece);

		if (e)
			return e;
		memcpy(to, piece.p, piece.len);
		to += piece.len;
		len -= piece.len;
		stream_consume(s, piece.len);
	}
	return OK;
}

enum err
stream_peek(struct stream *s, size_t max, struct str *out)
{
	*out = (struct str){0};
	if (s->at == s->in.len) {
		enum err e = fill(s);

		if (e)
			return e;
	}
	*out = str_make(s->in.p + s->at, s->in.len - s->at);
	if (out->len > max)
		out->len = max;
	return OK;
}

enum err
stream_peek_more(struct stream *s, size_t have, struct str *out)
{
	*out = (struct str){0};
	while (s->in.len - s->at <= have) {
		enum err e = fill(s);

		if (e)
			return e;
	}
	*out = str_make(s->in.p + s->at, s->in.len - s->at);
	return OK;
}

void
stream_consume(struct stream *s, size_t len)
{
	s->at += len;
	if (s->at >= s->in.len)
		stream_drop_input(s);
}

enum err
stream_wait(struct stream *s, int other_fd, int timeout_ms, int *client, int *other)
{
	int64_t deadline = timeout_ms < 0 ? 0 : io_now_ms() + timeout_ms;
	enum err e = stream_flush(s);

	*client = *other = 0;
	if (e)
		return e;
	if (s->at < s->in.len) {
		*client = 1;
		return OK;
	}
	shrink(s);
	for (;;) {
		struct pollfd pfds[2] = {
			{.fd = s->fd, .events = POLLIN}, {.fd = other_fd, .events = POLLIN}};
		int left = -1, n;

		if (timeout_ms >= 0) {
			int64_t remain = deadline - io_now_ms();

			left = remain > 0 ? (int)remain : 0;
		}
		n = poll(pfds, other_fd >= 0 ? 2 : 1, left);
		if (n == 0)
			return E_TIMEOUT;
		if (n < 0)
			return errno == EINTR ? E_CANCELLED : fail(s, err_from_errno(errno));
		*client = pfds[0].revents != 0;
		*other = other_fd >= 0 && pfds[1].revents != 0;
		return OK;
	}
}
