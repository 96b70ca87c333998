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
	int64_t deadline_ms; /* of reads; 0: none */
	struct buf in; /* in.p + at .. in.p + in.len is unread */
	size_t at;
	struct buf out;
	int held; /* out only grows */
	const struct stream_filter *filter; /* NULL: none */
	void *filter_ctx;
	struct buf raw; /* input in front of the filter */
	int raw_more; /* the filter has more to give */
	struct buf encoded; /* scratch */
	int unflushed; /* the filter may hold back output */
	struct stream_traffic own, *traffic;
	stream_tap tap;
	void *tap_arg;
	const _Atomic unsigned *tap_on;
	enum err err;
};

struct stream *
stream_create(int fd)
{
	struct stream *s = MEM_NEW(struct stream);

	s->fd = fd;
	s->traffic = &s->own;
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
	buf_free(&(*s)->raw);
	buf_free(&(*s)->encoded);
	if ((*s)->filter)
		(*s)->filter->free((*s)->filter_ctx);
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
stream_set_deadline(struct stream *s, int64_t deadline_ms)
{
	s->deadline_ms = deadline_ms;
}

/* How long a read may wait now. */
static int
read_patience(const struct stream *s)
{
	int64_t left;

	if (s->deadline_ms == 0)
		return s->read_ms;
	left = s->deadline_ms - io_now_ms();
	if (left <= 0)
		return 0;
	return left < s->read_ms ? (int)left : s->read_ms;
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
stream_set_tap(struct stream *s, stream_tap tap, void *arg, const _Atomic unsigned *on)
{
	s->tap = tap;
	s->tap_arg = arg;
	s->tap_on = on;
}

static int
is_tapped(const struct stream *s)
{
	return s->tap && atomic_load_explicit(s->tap_on, memory_order_relaxed);
}

static void
show(struct stream *s, int from_client, const char *p, size_t len)
{
	if (len && is_tapped(s))
		s->tap(s->tap_arg, from_client, p, len);
}

void
stream_push_input(struct stream *s, struct str bytes)
{
	compact(s);
	buf_add_str(&s->in, bytes);
	show(s, 1, bytes.p, bytes.len);
}

size_t
stream_input_available(const struct stream *s)
{
	return s->in.len - s->at;
}

struct str
stream_unread(const struct stream *s)
{
	return str_make(s->in.p + s->at, s->in.len - s->at);
}

void
stream_drop_input(struct stream *s)
{
	buf_reset(&s->in);
	s->at = 0;
	buf_reset(&s->raw);
}

/* There is one writer; the others read whole numbers. */
static void
count(_Atomic uint64_t *counter, size_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
		memory_order_relaxed);
}

void
stream_count_in(struct stream *s, struct stream_traffic *where)
{
	uint64_t in = stream_bytes_in(s), out = stream_bytes_out(s);

	s->traffic = where ? where : &s->own;
	atomic_store_explicit(&s->traffic->in, in, memory_order_relaxed);
	atomic_store_explicit(&s->traffic->out, out, memory_order_relaxed);
}

uint64_t
stream_bytes_in(const struct stream *s)
{
	return atomic_load_explicit(&s->traffic->in, memory_order_relaxed);
}

uint64_t
stream_bytes_out(const struct stream *s)
{
	return atomic_load_explicit(&s->traffic->out, memory_order_relaxed);
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
			count(&s->traffic->out, (size_t)n);
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

/* Through the filter, in pieces, so that what it makes of a large one needs no large buffer. */
static enum err
send_filtered(struct stream *s, const char *p, size_t len, int flush)
{
	enum err e;

	show(s, 0, p, len);
	if (!s->filter)
		return send_bytes(s, p, len);
	do {
		size_t piece = len < STREAM_OUT_FLUSH ? len : STREAM_OUT_FLUSH;

		buf_reset(&s->encoded);
		e = s->filter->encode(
			s->filter_ctx, p, piece, piece == len ? flush : 0, &s->encoded);
		e = e ? fail(s, e) : send_bytes(s, s->encoded.p, s->encoded.len);
		p += piece;
		len -= piece;
	} while (!e && len);
	s->unflushed = !flush;
	return e;
}

enum err
stream_flush(struct stream *s)
{
	enum err e;

	if (s->err)
		return s->err;
	if (!s->out.len && !s->unflushed)
		return OK;
	if (s->fd < 0)
		return fail(s, E_CLOSED);
	e = send_filtered(s, s->out.len ? s->out.p : "", s->out.len, STREAM_FILTER_FLUSH);
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
			return s->fd < 0 ? fail(s, E_CLOSED) : send_filtered(s, p, len, 0);
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

static enum err
send_file_filtered(struct stream *s, int file_fd, off_t at, uint64_t len)
{
	char chunk[STREAM_OUT_FLUSH];
	enum err e = OK;

	while (!e && len) {
		size_t want = len < sizeof(chunk) ? (size_t)len : sizeof(chunk);
		ssize_t n = pread(file_fd, chunk, want, at);

		if (n > 0) {
			e = stream_write(s, chunk, (size_t)n);
			at += n;
			len -= (uint64_t)n;
		} else if (n == 0) {
			e = fail(s, E_CORRUPT); /* the file is shorter than announced */
		} else if (errno != EINTR) {
			e = fail(s, err_from_errno(errno));
		}
	}
	return e;
}

enum err
stream_send_file(struct stream *s, int file_fd, uint64_t offset, uint64_t len)
{
	off_t at = (off_t)offset;
	enum err e = stream_flush(s);

	if (!e && (s->filter || is_tapped(s)))
		return send_file_filtered(s, file_fd, at, len);
	while (!e && len) {
		size_t chunk = len > (1 << 20) ? 1 << 20 : (size_t)len;
		ssize_t n = sendfile(s->fd, file_fd, &at, chunk);

		if (n > 0) {
			len -= (uint64_t)n;
			count(&s->traffic->out, (size_t)n);
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
	if (!s->raw.len)
		buf_free(&s->raw);
	buf_free(&s->encoded);
}

/* Makes text of raw input. OK: there may be none for now. */
static enum err
decode(struct stream *s)
{
	struct str raw = buf_str(&s->raw);
	size_t before = s->in.len;
	enum err e;

	if (!s->filter || (!raw.len && !s->raw_more))
		return OK;
	e = s->filter->decode(s->filter_ctx, &raw, &s->in, STREAM_IN_CHUNK);
	buf_consume(&s->raw, s->raw.len - raw.len);
	s->raw_more = s->in.len - before >= STREAM_IN_CHUNK;
	return e ? fail(s, e) : OK;
}

enum err
stream_set_filter(struct stream *s, const struct stream_filter *filter, void *ctx)
{
	enum err e = stream_flush(s);

	compact(s);
	buf_add_buf(&s->raw, &s->in);
	buf_reset(&s->in);
	s->filter = filter;
	s->filter_ctx = ctx;
	return e;
}

enum err
stream_end_filter(struct stream *s)
{
	struct str raw = buf_str(&s->raw);
	enum err e;

	if (s->err)
		return s->err;
	e = send_filtered(s, s->out.len ? s->out.p : "", s->out.len, STREAM_FILTER_END);
	buf_reset(&s->out);
	/* Text behind the end: the peer went on as if there were none. */
	if (!e && s->at < s->in.len)
		e = fail(s, E_PROTO);
	if (e)
		return e;
	e = s->filter->decode_end(s->filter_ctx, &raw);
	if (e)
		return fail(s, e);
	s->filter->free(s->filter_ctx);
	s->filter = NULL;
	s->filter_ctx = NULL;
	s->raw_more = 0;
	stream_push_input(s, raw);
	buf_free(&s->raw);
	buf_free(&s->encoded);
	return OK;
}

void *
stream_filter_ctx(const struct stream *s)
{
	return s->filter_ctx;
}

int
stream_has_raw_input(const struct stream *s)
{
	return s->raw.len > 0 || s->raw_more;
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
	/* One that always has a byte ready never waits. */
	if (s->deadline_ms && io_now_ms() >= s->deadline_ms)
		return E_TIMEOUT;
	compact(s);
	for (;;) {
		struct buf *b = s->filter ? &s->raw : &s->in;
		size_t before = s->in.len;
		ssize_t n;

		e = decode(s);
		if (s->in.len > before)
			show(s, 1, s->in.p + before, s->in.len - before);
		if (e || s->in.len > before)
			return e;
		buf_reserve(b, STREAM_IN_CHUNK);
		n = recv(s->fd, b->p + b->len, b->cap - b->len - 1, MSG_DONTWAIT);
		if (n > 0) {
			b->len += (size_t)n;
			count(&s->traffic->in, (size_t)n);
			if (s->filter)
				continue;
			show(s, 1, s->in.p + before, (size_t)n);
			return OK;
		}
		if (n == 0)
			return fail(s, E_CLOSED);
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return fail(s, err_from_errno(errno));
		shrink(s);
		e = wait_events(s, POLLIN, read_patience(s));
		if (e)
			return e;
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
	if (s->at >= s->in.len) {
		buf_reset(&s->in);
		s->at = 0;
	}
}

enum err
stream_wait(struct stream *s, int other_fd, int timeout_ms, int *client, int *other)
{
	int64_t deadline = timeout_ms < 0 ? 0 : io_now_ms() + timeout_ms;
	enum err e = stream_flush(s);

	*client = *other = 0;
	e = e ? e : decode(s);
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
