/* SPDX-License-Identifier: MIT */
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/hex.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/net.h"
#include "mta-lite/map_private.h"

/* tcp:HOST:PORT (tcp_table(5)): "get KEY" is answered by "200 VALUE", "500 TEXT" or "400 TEXT". */

enum { TCP_REPLY_MAX = 4096 };

struct map_tcp {
	char *host, *port;
	int fd; /* -1: not connected */
};

static enum err
tcp_open(struct map *map, struct str argument, struct buf *why)
{
	struct map_tcp *t = MEM_NEW(struct map_tcp);
	size_t colon = argument.len;
	struct str host;

	map->data = t;
	t->fd = -1;
	while (colon > 0 && argument.p[colon - 1] != ':')
		colon--;
	if (colon < 2 || colon == argument.len) {
		buf_printf(why, "'%s' is not tcp:host:port", map->name);
		return E_PARSE;
	}
	host = str_make(argument.p, colon - 1);
	if (host.len > 2 && host.p[0] == '[' && host.p[host.len - 1] == ']')
		host = str_make(host.p + 1, host.len - 2);
	t->host = str_dup(host);
	t->port = str_dup(str_make(argument.p + colon, argument.len - colon));
	return OK;
}

static enum err
tcp_connect(struct map_tcp *t, int64_t deadline_ms)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL, *a;
	enum err e = E_TEMPFAIL;

	if (getaddrinfo(t->host, t->port, &hints, &list) != 0)
		return E_TEMPFAIL;
	for (a = list; a && e; a = a->ai_next) {
		int64_t left = deadline_ms - io_now_ms();
		struct net_addr addr = {.len = a->ai_addrlen};

		if (left <= 0)
			break;
		memcpy(&addr.sa, a->ai_addr, a->ai_addrlen);
		e = net_connect(&addr, (int)left, &t->fd);
	}
	freeaddrinfo(list);
	return e ? E_TEMPFAIL : OK;
}

/* Bytes that would break a line or a word are written %XX. */
static void
add_encoded(struct buf *out, struct str text)
{
	size_t i;

	for (i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.p[i];

		if (c <= ' ' || c >= 0x7f || c == '%')
			buf_printf(out, "%%%02X", c);
		else
			buf_add_char(out, (char)c);
	}
}

static enum err
add_decoded(struct buf *out, struct str text)
{
	size_t i;

	for (i = 0; i < text.len; i++) {
		int high, low;

		if (text.p[i] != '%') {
			buf_add_char(out, text.p[i]);
			continue;
		}
		if (text.len - i < 3)
			return E_PROTO;
		high = hex_value(text.p[i + 1]);
		low = hex_value(text.p[i + 2]);
		if (high < 0 || low < 0 || high * 16 + low == 0)
			return E_PROTO;
		buf_add_char(out, (char)(high * 16 + low));
		i += 2;
	}
	return out->err;
}

static enum err
read_line(int fd, struct buf *line, int64_t deadline_ms)
{
	for (;;) {
		int64_t left = deadline_ms - io_now_ms();
		char chunk[512];
		ssize_t n;

		if (line->len > 0 && line->p[line->len - 1] == '\n') {
			buf_truncate(line, line->len - 1);
			return OK;
		}
		if (left <= 0 || io_wait_readable(fd, (int)left) != OK)
			return E_TIMEOUT;
		n = read(fd, chunk, sizeof(chunk));
		if (n <= 0)
			return E_CLOSED;
		if (buf_add(line, chunk, (size_t)n) || memchr(line->p, '\n', line->len - 1))
			return E_PROTO;
	}
}

static enum err
take_reply(struct str reply, struct buf *value)
{
	struct str code = str_split(&reply, ' ');

	if (str_is(code, "500"))
		return E_NOTFOUND;
	if (str_is(code, "200"))
		return add_decoded(value, str_trim(reply));
	return str_is(code, "400") ? E_TEMPFAIL : E_PROTO;
}

static enum err
ask(struct map_tcp *t, struct str key, struct buf *value, int64_t deadline_ms)
{
	struct buf line = BUF_INIT(TCP_REPLY_MAX);
	enum err e;

	buf_add_cstr(&line, "get ");
	add_encoded(&line, key);
	buf_add_char(&line, '\n');
	/* The server's side of such protocols takes no longer lines. */
	if (line.err) {
		buf_free(&line);
		return E_NOTFOUND;
	}
	e = send(t->fd, line.p, line.len, MSG_NOSIGNAL) == (ssize_t)line.len ? OK : E_CLOSED;
	buf_reset(&line);
	if (e == OK)
		e = read_line(t->fd, &line, deadline_ms);
	if (e == OK)
		e = take_reply(buf_str(&line), value);
	if (e != OK && e != E_NOTFOUND && e != E_TEMPFAIL)
		io_close(&t->fd);
	buf_free(&line);
	return e;
}

static enum err
tcp_find(struct map *map, struct str key, struct buf *value)
{
	int64_t deadline_ms = io_now_ms() + MAP_TIMEOUT_MS;
	struct map_tcp *t = map->data;
	int reused = t->fd >= 0;
	enum err e = reused ? OK : tcp_connect(t, deadline_ms);

	if (e == OK)
		e = ask(t, key, value, deadline_ms);
	/* The server may have closed what was idle. */
	if (e == E_CLOSED && reused && tcp_connect(t, deadline_ms) == OK)
		e = ask(t, key, value, deadline_ms);
	if (e != OK && e != E_NOTFOUND)
		log_event(LOGL_ERROR, "map.server failed", "table", map->name, "error", err_text(e),
			NULL);
	return e;
}

static void
tcp_sandbox(const struct map *map, struct sandbox *sb)
{
	(void)map;
	sandbox_allow(sb, SANDBOX_CAN_CONNECT_TCP | SANDBOX_CAN_UDP);
}

static void
tcp_close(struct map *map)
{
	struct map_tcp *t = map->data;

	io_close(&t->fd);
	free(t->host);
	free(t->port);
	free(t);
}

const struct map_type map_type_tcp = {
	.name = "tcp",
	.pattern = 1,
	.open = tcp_open,
	.find = tcp_find,
	.sandbox = tcp_sandbox,
	.close = tcp_close,
};
