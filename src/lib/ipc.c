/* SPDX-License-Identifier: MIT */
#include "lib/ipc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/ipc_frame.h"
#include "lib/mem.h"

/* ---- fields ---- */

void
ipc_put_u8(struct buf *b, uint8_t n)
{
	buf_add(b, &n, sizeof(n));
}

void
ipc_put_u32(struct buf *b, uint32_t n)
{
	buf_add(b, &n, sizeof(n));
}

void
ipc_put_u64(struct buf *b, uint64_t n)
{
	buf_add(b, &n, sizeof(n));
}

void
ipc_put_str(struct buf *b, struct str s)
{
	ipc_put_u32(b, (uint32_t)s.len);
	buf_add_str(b, s);
}

void
ipc_put_cstr(struct buf *b, const char *s)
{
	ipc_put_str(b, str_of(s ? s : ""));
}

struct ipc_reader
ipc_reader_of(struct str body)
{
	return (struct ipc_reader){body.p, body.len, OK};
}

static int
take(struct ipc_reader *r, void *out, size_t size)
{
	if (r->err || r->len < size) {
		r->err = E_PROTO;
		memset(out, 0, size);
		return 0;
	}
	memcpy(out, r->p, size);
	r->p += size;
	r->len -= size;
	return 1;
}

uint8_t
ipc_get_u8(struct ipc_reader *r)
{
	uint8_t n;

	take(r, &n, sizeof(n));
	return n;
}

uint32_t
ipc_get_u32(struct ipc_reader *r)
{
	uint32_t n;

	take(r, &n, sizeof(n));
	return n;
}

uint64_t
ipc_get_u64(struct ipc_reader *r)
{
	uint64_t n;

	take(r, &n, sizeof(n));
	return n;
}

struct str
ipc_get_str(struct ipc_reader *r)
{
	uint32_t len = ipc_get_u32(r);
	struct str s = {"", 0};

	if (r->err || len > r->len) {
		r->err = E_PROTO;
		return s;
	}
	if (len)
		s = str_make(r->p, len);
	r->p += len;
	r->len -= len;
	return s;
}

void
ipc_get_text(struct ipc_reader *r, char *out, size_t size)
{
	struct str s = ipc_get_str(r);

	if (s.len >= size) {
		r->err = E_PROTO;
		s.len = 0;
	}
	if (s.len)
		memcpy(out, s.p, s.len);
	out[s.len] = '\0';
}

char *
ipc_get_dup(struct ipc_reader *r)
{
	return str_dup(ipc_get_str(r));
}

enum err
ipc_reader_end(const struct ipc_reader *r)
{
	return r->err || r->len ? E_PROTO : OK;
}

/* ---- messages ---- */

void
ipc_msg_free(struct ipc_msg *m)
{
	buf_free(&m->body);
	for (size_t i = 0; i < IPC_FDS_MAX; i++)
		io_close(&m->fds[i]);
}

void
ipc_header_write(
	char out[IPC_HEADER_SIZE], uint32_t len, uint16_t type, size_t nfds, uint32_t request)
{
	uint16_t flags = nfds ? (uint16_t)(IPC_FLAG_FDS | nfds << 4) : 0;

	memcpy(out, &len, 4);
	memcpy(out + 4, &type, 2);
	memcpy(out + 6, &flags, 2);
	memcpy(out + 8, &request, 4);
}

enum err
ipc_header_read(const char in[IPC_HEADER_SIZE], struct ipc_header *h)
{
	uint16_t flags;

	memcpy(&h->len, in, 4);
	memcpy(&h->type, in + 4, 2);
	memcpy(&flags, in + 6, 2);
	memcpy(&h->request, in + 8, 4);
	h->nfds = flags & IPC_FLAG_FDS ? (flags >> 4) & 15 : 0;
	if (h->len > IPC_BODY_MAX)
		return E_TOOBIG;
	return h->nfds > IPC_FDS_MAX ? E_PROTO : OK;
}

ssize_t
ipc_sendmsg(int fd, struct iovec *iov, size_t iov_count, const int *fds, size_t nfds, int flags)
{
	union {
		char space[CMSG_SPACE(sizeof(int) * IPC_FDS_MAX)];
		struct cmsghdr align;
	} control;
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = iov_count};

	if (nfds) {
		struct cmsghdr *c;

		memset(&control, 0, sizeof(control));
		msg.msg_control = control.space;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * nfds);
	}
	return sendmsg(fd, &msg, MSG_NOSIGNAL | flags);
}

ssize_t
ipc_recvmsg(int fd, void *p, size_t len, int fds[IPC_FDS_MAX], size_t *nfds, int flags)
{
	union {
		char space[CMSG_SPACE(sizeof(int) * IPC_FDS_MAX)];
		struct cmsghdr align;
	} control;
	struct iovec iov = {p, len};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space)};
	ssize_t n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC | flags);

	if (n < 0)
		return n;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		size_t count;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int got;

			memcpy(&got, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (*nfds < IPC_FDS_MAX)
				fds[(*nfds)++] = got;
			else
				close(got);
		}
	}
	return n;
}

/* ---- blocking ---- */

/* After a call that failed. OK: it can be tried again. */
static enum err
once_writable(int fd, int timeout_ms)
{
	if (errno == EAGAIN)
		return io_wait_writable(fd, timeout_ms);
	return errno == EINTR ? OK : err_from_errno(errno);
}

