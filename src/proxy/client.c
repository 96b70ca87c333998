/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "proxy/client.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/metrics.h"
#include "lmtp/lmtp_lhlo.h"
#include "proxy/proxy_header.h"
#include "proxy/screen.h"

enum {
	LINGER_MS = 2000,
	REFUSE_MS = 5000, /* for the TLS handshake of one who only hears a goodbye */
	READ_CHUNK = 4096,
	STEPS_PER_TURN = 64,
};

static void client_talk(struct client *c);

void
client_arm(struct event *timer, int64_t ms)
{
	struct timeval tv = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};

	event_add(timer, &tv);
}

void
client_close(struct client *c, const char *reason)
{
	struct proxy *px = c->px;

	log_event(LOGL_DEBUG, "proxy.disconnect", "session", c->id, "reason", reason, NULL);
	if (c->phase != CLIENT_HANDOVER)
		trace_note(c, reason);
	trace_end(c);
	if (c->auth.id != 0)
		client_auth_abort(&c->prelogin);
	link_forget(proxy_target_link(px, c->listener->proto), &c->handover);
	event_del(&c->deadline);
	event_del(&c->wait);
	conn_fini(&c->conn);
	io_close(&c->session_fd);
	prelogin_fini(&c->prelogin);
	buf_free(&c->header);
	returned_free(&c->returned);
	if (c->counted)
		proxy_leave(px, &c->peer);
	limits_login_leave(px->limits, &c->login);
	if (c->refused)
		px->refused_count--;
	if (c->prev)
		c->prev->next = c->next;
	else
		px->clients = c->next;
	if (c->next)
		c->next->prev = c->prev;
	px->client_count--;
	free(c);
	proxy_maybe_done(px);
}

/* ---- what the machine asks for ---- */

static void
on_start_tls(struct prelogin *p)
{
	struct client *c = p->host_arg;

	c->tls_wanted = 1;
}

static void
on_handover(struct prelogin *p)
{
	struct client *c = p->host_arg;

	screen_passed(c);
	c->handover_wanted = 1;
}

static const struct prelogin_host host = {
	.start_tls = on_start_tls,
	.auth_start = client_auth_start,
	.auth_continue = client_auth_continue,
	.auth_abort = client_auth_abort,
	.handover = on_handover,
	.heard = trace_heard,
	.said = trace_said,
};

/* ---- phases ---- */

/* A close with unread bytes would take our last words back (RST), so they are read off. */
static void
linger(struct client *c)
{
	char scratch[READ_CHUNK];
	size_t n;
	enum conn_result r = CONN_OK;

	if (c->phase != CLIENT_LINGER) {
		c->phase = CLIENT_LINGER;
		conn_shutdown_write(&c->conn);
		client_arm(&c->deadline, LINGER_MS);
	}
	/* What comes is not of interest, not even as TLS. */
	for (int i = 0; i < STEPS_PER_TURN && r == CONN_OK; i++) {
		ssize_t got = recv(c->conn.fd, scratch, sizeof scratch, 0);
		n = got > 0 ? (size_t)got : 0;
		r = n > 0 ? CONN_OK : got < 0 && errno == EAGAIN ? CONN_AGAIN : CONN_EOF;
	}
	if (r == CONN_EOF)
		client_close(c, "over");
	else
		conn_want(&c->conn, 1, 0);
}

int
client_flush(struct client *c, int *gone)
{
	struct buf *out = &c->prelogin.out;

	prelogin_trace_said(&c->prelogin);
	while (out->len > 0) {
		size_t n;
		enum conn_result r = conn_write(&c->conn, out->p, out->len, &n);
		if (r == CONN_AGAIN)
			return 0;
		if (r != CONN_OK) {
			*gone = 1;
			client_close(c, conn_error(&c->conn));
			return 0;
		}
		prelogin_sent(&c->prelogin, n);
	}
	/* An idle connection keeps no buffers. */
	buf_free(out);
	return 1;
}

