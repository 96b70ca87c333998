/* SPDX-License-Identifier: MIT */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

enum { LOAD_BUFFER = 4 * 1024 * 1024 };

struct load_conn {
	int fd;
	SSL *ssl;
	char *in;
	size_t at, len;
	uint64_t total;
};

void
load_die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

double
load_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static SSL_CTX *
tls_context(void)
{
	static SSL_CTX *ctx;

	if (!ctx) {
		ctx = SSL_CTX_new(TLS_client_method());
		SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY);
	}
	return ctx;
}

struct load_conn *
load_connect(const char *host, int port, int tls)
{
	struct load_conn *c = calloc(1, sizeof(*c));
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int on = 1;

	c->in = malloc(tls ? 4096 : LOAD_BUFFER);
	c->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (inet_pton(AF_INET, host, &sa.sin_addr) != 1)
		load_die("%s: not an IPv4 address", host);
	if (connect(c->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		load_die("connect to %s:%d: %s", host, port, strerror(errno));
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (tls) {
		c->ssl = SSL_new(tls_context());
		SSL_set_fd(c->ssl, c->fd);
		if (SSL_connect(c->ssl) != 1)
			load_die("TLS with %s:%d failed", host, port);
	}
	return c;
}

void
load_close(struct load_conn **c)
{
	if ((*c)->ssl)
		SSL_free((*c)->ssl);
	close((*c)->fd);
	free((*c)->in);
	free(*c);
	*c = NULL;
}

void
load_send(struct load_conn *c, const char *p, size_t len)
{
	while (len) {
		ssize_t n =
			c->ssl ? SSL_write(c->ssl, p, (int)len) : send(c->fd, p, len, MSG_NOSIGNAL);

		if (n <= 0)
			load_die("send: %s", strerror(errno));
		p += n;
		len -= (size_t)n;
	}
}

void
load_sendf(struct load_conn *c, const char *fmt, ...)
{
	char text[4096];
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	load_send(c, text, (size_t)len);
}

static void
fill(struct load_conn *c)
{
	size_t size = c->ssl ? 4096 : LOAD_BUFFER;
	ssize_t n;

	if (c->at) {
		memmove(c->in, c->in + c->at, c->len - c->at);
		c->len -= c->at;
		c->at = 0;
	}
	if (c->len == size)
		load_die("a line is longer than %zu bytes", size);
	n = c->ssl ? SSL_read(c->ssl, c->in + c->len, (int)(size - c->len))
		   : recv(c->fd, c->in + c->len, size - c->len, 0);
	if (n <= 0)
		load_die("the server closed the connection");
	c->len += (size_t)n;
	c->total += (uint64_t)n;
}

const char *
load_line(struct load_conn *c, size_t *len)
{
	for (;;) {
		char *lf = memchr(c->in + c->at, '\n', c->len - c->at);
		char *line = c->in + c->at;

		if (!lf) {
			fill(c);
			continue;
		}
		c->at = (size_t)(lf - c->in) + 1;
		if (lf > line && lf[-1] == '\r')
			lf--;
		*lf = '\0';
		if (len)
			*len = (size_t)(lf - line);
		return line;
	}
}

void
load_skip(struct load_conn *c, uint64_t len)
{
	while (len) {
		size_t have = c->len - c->at;

		if (!have) {
			fill(c);
			continue;
		}
		if (have > len)
			have = (size_t)len;
		c->at += have;
		len -= have;
	}
}

void
load_expect(struct load_conn *c, char first)
{
	const char *line;

	do {
		line = load_line(c, NULL);
	} while (strlen(line) > 3 && line[3] == '-');
	if (line[0] != first)
		load_die("expected %cxx, got: %s", first, line);
}

/* Until the tagged response: what stands behind the tag. */
static const char *
tagged(struct load_conn *c, const char *tag)
{
	size_t tag_len = strlen(tag), len;

	for (;;) {
		const char *line = load_line(c, &len);

		if (strncmp(line, tag, tag_len) == 0 && line[tag_len] == ' ')
			return line + tag_len + 1;
		if (len && line[len - 1] == '}') {
			const char *open = strrchr(line, '{');

			load_skip(c, open ? strtoull(open + 1, NULL, 10) : 0);
		}
	}
}

uint64_t
load_imap_result(struct load_conn *c, const char *tag)
{
	uint64_t before = c->total;
	const char *result = tagged(c, tag);

	if (strncmp(result, "OK", 2) != 0)
		load_die("%s", result);
	return c->total - before;
}

int
load_imap_is_ok(struct load_conn *c, const char *tag)
{
	return strncmp(tagged(c, tag), "OK", 2) == 0;
}

uint64_t
load_bytes(const struct load_conn *c)
{
	return c->total;
}