static enum err
once_readable(int fd, int timeout_ms)
{
	if (errno == EAGAIN)
		return io_wait_readable(fd, timeout_ms);
	return errno == EINTR ? OK : err_from_errno(errno);
}

enum err
ipc_send(int fd, uint16_t type, uint32_t request, struct str body, const int *fds, size_t nfds,
	int timeout_ms)
{
	char header[IPC_HEADER_SIZE];
	size_t sent = 0, total = sizeof(header) + body.len;

	if (body.len > IPC_BODY_MAX || nfds > IPC_FDS_MAX)
		return E_TOOBIG;
	ipc_header_write(header, (uint32_t)body.len, type, nfds, request);
	while (sent < total) {
		struct iovec iov[2];
		size_t count = 0;
		ssize_t n;

		if (sent < sizeof(header))
			iov[count++] = (struct iovec){header + sent, sizeof(header) - sent};
		if (body.len) {
			size_t skip = sent > sizeof(header) ? sent - sizeof(header) : 0;

			iov[count++] = (struct iovec){(char *)body.p + skip, body.len - skip};
		}
		n = ipc_sendmsg(fd, iov, count, fds, sent ? 0 : nfds, MSG_DONTWAIT);
		if (n >= 0) {
			sent += (size_t)n;
		} else {
			enum err e = once_writable(fd, timeout_ms);

			if (e)
				return e;
		}
	}
	return OK;
}

/* Reads exactly len bytes, collecting descriptors. */
static enum err
recv_exact(int fd, char *p, size_t len, struct ipc_msg *m, size_t *nfds, int timeout_ms)
{
	while (len) {
		ssize_t n = ipc_recvmsg(fd, p, len, m->fds, nfds, MSG_DONTWAIT);

		if (n > 0) {
			p += n;
			len -= (size_t)n;
		} else if (n == 0) {
			return E_CLOSED;
		} else {
			enum err e = once_readable(fd, timeout_ms);

			if (e)
				return e;
		}
	}
	return OK;
}

enum err
ipc_recv(int fd, struct ipc_msg *m, int timeout_ms)
{
	char raw[IPC_HEADER_SIZE];
	struct ipc_header h;
	size_t nfds = 0;
	enum err e;

	*m = (struct ipc_msg){.fds = {-1, -1, -1, -1}};
	e = recv_exact(fd, raw, sizeof(raw), m, &nfds, timeout_ms);
	if (!e)
		e = ipc_header_read(raw, &h);
	if (e)
		return e;
	m->type = h.type;
	m->request = h.request;
	buf_reserve(&m->body, h.len);
	e = recv_exact(fd, m->body.p, h.len, m, &nfds, timeout_ms);
	if (e)
		return e;
	m->body.len = h.len;
	return nfds == h.nfds ? OK : E_PROTO;
}

void
ipc_frame_put(struct buf *out, uint16_t type, uint32_t request, struct str body)
{
	char header[IPC_HEADER_SIZE];

	ipc_header_write(header, (uint32_t)body.len, type, 0, request);
	buf_add(out, header, sizeof(header));
	buf_add_str(out, body);
}

enum err
ipc_frame_take(struct buf *in, struct ipc_msg *m)
{
	struct ipc_header h;
	enum err e;

	*m = (struct ipc_msg){.fds = {-1, -1, -1, -1}};
	if (in->len < IPC_HEADER_SIZE)
		return E_NOTFOUND;
	e = ipc_header_read(in->p, &h);
	if (!e && h.nfds)
		e = E_PROTO;
	if (!e && in->len - IPC_HEADER_SIZE < h.len)
		e = E_NOTFOUND;
	if (e)
		return e;
	m->type = h.type;
	m->request = h.request;
	buf_add(&m->body, in->p + IPC_HEADER_SIZE, h.len);
	buf_consume(in, IPC_HEADER_SIZE + h.len);
	return OK;
}

enum err
ipc_frames_send(int fd, struct str frames, int timeout_ms)
{
	while (frames.len) {
		struct iovec iov = {(char *)(uintptr_t)frames.p, frames.len};
		ssize_t n = ipc_sendmsg(fd, &iov, 1, NULL, 0, MSG_DONTWAIT);

		if (n >= 0) {
			frames = str_make(frames.p + n, frames.len - (size_t)n);
		} else {
			enum err e = once_writable(fd, timeout_ms);

			if (e)
				return e;
		}
	}
	return OK;
}

enum err
ipc_frames_read(int fd, struct buf *in, int timeout_ms)
{
	enum { PIECE = 16 * 1024 };

	for (;;) {
		ssize_t n;
		enum err e = buf_reserve(in, PIECE);

		if (e)
			return e;
		/* Mostly there is nothing yet: whoever reads has just asked. */
		e = io_wait_readable(fd, timeout_ms);
		if (e)
			return e;
		n = recv(fd, in->p + in->len, PIECE, MSG_DONTWAIT);
		if (n > 0) {
			in->len += (size_t)n;
			return OK;
		}
		if (n == 0)
			return E_CLOSED;
		if (errno != EINTR && errno != EAGAIN)
			return err_from_errno(errno);
	}
}
