/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "proxy/relay.h"

#include <stdlib.h>
#include <string.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "proxy/proxy.h"

enum {
	CHUNK = 16384, /* a TLS record at most */
	CHUNKS_PER_TURN = 16, /* then the others have their turn */
};

/* Bytes read on one side and not yet taken by the other. Memory only while there are any. */
struct pending {
	char *p;
	size_t off, len;
};

struct relay {
	struct relay *prev, *next;
	struct proxy *px;
	struct conn client, session;
	struct pending to_client, to_session;
	int client_eof, session_eof, counted;
	int64_t progress_ms; /* when the client last took something */
	struct event stall;
	struct net_addr peer;
	struct limits_login login;
	char id[PROXY_ID_SIZE];
};

static void
relay_free(struct relay *r, const char *reason)
{
	struct proxy *px = r->px;

	log_event(LOGL_DEBUG, "proxy.relay end", "session", r->id, "reason", reason, NULL);
	event_del(&r->stall);
	conn_fini(&r->client);
	conn_fini(&r->session);
	free(r->to_client.p);
	free(r->to_session.p);
	if (r->counted)
		proxy_leave(px, &r->peer);
	limits_login_leave(px->limits, &r->login);
	if (r->prev)
		r->prev->next = r->next;
	else
		px->relays = r->next;
	if (r->next)
		r->next->prev = r->prev;
	px->relay_count--;
	free(r);
	proxy_maybe_done(px);
}

/* Writes what is pending. CONN_OK: nothing is left. */
static enum conn_result
drain_pending(struct pending *q, struct conn *to)
{
	while (q->off < q->len) {
		size_t n;
		enum conn_result result = conn_write(to, q->p + q->off, q->len - q->off, &n);
		if (result != CONN_OK)
			return result;
		q->off += n;
	}
	MEM_FREE(q->p);
	q->off = q->len = 0;
	return CONN_OK;
}

static void
keep(struct pending *q, const char *p, size_t len)
{
	q->p = mem_alloc(len);
	memcpy(q->p, p, len);
	q->off = 0;
	q->len = len;
}

/*
 * One direction as far as it goes. CONN_OK: turn used up, there may be more; CONN_AGAIN: waits for
 * either socket; CONN_EOF: from has ended and all of it was passed on; CONN_ERROR.
 */
static enum conn_result
carry(struct conn *from, struct conn *to, struct pending *q, int *eof, int *moved)
{
	char chunk[CHUNK];

	for (int i = 0; i < CHUNKS_PER_TURN; i++) {
		size_t n, sent;
		enum conn_result result = drain_pending(q, to);
		if (result != CONN_OK)
			return result;
		if (*eof)
			return CONN_EOF;
		result = conn_read(from, chunk, sizeof chunk, &n);
		if (result == CONN_EOF) {
			*eof = 1;
			conn_shutdown_write(to);
			return CONN_EOF;
		}
		if (result != CONN_OK)
			return result;
		*moved = 1;
		result = conn_write(to, chunk, n, &sent);
		if (result == CONN_AGAIN)
			sent = 0;
		else if (result != CONN_OK)
			return result;
		if (sent < n)
			keep(q, chunk + sent, n - sent);
	}
	return CONN_OK;
}

static void
watch_stall(struct relay *r)
{
	int64_t ms = proxy_conf(r->px)->client_write_timeout;
	struct timeval tv = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};

	if (r->to_client.len == 0)
		event_del(&r->stall);
	else if (!event_pending(&r->stall, EV_TIMEOUT, NULL))
		event_add(&r->stall, &tv);
}

static void
on_stall(evutil_socket_t fd, short what, void *arg)
{
	struct relay *r = arg;
	(void)fd;
	(void)what;

	if (io_now_ms() - r->progress_ms < proxy_conf(r->px)->client_write_timeout) {
		watch_stall(r);
		return;
	}
	log_event(LOGL_INFO, "proxy.relay stalled", "session", r->id, NULL);
	relay_free(r, "client does not read");
}

static void
on_ready(void *arg)
{
	struct relay *r = arg;
	size_t before = r->to_client.len - r->to_client.off;
	int moved = 0;
	enum conn_result up, down;

	up = carry(&r->client, &r->session, &r->to_session, &r->client_eof, &moved);
	moved = 0;
	down = carry(&r->session, &r->client, &r->to_client, &r->session_eof, &moved);
	/* The session's last words count even when it closed without reading all of ours. */
	if (down == CONN_EOF) {
		relay_free(r, "session ended");
		return;
	}
	if (down == CONN_ERROR) {
		relay_free(r, conn_error(&r->client));
		return;
	}
	if (up == CONN_ERROR) {
		relay_free(r, conn_error(&r->client));
		return;
	}
	if (moved || r->to_client.len - r->to_client.off < before)
		r->progress_ms = io_now_ms();
	watch_stall(r);
	conn_want(&r->client, !r->client_eof && r->to_session.len == 0, r->to_client.len > 0);
	conn_want(&r->session, !r->session_eof && r->to_client.len == 0, r->to_session.len > 0);
	/* TLS may hold bytes that the socket will not announce. */
	if (up == CONN_OK && r->to_session.len == 0 && r->client.ssl &&
		SSL_pending(r->client.ssl) > 0)
		event_active(&r->client.readable, EV_READ, 0);
}

void
relay_start(struct proxy *px, struct conn *client, int session_fd, const struct relay_client *who)
{
	struct relay *r = MEM_NEW(struct relay);

	r->px = px;
	r->peer = who->peer;
	r->counted = who->counted;
	r->login = who->login;
	r->progress_ms = io_now_ms();
	snprintf(r->id, sizeof r->id, "%s", who->id);
	conn_move(&r->client, client, on_ready, r);
	conn_init(&r->session, px->base, session_fd, on_ready, r);
	evtimer_assign(&r->stall, px->base, on_stall, r);
	r->next = px->relays;
	if (r->next)
		r->next->prev = r;
	px->relays = r;
	px->relay_count++;
	on_ready(r);
}

void
relay_close_all(struct proxy *px)
{
	struct relay *next;

	for (struct relay *r = px->relays; r; r = next) {
		next = r->next;
		relay_free(r, "proxy ends");
	}
}
