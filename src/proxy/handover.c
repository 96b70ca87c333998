/* SPDX-License-Identifier: MIT */
/*
 * Giving a client to its session daemon (lib/session.h): a plaintext client's socket itself, for a
 * TLS client one end of a socketpair, whose other end is relayed here.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/session.h"
#include "proxy/client.h"
#include "proxy/relay.h"

/* A daemon that is being restarted answers when it is back; the client waits that long. */
enum { HANDOVER_WAIT_MS = 15 * 1000 };

static void
failed(struct client *c, const char *reason)
{
	log_event(LOGL_WARN, "proxy.handover failed", "session", c->id, "service",
		c->listener->name, "reason", reason, NULL);
	link_forget(proxy_target_link(c->px, c->listener->proto), &c->handover);
	event_del(&c->wait);
	io_close(&c->session_fd);
	c->phase = CLIENT_DIALOGUE;
	prelogin_handover_failed(&c->prelogin);
	client_run(c);
}

/* The process that was asked is being replaced: its successor is behind the same socket. */
static void
again(struct client *c)
{
	link_forget(proxy_target_link(c->px, c->listener->proto), &c->handover);
	event_del(&c->wait);
	io_close(&c->session_fd);
	client_handover(c);
}

/*
 * A client without TLS whose session has its socket: it counts in the limits until the session
 * daemon says that the session has ended, or is gone itself.
 */
struct absent {
	struct link_request request; /* first */
	struct proxy *px;
	const struct prelogin_protocol *proto;
	struct net_addr peer;
	int counted; /* 0: of one that came back from a session behind TLS: its relay counts */
	struct limits_login login;
};

static void
on_absent_answer(struct link_request *request, struct ipc_msg *m)
{
	struct absent *a = (struct absent *)request;

	if (m && m->type != SESSION_ENDED)
		return;
	link_forget(proxy_target_link(a->px, a->proto), request);
	if (a->counted)
		proxy_leave(a->px, &a->peer);
	limits_login_leave(a->px->limits, &a->login);
	a->px->absent_count--;
	free(a);
}

static void
count_until_ended(struct client *c, struct link_request *request)
{
	struct absent *a = MEM_NEW(struct absent);

	a->request.on_answer = on_absent_answer;
	a->px = c->px;
	a->proto = c->listener->proto;
	a->peer = c->peer;
	a->counted = c->counted;
	a->login = c->login;
	c->login = (struct limits_login){0};
	c->counted = 0;
	c->px->absent_count++;
	link_hand_on(proxy_target_link(c->px, a->proto), request, &a->request);
}

static void
taken(struct client *c)
{
	struct proxy *px = c->px;

	px->handed_over++;
	log_event(LOGL_DEBUG, "proxy.handover ok", "session", c->id, "service", c->listener->name,
		"cert", c->cert.fingerprint[0] ? c->cert.fingerprint : NULL, NULL);
	if (c->conn.ssl) {
		struct relay_client who = {
			.peer = c->peer, .counted = c->counted, .login = c->login, .id = c->id};
		int fd = c->session_fd;

		c->session_fd = -1;
		c->counted = 0;
		c->login = (struct limits_login){0};
		relay_start(px, &c->conn, fd, &who);
	}
	client_close(c, "handed over");
}

static void
on_answer(struct link_request *request, struct ipc_msg *m)
{
	struct client *c = (struct client *)((char *)request - offsetof(struct client, handover));
	struct ipc_reader r;

	if (!m) {
		failed(c, "session daemon gone");
		return;
	}
	r = ipc_reader_of(buf_str(&m->body));
	enum session_answer answer = ipc_get_u8(&r);
	if (m->type != SESSION_TAKEN || ipc_reader_end(&r))
		failed(c, "malformed answer");
	else if (answer == SESSION_ELSEWHERE)
		again(c);
	else if (answer != SESSION_ACCEPTED)
		failed(c, "too many sessions");
	else {
		if ((c->counted || c->returned) && !c->conn.ssl)
			count_until_ended(c, request);
		taken(c);
	}
}

static void
fill_info(struct client *c, const struct buf *input, struct session_info *info)
{
	struct prelogin *p = &c->prelogin;

	/* Borrowed for the call; session_info_put copies. */
	info->id = c->id;
	info->service = (char *)c->listener->name;
	info->peer = c->peer;
	info->local = c->local;
	info->tls = p->tls;
	info->cert_fingerprint = c->cert.fingerprint;
	info->cert_verified = c->cert.verified;
	info->user = p->login_user;
	info->token = p->token;
	info->tag = p->tag;
	info->helo = p->helo;
	info->esmtp = p->esmtp;
	info->utf8 = p->utf8;
	info->input = input->p;
	info->input_len = input->len;
	info->state = p->troubles.p;
	info->state_len = p->troubles.len;
}

void
client_handover(struct client *c)
{
	struct session_info info = {0};
	struct buf body = {0}, tls_text = {0}, back = {0}, input = {0};
	int pair[2] = {-1, -1}, fd = c->conn.fd;

	c->handover_wanted = 0;
	c->phase = CLIENT_HANDOVER;
	event_del(&c->deadline);
	conn_want(&c->conn, 0, 0);
	if (c->conn.ssl) {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
			failed(c, log_errno(errno));
			return;
		}
		c->session_fd = pair[0];
		fd = pair[1];
		buf_printf(&tls_text, "%s %s", SSL_get_version(c->conn.ssl),
			SSL_get_cipher_name(c->conn.ssl));
	}
	if (c->returned)
		buf_add_cstr(&tls_text, c->returned->tls_text);
	buf_add_buf(&input, &c->prelogin.in);
	if (c->returned)
		buf_add_buf(&input, &c->returned->input);
	fill_info(c, &input, &info);
	info.tls_text = (char *)buf_cstr(&tls_text);
	if (c->listener->proto == &prelogin_imap)
		returned_seal(c, &info, &back);
	info.back = back.p;
	info.back_len = back.len;
	session_info_put(&body, &info);
	c->handover.on_answer = on_answer;
	enum err e = link_ask(proxy_target_link(c->px, c->listener->proto), &c->handover,
		SESSION_HANDOVER, buf_str(&body), &fd, 1);
	io_close(&pair[1]);
	buf_wipe(&body);
	buf_free(&body);
	buf_free(&tls_text);
	buf_free(&back);
	buf_wipe(&input);
	buf_free(&input);
	if (e)
		failed(c, "session daemon cannot be reached");
	else
		client_arm(&c->wait, HANDOVER_WAIT_MS);
}

void
client_handover_timeout(struct client *c)
{
	failed(c, "session daemon does not answer");
}
