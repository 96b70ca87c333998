/* SPDX-License-Identifier: MIT */
#ifndef ROOST_PROXY_CONN_H
#define ROOST_PROXY_CONN_H

#include <stddef.h>

#include <event2/event.h>
#include <event2/event_struct.h>
#include <openssl/ssl.h>

/*
 * A non-blocking socket in the event loop, with or without TLS. Embedded in its owner.
 */
enum conn_result {
	CONN_OK,
	CONN_AGAIN, /* nothing can be done now; conn_want sees to it that on_ready comes */
	CONN_EOF, /* the peer has finished sending */
	CONN_ERROR,
};

struct conn {
	struct event_base *base;
	int fd;
	SSL *ssl;
	void (*on_ready)(void *arg);
	void *arg;
	struct event readable, writable;
	unsigned added; /* EV_READ, EV_WRITE: events in the loop */
	unsigned blocked; /* what TLS waits for, whatever the caller wants */
};

/* Owns fd. */
void conn_init(
	struct conn *c, struct event_base *base, int fd, void (*on_ready)(void *arg), void *arg);
/* Moves it with its socket and TLS; from is empty then. */
void conn_move(struct conn *to, struct conn *from, void (*on_ready)(void *arg), void *arg);
/* Closes, with a TLS goodbye if that is possible at once. */
void conn_fini(struct conn *c);
/* Starts TLS as the server. 0: out of memory. */
int conn_start_tls(struct conn *c, SSL_CTX *ctx);
enum conn_result conn_handshake(struct conn *c);
/* At most max bytes; CONN_OK: *n > 0. */
enum conn_result conn_read(struct conn *c, void *p, size_t max, size_t *n);
/* A part may be written. After CONN_AGAIN the same bytes must come first again. */
enum conn_result conn_write(struct conn *c, const void *p, size_t len, size_t *n);
/*
 * Channel bindings of the connection: tls-exporter (RFC 9266 section 2) and tls-unique (RFC 5929
 * section 3; not in TLS 1.3), CONN_BINDING_MAX bytes at most each. 0: there is none.
 */
enum { CONN_BINDING_MAX = 64 };
size_t conn_tls_exporter(const struct conn *c, unsigned char *out);
size_t conn_tls_unique(const struct conn *c, unsigned char *out);
/* Tells the peer that nothing more comes. */
void conn_shutdown_write(struct conn *c);
/* When on_ready shall be called: to read, to write; 0, 0 for never. */
void conn_want(struct conn *c, int read, int write);
/* on_ready as soon as what TLS waits for is there, and for nothing else: in a handshake. */
void conn_want_blocked(struct conn *c);
/* "reset by peer", "tls alert ...": of the last CONN_ERROR, for the log. Borrowed. */
const char *conn_error(const struct conn *c);

#endif
