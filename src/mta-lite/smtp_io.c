/* SPDX-License-Identifier: MIT */
#include "mta-lite/smtp_io.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/smtp_reply.h"

enum { SMTP_IO_OUT = 64 * 1024, SMTP_IO_IN = 16 * 1024 };

struct smtp_io {
	int fd;
	SSL *ssl;
	int timeout_ms;
	int64_t deadline_ms;
	enum err err;
	struct buf out;
	char in[SMTP_IO_IN];
	size_t in_pos, in_len;
	struct buf line;
	char tls_text[96];
};

struct smtp_io *
smtp_io_create(int fd)
{
	struct smtp_io *io = MEM_NEW(struct smtp_io);
	int on = 1;

	io->fd = fd;
	io->timeout_ms = 300 * 1000;
	/* Output is collected here already; waiting for more only costs time. Fails on UNIX
	 * sockets. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)io_set_nonblocking(fd, 1);
	return io;
}

void
smtp_io_free(struct smtp_io **io)
{
	if (*io == NULL)
		return;
	SSL_free((*io)->ssl);
	io_close(&(*io)->fd);
	buf_free(&(*io)->out);
	buf_free(&(*io)->line);
	MEM_FREE(*io);
}

void
smtp_io_set_timeout(struct smtp_io *io, int timeout_ms)
{
	io->timeout_ms = timeout_ms;
}

void
smtp_io_set_deadline(struct smtp_io *io, int64_t deadline_ms)
{
	io->deadline_ms = deadline_ms;
}

const char *
smtp_io_tls_text(const struct smtp_io *io)
{
	return io->tls_text;
}

static enum err
wait_for(struct smtp_io *io, int writable)
{
	int timeout = io->timeout_ms;

	if (io->deadline_ms) {
		int64_t left = io->deadline_ms - io_now_ms();

		if (left <= 0)
			return E_TIMEOUT;
		if (left < timeout)
			timeout = (int)left;
	}
	return writable ? io_wait_writable(io->fd, timeout) : io_wait_readable(io->fd, timeout);
}

/* What to do about a TLS call that gave ret <= 0: OK means to call again. */
static enum err
tls_wait(struct smtp_io *io, int ret)
{
	switch (SSL_get_error(io->ssl, ret)) {
	case SSL_ERROR_WANT_READ:
		return wait_for(io, 0);
	case SSL_ERROR_WANT_WRITE:
		return wait_for(io, 1);
	case SSL_ERROR_ZERO_RETURN:
		return E_CLOSED;
	case SSL_ERROR_SYSCALL:
		return errno == 0 || errno == ECONNRESET || errno == EPIPE ? E_CLOSED : E_IO;
	default:
		return E_PROTO;
	}
}

static enum err
socket_wait(struct smtp_io *io, int writable)
{
	if (errno == EINTR)
		return OK;
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return wait_for(io, writable);
	return errno == ECONNRESET || errno == EPIPE ? E_CLOSED : E_IO;
}

static enum err
write_some(struct smtp_io *io, const char *p, size_t len, size_t *done)
{
	for (;;) {
		enum err e;

		errno = 0;
		if (io->ssl) {
			int ret;

			ERR_clear_error();
			ret = SSL_write_ex(io->ssl, p, len, done);
			if (ret > 0)
				return OK;
			e = tls_wait(io, ret);
		} else {
			ssize_t n = send(io->fd, p, len, MSG_NOSIGNAL);

			if (n >= 0) {
				*done = (size_t)n;
				return OK;
			}
			e = socket_wait(io, 1);
		}
		if (e)
			return e;
	}
}

static enum err
read_some(struct smtp_io *io, char *p, size_t len, size_t *done)
{
	for (;;) {
		enum err e;

		errno = 0;
		if (io->ssl) {
			int ret;

			ERR_clear_error();
			ret = SSL_read_ex(io->ssl, p, len, done);
			if (ret > 0)
				return OK;
			e = tls_wait(io, ret);
		} else {
			ssize_t n = recv(io->fd, p, len, 0);

			if (n == 0)
				return E_CLOSED;
			if (n > 0) {
				*done = (size_t)n;
				return OK;
			}
			e = socket_wait(io, 0);
		}
		if (e)
			return e;
	}
}

enum err
smtp_io_flush(struct smtp_io *io)
{
	size_t off = 0, n;

	while (io->err == OK && off < io->out.len) {
		io->err = write_some(io, io->out.p + off, io->out.len - off, &n);
		if (io->err == OK)
			off += n;
	}
	buf_reset(&io->out);
	return io->err;
}

enum err
smtp_io_write(struct smtp_io *io, struct str bytes)
{
	if (io->err)
		return io->err;
	buf_add_str(&io->out, bytes);
	return io->out.len >= SMTP_IO_OUT ? smtp_io_flush(io) : OK;
}

enum err
smtp_io_read_line(struct smtp_io *io, struct str *line)
{
	enum err e = smtp_io_flush(io);

	/* What the peer said before it closed is still of interest. */
	if (e && io->in_pos == io->in_len && e != E_CLOSED)
		return e;
	buf_reset(&io->line);
	io->line.max = SMTP_REPLY_LINE_MAX;
	for (;;) {
		const char *start = io->in + io->in_pos;
		size_t have = io->in_len - io->in_pos;
		const char *lf = have ? memchr(start, '\n', have) : NULL;
		size_t take = lf ? (size_t)(lf - start) : have;
		size_t room = SMTP_REPLY_LINE_MAX - io->line.len;

		buf_add(&io->line, start, take < room ? take : room);
		io->in_pos += lf ? take + 1 : take;
		if (lf)
			break;
		io->in_pos = io->in_len = 0;
		e = read_some(io, io->in, sizeof(io->in), &io->in_len);
		if (e) {
			io->in_len = 0;
			if (!io->err)
				io->err = e;
			return e;
		}
	}
	if (io->line.len > 0 && io->line.p[io->line.len - 1] == '\r')
		buf_truncate(&io->line, io->line.len - 1);
	*line = buf_str(&io->line);
	return OK;
}

enum err
smtp_io_read(struct smtp_io *io, char *p, size_t len, size_t *got)
{
	enum err e = smtp_io_flush(io);

	*got = io->in_len - io->in_pos;
	if (*got) {
		if (*got > len)
			*got = len;
		memcpy(p, io->in + io->in_pos, *got);
		io->in_pos += *got;
		return OK;
	}
	if (e == OK || e == E_CLOSED)
		e = read_some(io, p, len, got);
	if (e && !io->err)
		io->err = e;
	return e;
}

enum err
smtp_io_start_tls_with(struct smtp_io *io, SSL *ssl)
{
	if (io->err == OK && (io->in_pos != io->in_len || io->ssl || ssl == NULL))
		io->err = E_PROTO;
	if (io->err) {
		SSL_free(ssl);
		return io->err;
	}
	io->ssl = ssl;
	if (SSL_set_fd(io->ssl, io->fd) != 1)
		return io->err = E_PROTO;
	for (;;) {
		int ret;

		ERR_clear_error();
		errno = 0;
		ret = SSL_connect(io->ssl);
		if (ret == 1)
			break;
		io->err = tls_wait(io, ret);
		if (io->err)
			return io->err;
	}
	(void)snprintf(io->tls_text, sizeof(io->tls_text), "%s %s", SSL_get_version(io->ssl),
		SSL_get_cipher_name(io->ssl));
	return OK;
}

enum err
smtp_io_start_tls(struct smtp_io *io, SSL_CTX *ctx, const char *name)
{
	SSL *ssl = SSL_new(ctx);

	if (ssl && name && name[0])
		(void)SSL_set_tlsext_host_name(ssl, name);
	return smtp_io_start_tls_with(io, ssl);
}

long
smtp_io_verify_result(const struct smtp_io *io)
{
	return io->ssl ? SSL_get_verify_result(io->ssl) : X509_V_OK;
}

int
smtp_io_is_stale(struct smtp_io *io)
{
	struct pollfd p = {.fd = io->fd, .events = POLLIN};

	return io->err || io->in_pos != io->in_len || poll(&p, 1, 0) != 0;
}