/* One read. 1: there is new input; 0: not now, or gone. */
static int
fill(struct client *c, int *gone)
{
	struct buf *in = &c->prelogin.in;
	size_t room = prelogin_input_room(&c->prelogin), n;

	if (room == 0)
		return 0;
	if (room > READ_CHUNK)
		room = READ_CHUNK;
	if (buf_reserve(in, room))
		return 0;
	if (c->returned && c->returned->input.len > 0) {
		struct buf *held = &c->returned->input;

		n = held->len < room ? held->len : room;
		buf_add(in, held->p, n);
		buf_consume(held, n);
		return 1;
	}
	enum conn_result r = conn_read(&c->conn, in->p + in->len, room, &n);
	if (r == CONN_OK) {
		in->len += n;
		return 1;
	}
	if (in->len == 0)
		buf_free(in);
	if (r != CONN_AGAIN) {
		*gone = 1;
		client_close(c, r == CONN_EOF ? "closed by client" : conn_error(&c->conn));
	}
	return 0;
}

static void
client_handshake(struct client *c)
{
	struct prelogin *p = &c->prelogin;

	switch (conn_handshake(&c->conn)) {
	case CONN_OK:
		break;
	case CONN_AGAIN:
		conn_want_blocked(&c->conn);
		return;
	default: {
		char ip[NET_ADDR_TEXT];
		net_addr_format_ip(&c->peer, ip);
		metrics_add_labels(METRIC_TLS_FAILURES, 1, c->listener->name, NULL);
		log_event(LOGL_INFO, "proxy.tls failed", "session", c->id, "service",
			c->listener->name, "ip", ip, "reason", conn_error(&c->conn), NULL);
		trace_note(c, conn_error(&c->conn));
		client_close(c, "TLS handshake failed");
		return;
	}
	}
	trace_note(c, SSL_get_version(c->conn.ssl));
	trace_afresh(c);
	client_cert_read(c->conn.ssl, proxy_conf(c->px)->tls_client_cert_user, &c->cert);
	p->has_certificate = c->cert.user[0] != '\0';
	c->phase = CLIENT_DIALOGUE;
	if (c->listener->implicit_tls) {
		p->tls = 1;
		if (c->refused)
			prelogin_refuse(p, c->refusal);
		else
			prelogin_greet(p);
	} else {
		prelogin_tls_started(p);
	}
	client_talk(c);
}

static void
begin_tls(struct client *c)
{
	c->tls_wanted = 0;
	if (!conn_start_tls(&c->conn, tls_context(c->px->tls, c->listener->tls))) {
		client_close(c, "no TLS");
		return;
	}
	c->phase = CLIENT_HANDSHAKE;
	client_handshake(c);
}

static void
client_talk(struct client *c)
{
	struct prelogin *p = &c->prelogin;
	int gone = 0, more = 1;

	for (int i = 0; i < STEPS_PER_TURN && more; i++) {
		prelogin_input(p);
		if (p->state == PRELOGIN_AUTH && c->auth_error) {
			c->auth_error = OK;
			prelogin_auth_failed(p, E_TEMPFAIL);
		}
		if (!client_flush(c, &gone)) {
			if (!gone)
				conn_want(&c->conn, 0, 1);
			return;
		}
		if (p->state == PRELOGIN_CLOSED) {
			linger(c);
			return;
		}
		if (c->tls_wanted) {
			begin_tls(c);
			return;
		}
		if (c->handover_wanted) {
			client_handover(c);
			return;
		}
		more = fill(c, &gone);
		if (gone)
			return;
	}
	conn_want(&c->conn, prelogin_input_room(p) > 0, 0);
	if (more)
		event_active(&c->conn.readable, EV_READ, 0);
}

void
client_begin_dialogue(struct client *c)
{
	c->phase = CLIENT_DIALOGUE;
	client_talk(c);
}

