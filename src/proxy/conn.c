/* SPDX-License-Identifier: MIT */
#include "proxy/conn.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/err.h>

#include "lib/io.h"
#include "lib/log.h"

static void
on_event(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;
	(void)fd;
	(void)what;

	c->on_ready(c->arg);
}

void
conn_init(struct conn *c, struct event_base *base, int fd, void (*on_ready)(void *arg), void *arg)
{
	memset(c, 0, sizeof *c);
	c->base = base;
	c->fd = fd;
	c->on_ready = on_ready;
	c->arg = arg;
	event_assign(&c->readable, base, fd, EV_READ | EV_PERSIST, on_event, c);
	event_assign(&c->writable, base, fd, EV_WRITE | EV_PERSIST, on_event, c);
}

static void
set_events(struct conn *c, unsigned want)
{
	unsigned change = want ^ c->added;

	if (change & EV_READ)
		want &EV_READ ? event_add(&c->readable, NULL) : event_del(&c->readable);
	if (change & EV_WRITE)
		want &EV_WRITE ? event_add(&c->writable, NULL) : event_del(&c->writable);
	c->added = want;
}

void
conn_move(struct conn *to, struct conn *from, void (*on_ready)(void *arg), void *arg)
{
	set_events(from, 0);
	conn_init(to, from->base, from->fd, on_ready, arg);
	to->ssl = from->ssl;
	from->ssl = NULL;
	from->fd = -1;
}

void
conn_fini(struct conn *c)
{
	if (c->fd < 0)
		return;
	set_events(c, 0);
	if (c->ssl) {
		conn_shutdown_write(c);
		SSL_free(c->ssl);
		c->ssl = NULL;
	}
	io_close(&c->fd);
}

int
conn_start_tls(struct conn *c, SSL_CTX *ctx)
{
	c->ssl = SSL_new(ctx);
	if (!c->ssl || SSL_set_fd(c->ssl, c->fd) != 1)
		return 0;
	SSL_set_accept_state(c->ssl);
	return 1;
}

/* What an SSL_* call with this return value means. */
static enum conn_result
tls_result(struct conn *c, int rc)
{
	switch (SSL_get_error(c->ssl, rc)) {
	case SSL_ERROR_NONE:
		return CONN_OK;
	case SSL_ERROR_WANT_READ:
		c->blocked |= EV_READ;
		return CONN_AGAIN;
	case SSL_ERROR_WANT_WRITE:
		c->blocked |= EV_WRITE;
		return CONN_AGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return CONN_EOF;
	default:
		/* No SSL_* call may follow on this connection, SSL_shutdown least of all. */
		SSL_set_quiet_shutdown(c->ssl, 1);
		return CONN_ERROR;
	}
}

enum conn_result
conn_handshake(struct conn *c)
{
	ERR_clear_error();
	errno = 0;
	c->blocked = 0;
	return tls_result(c, SSL_do_handshake(c->ssl));
}

enum conn_result
conn_read(struct conn *c, void *p, size_t max, size_t *n)
{
	*n = 0;
	if (max > INT_MAX)
		max = INT_MAX;
	if (c->ssl) {
		ERR_clear_error();
		errno = 0;
		int rc = SSL_read(c->ssl, p, (int)max);
		if (rc > 0)
			*n = (size_t)rc;
		enum conn_result r = tls_result(c, rc);
		/* Waiting to read is the caller's own wish. */
		if (r == CONN_AGAIN)
			c->blocked &= ~(unsigned)EV_READ;
		return r;
	}
	ssize_t got;
	do
		got = recv(c->fd, p, max, 0);
	while (got < 0 && errno == EINTR);
	if (got > 0) {
		*n = (size_t)got;
		return CONN_OK;
	}
	if (got == 0)
		return CONN_EOF;
	return errno == EAGAIN || errno == EWOULDBLOCK ? CONN_AGAIN : CONN_ERROR;
}

enum conn_result
conn_write(struct conn *c, const void *p, size_t len, size_t *n)
{
	*n = 0;
	if (len > INT_MAX)
		len = INT_MAX;
	if (c->ssl) {
		ERR_clear_error();
		errno = 0;
		int rc = SSL_write(c->ssl, p, (int)len);
		if (rc > 0)
			*n = (size_t)rc;
		return tls_result(c, rc);
	}
	ssize_t sent;
	do
		sent = send(c->fd, p, len, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	if (sent >= 0) {
		*n = (size_t)sent;
		return CONN_OK;
	}
	return errno == EAGAIN || errno == EWOULDBLOCK ? CONN_AGAIN : CONN_ERROR;
}

/*
 * Both are unique to a connection only where the handshake is bound to its keys: TLS 1.3, or the
 * extended master secret (RFC 7627 section 5.4, RFC 9266 section 3).
 */
static int
is_bound(const struct conn *c)
{
	return c->ssl &&
	       (SSL_version(c->ssl) >= TLS1_3_VERSION || SSL_get_extms_support(c->ssl) == 1);
}

size_t
conn_tls_exporter(const struct conn *c, unsigned char *out)
{
	static const char label[] = "EXPORTER-Channel-Binding";
	enum { EXPORTER_BYTES = 32 };

	if (!is_bound(c) || SSL_export_keying_material(c->ssl, out, EXPORTER_BYTES, label,
				    sizeof(label) - 1, NULL, 0, 1) != 1)
		return 0;
	return EXPORTER_BYTES;
}

/* The first Finished message: the client's, in a resumed session the server's. */
size_t
conn_tls_unique(const struct conn *c, unsigned char *out)
{
	if (!is_bound(c) || SSL_version(c->ssl) >= TLS1_3_VERSION)
		return 0;
	return SSL_session_reused(c->ssl) ? SSL_get_finished(c->ssl, out, CONN_BINDING_MAX)
					  : SSL_get_peer_finished(c->ssl, out, CONN_BINDING_MAX);
}

void
conn_shutdown_write(struct conn *c)
{
	if (c->ssl) {
		ERR_clear_error();
		if (SSL_is_init_finished(c->ssl) && !SSL_get_quiet_shutdown(c->ssl))
			SSL_shutdown(c->ssl);
		ERR_clear_error();
	}
	shutdown(c->fd, SHUT_WR);
}

void
conn_want(struct conn *c, int read, int write)
{
	unsigned want = (read ? EV_READ : 0u) | (write ? EV_WRITE : 0u);

	if (read || write)
		want |= c->blocked;
	c->blocked = 0;
	set_events(c, want);
}

void
conn_want_blocked(struct conn *c)
{
	set_events(c, c->blocked);
	c->blocked = 0;
}

const char *
conn_error(const struct conn *c)
{
	unsigned long code = c->ssl ? ERR_peek_last_error() : 0;
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	if (reason)
		return reason;
	return errno ? log_errno(errno) : "closed by peer";
}
