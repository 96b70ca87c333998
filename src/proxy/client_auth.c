/* SPDX-License-Identifier: MIT */
/* The exchange of a client with roost-auth (auth/auth_proto.h). */
#include <stddef.h>
#include <stdlib.h>

#include "auth/auth_proto.h"
#include "lib/log.h"
#include "proxy/client.h"

/* What auth needs at most besides the penalty: a queue of hashes, a slow database. */
enum { AUTH_GRACE_MS = 20 * 1000 };

static void
arm_wait(struct client *c)
{
	const struct config *conf = proxy_conf(c->px);

	client_arm(&c->wait, conf->login_delay_max + conf->db_timeout + AUTH_GRACE_MS);
}

static void
finish(struct client *c)
{
	link_forget(c->px->auth, &c->auth);
	event_del(&c->wait);
}

static void
failed(struct client *c, enum err e)
{
	c->px->failed_logins++;
	prelogin_auth_failed(&c->prelogin, e);
	client_run(c);
}

static void
on_failed(struct client *c, struct ipc_reader *r)
{
	uint32_t code = ipc_get_u32(r);
	struct str moved_to, moved_user, user;

	ipc_get_str(r);
	moved_to = ipc_get_str(r);
	moved_user = ipc_get_str(r);
	user = ipc_get_str(r);
	finish(c);
	trace_user(c, user);
	if (ipc_reader_end(r) || code == OK || code >= ERR_COUNT)
		code = E_TEMPFAIL;
	if (code != E_ACCESS || moved_to.len == 0) {
		failed(c, (enum err)code);
		return;
	}
	c->px->failed_logins++;
	prelogin_auth_moved(&c->prelogin, moved_user, moved_to);
	client_run(c);
}

/* 0: the user has as many connections as he may; the client has been told. */
static int
is_within_limits(struct client *c, struct str user, uint32_t max, uint32_t max_per_ip)
{
	char *name = str_dup(user), ip[NET_ADDR_TEXT];
	enum limits_login_verdict verdict;

	/* An earlier log-in that the client broke off at its last line. */
	limits_login_leave(c->px->limits, &c->login);
	verdict = limits_login_enter(c->px->limits, name, &c->peer, max, max_per_ip, &c->login);
	if (verdict != LIMITS_LOGIN_OK) {
		net_addr_format_ip(&c->peer, ip);
		log_event(LOGL_WARN, "proxy.login refused", "session", c->id, "user", name,
			"service", c->listener->name, "ip", ip, "limit",
			verdict == LIMITS_USER ? "max_connections_per_user"
					       : "max_connections_per_user_ip",
			NULL);
		c->px->refused++;
		prelogin_auth_limited(&c->prelogin);
	}
	free(name);
	return verdict == LIMITS_LOGIN_OK;
}

static void
on_done(struct client *c, struct ipc_reader *r)
{
	struct str user = ipc_get_str(r), token = ipc_get_str(r), data = ipc_get_str(r);
	uint32_t max = ipc_get_u32(r), max_per_ip = ipc_get_u32(r);

	finish(c);
	trace_user(c, user);
	if (ipc_reader_end(r)) {
		failed(c, E_TEMPFAIL);
		return;
	}
	if (!is_within_limits(c, user, max, max_per_ip)) {
		client_run(c);
		return;
	}
	c->px->logins++;
	prelogin_auth_done(&c->prelogin, user, token, data);
	client_run(c);
}

static void
on_challenge(struct client *c, struct ipc_reader *r)
{
	struct str data = ipc_get_str(r);

	event_del(&c->wait);
	if (ipc_reader_end(r)) {
		client_auth_abort(&c->prelogin);
		failed(c, E_TEMPFAIL);
		return;
	}
	prelogin_auth_challenge(&c->prelogin, data);
	client_run(c);
}

static void
on_answer(struct link_request *request, struct ipc_msg *m)
{
	struct client *c = (struct client *)((char *)request - offsetof(struct client, auth));

	if (c->prelogin.state != PRELOGIN_AUTH) {
		/* Auth is gone while the client is to speak: its next line finds nobody. */
		if (!m) {
			c->auth_error = E_TEMPFAIL;
			return;
		}
		log_event(LOGL_ERROR, "proxy.auth out-of-turn", "session", c->id, NULL);
		return;
	}
	if (!m) {
		event_del(&c->wait);
		failed(c, E_TEMPFAIL);
		return;
	}
	struct ipc_reader r = ipc_reader_of(buf_str(&m->body));
	switch (m->type) {
	case AUTH_CONTINUE:
		on_challenge(c, &r);
		break;
	case AUTH_DONE:
		on_done(c, &r);
		break;
	case AUTH_FAILED:
		on_failed(c, &r);
		break;
	default:
		log_event(LOGL_ERROR, "proxy.auth bad-frame", "type", log_u64(m->type), NULL);
		finish(c);
		failed(c, E_TEMPFAIL);
		break;
	}
}

void
client_auth_start(struct prelogin *p, struct str mechanism, int has_initial, struct str initial)
{
	struct client *c = p->host_arg;
	struct buf body = {0};
	char peer[NET_ADDR_TEXT], local[NET_ADDR_TEXT];
	unsigned char exporter[CONN_BINDING_MAX], unique[CONN_BINDING_MAX];
	size_t exporter_len = client_tls_exporter(c, exporter);
	size_t unique_len = client_tls_unique(c, unique);

	trace_user(c, (struct str){0});
	net_addr_format(&c->peer, peer);
	net_addr_format(&c->local, local);
	ipc_put_cstr(&body, p->proto->auth_service);
	ipc_put_str(&body, mechanism);
	ipc_put_u8(&body, has_initial != 0);
	ipc_put_str(&body, initial);
	ipc_put_cstr(&body, peer);
	ipc_put_cstr(&body, local);
	ipc_put_u8(&body, p->tls != 0);
	ipc_put_cstr(&body, c->id);
	ipc_put_str(&body, str_make((const char *)exporter, exporter_len));
	ipc_put_str(&body, str_make((const char *)unique, unique_len));
	ipc_put_cstr(&body, c->cert.user);
	c->auth.on_answer = on_answer;
	c->auth_error = link_ask(c->px->auth, &c->auth, AUTH_START, buf_str(&body), NULL, 0);
	if (!c->auth_error)
		arm_wait(c);
	buf_wipe(&body);
	buf_free(&body);
}

void
client_auth_continue(struct prelogin *p, struct str response)
{
	struct client *c = p->host_arg;
	struct buf body = {0};

	if (c->auth.id == 0) {
		c->auth_error = E_TEMPFAIL;
		return;
	}
	ipc_put_str(&body, response);
	link_tell(&c->auth, AUTH_CONTINUE, buf_str(&body));
	arm_wait(c);
	buf_wipe(&body);
	buf_free(&body);
}

void
client_auth_abort(struct prelogin *p)
{
	struct client *c = p->host_arg;

	link_tell(&c->auth, AUTH_ABORT, (struct str){0});
	finish(c);
	c->auth_error = OK;
}

void
client_auth_timeout(struct client *c)
{
	log_event(LOGL_WARN, "proxy.auth timeout", "session", c->id, NULL);
	client_auth_abort(&c->prelogin);
	failed(c, E_TEMPFAIL);
}