/* After the PROXY header, if there was one: the peer is known. */
static void
client_begin(struct client *c)
{
	const struct config *conf = proxy_conf(c->px);
	struct prelogin *p = &c->prelogin;
	char ip[NET_ADDR_TEXT];

	net_addr_format_ip(&c->peer, ip);
	log_event(LOGL_DEBUG, "proxy.connect", "session", c->id, "service", c->listener->name, "ip",
		ip, NULL);
	p->may_xclient = lmtp_xclient_allowed(conf, &c->peer);
	metrics_add_labels(METRIC_CONNECTIONS_OPENED, 1, c->listener->name, NULL);
	c->phase = CLIENT_DIALOGUE;
	trace_look(c);
	p->loopback = net_addr_is_loopback(&c->peer);
	memcpy(p->ip, ip, sizeof p->ip);
	p->xclient = p->proto == &prelogin_smtp &&
		     net_in_networks(conf->smtpd_authorized_xclient_hosts.items,
			     conf->smtpd_authorized_xclient_hosts.count, &c->peer);
	p->xforward = p->proto == &prelogin_reinject &&
		      net_in_networks(conf->smtpd_authorized_xforward_hosts.items,
			      conf->smtpd_authorized_xforward_hosts.count, &c->peer);
	switch (limits_enter(c->px->limits, &c->peer, (uint64_t)conf->max_connections,
		(uint64_t)conf->max_connections_per_ip)) {
	case LIMITS_OK:
		c->counted = 1;
		break;
	case LIMITS_ALL:
		c->refused = 1;
		c->refusal = REPLY_BUSY;
		break;
	case LIMITS_HOST:
		c->refused = 1;
		c->refusal = REPLY_BUSY_HOST;
		break;
	}
	metrics_set(METRIC_CONNECTIONS, limits_total(c->px->limits));
	if (c->refused) {
		c->px->refused++;
		metrics_add_labels(METRIC_CONNECTIONS_REFUSED, 1,
			c->refusal == REPLY_BUSY ? "max_connections" : "max_connections_per_ip",
			NULL);
		log_event(LOGL_WARN, "proxy.connect refused", "session", c->id, "service",
			c->listener->name, "ip", ip, "limit",
			c->refusal == REPLY_BUSY ? "max_connections" : "max_connections_per_ip",
			NULL);
		/* Even a goodbye costs a slot for a while. */
		if (c->px->refused_count++ >= PROXY_REFUSED_MAX) {
			client_close(c, "refused");
			return;
		}
		client_arm(&c->deadline, REFUSE_MS);
	}
	if (c->listener->implicit_tls) {
		begin_tls(c);
		return;
	}
	if (!c->refused && screen_begin(c))
		return;
	if (c->refused)
		prelogin_refuse(p, c->refusal);
	else
		prelogin_greet(p);
	client_begin_dialogue(c);
}

static void
bad_header(struct client *c)
{
	char ip[NET_ADDR_TEXT];

	net_addr_format_ip(&c->peer, ip);
	log_event(LOGL_WARN, "proxy.header bad", "session", c->id, "ip", ip, NULL);
	client_close(c, "bad PROXY header");
}

/*
 * What follows the header may be for TLS, which reads from the socket itself; so nothing beyond
 * the header may be taken off the socket.
 */
static void
client_header(struct client *c)
{
	char peek[PROXY_HEADER_V2_MAX];
	struct proxy_header h;

	for (;;) {
		size_t have = c->header.len, used, take;
		ssize_t n = recv(c->conn.fd, peek, sizeof peek - have, MSG_PEEK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			conn_want(&c->conn, 1, 0);
			return;
		}
		if (n <= 0) {
			client_close(c, "closed before the PROXY header");
			return;
		}
		buf_add(&c->header, peek, (size_t)n);
		enum proxy_header_result r = proxy_header_parse(buf_str(&c->header), &h, &used);
		if (r == PROXY_HEADER_BAD ||
			(r == PROXY_HEADER_MORE && c->header.len == sizeof peek)) {
			bad_header(c);
			return;
		}
		take = r == PROXY_HEADER_DONE ? used - have : (size_t)n;
		if (recv(c->conn.fd, peek, take, 0) != (ssize_t)take) {
			client_close(c, "PROXY header vanished");
			return;
		}
		if (r == PROXY_HEADER_DONE)
			break;
	}
	buf_free(&c->header);
	if (h.known) {
		c->peer = h.peer;
		c->local = h.local;
	}
	client_begin(c);
}

void
client_run(struct client *c)
{
	switch (c->phase) {
	case CLIENT_HEADER:
		client_header(c);
		break;
	case CLIENT_SCREEN:
		screen_ready(c);
		break;
	case CLIENT_HANDSHAKE:
		client_handshake(c);
		break;
	case CLIENT_DIALOGUE:
		client_talk(c);
		break;
	case CLIENT_HANDOVER:
		break;
	case CLIENT_LINGER:
		linger(c);
		break;
	}
}

/* ---- time ---- */

static void
on_ready(void *arg)
{
	client_run(arg);
}

static void
on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct client *c = arg;
	(void)fd;
	(void)what;

	if (c->phase != CLIENT_DIALOGUE || c->prelogin.state == PRELOGIN_CLOSED ||
		c->prelogin.state == PRELOGIN_TLS || c->prelogin.state == PRELOGIN_HANDOVER) {
		client_close(c, "too slow");
		return;
	}
	prelogin_refuse(&c->prelogin, REPLY_TIMEOUT);
	client_arm(&c->deadline, LINGER_MS);
	client_talk(c);
}

static void
on_wait(evutil_socket_t fd, short what, void *arg)
{
	struct client *c = arg;
	(void)fd;
	(void)what;

	if (c->phase == CLIENT_HANDOVER)
		client_handover_timeout(c);
	else if (c->phase == CLIENT_SCREEN)
		screen_over(c);
	else if (c->prelogin.state == PRELOGIN_AUTH)
		client_auth_timeout(c);
}

/* ---- from and to proxy.c ---- */

struct client *
client_create(struct proxy *px, const struct proxy_listener *listener, int fd,
	const struct net_addr *peer)
{
	struct client *c = MEM_NEW(struct client);
	const struct config *conf = proxy_conf(px);
	int on = 1;

	c->px = px;
	c->listener = listener;
	c->session_fd = -1;
	c->peer = *peer;
	c->header = BUF_INIT(PROXY_HEADER_V2_MAX);
	c->local.len = sizeof c->local.sa;
	if (getsockname(fd, (struct sockaddr *)&c->local.sa, &c->local.len) != 0)
		c->local.len = 0;
	io_random_hex(c->id, (PROXY_ID_SIZE - 1) / 2);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	conn_init(&c->conn, px->base, fd, on_ready, c);
	evtimer_assign(&c->deadline, px->base, on_deadline, c);
	evtimer_assign(&c->wait, px->base, on_wait, c);
	prelogin_init(&c->prelogin, listener->proto, &host, c, conf);
	c->prelogin.session_id = c->id;
	c->prelogin.tls_available = !listener->implicit_tls && px->tls;
	c->next = px->clients;
	if (c->next)
		c->next->prev = c;
	px->clients = c;
	px->client_count++;
	client_arm(&c->deadline, conf->login_timeout);
	c->prelogin.mechanisms = (const char *const *)px->mechanisms;
	return c;
}

void
client_start(struct proxy *px, const struct proxy_listener *listener, int fd,
	const struct net_addr *peer)
{
	struct client *c = client_create(px, listener, fd, peer);

	px->accepted++;
	if (proxy_is_trusted(px, peer)) {
		c->phase = CLIENT_HEADER;
		client_header(c);
	} else {
		client_begin(c);
	}
}

void
client_shutdown_all(struct proxy *px)
{
	struct client *next;

	for (struct client *c = px->clients; c; c = next) {
		next = c->next;
		if (c->phase == CLIENT_HANDOVER || c->phase == CLIENT_LINGER ||
			c->prelogin.state == PRELOGIN_HANDOVER)
			continue;
		if (c->phase != CLIENT_DIALOGUE || c->prelogin.state == PRELOGIN_TLS) {
			client_close(c, "shutdown");
			continue;
		}
		prelogin_refuse(&c->prelogin, REPLY_SHUTDOWN);
		client_arm(&c->deadline, LINGER_MS);
		client_talk(c);
	}
}

void
client_refresh_all(struct proxy *px)
{
	for (struct client *c = px->clients; c; c = c->next) {
		c->prelogin.conf = proxy_conf(px);
		c->prelogin.mechanisms = (const char *const *)px->mechanisms;
		if (!px->tls)
			c->prelogin.tls_available = 0;
	}
}

void
client_close_all(struct proxy *px)
{
	struct client *next;

	for (struct client *c = px->clients; c; c = next) {
		next = c->next;
		client_close(c, "proxy ends");
	}
}
