/* SPDX-License-Identifier: MIT */
#include "auth/login.h"

#include <stdlib.h>
#include <string.h>

#include "auth/auth_proto.h"
#include "auth/frames.h"
#include "auth/sasl_login.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

/* The exchanges of the proxy, on auth-login. */

/* Which sessions the tokens of a service open. */
static const struct {
	const char *service, *token;
} services[] = {
	{"imap", "imap"},
	{"pop3", "pop3"},
	{"submission", "smtp"},
	{"smtp", "smtp"},
};

static struct str
token_service(struct str service)
{
	for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++)
		if (str_is(service, services[i].service))
			return str_of(services[i].token);
	return STR("");
}

static const char *
failure_text(enum err e)
{
	switch (e) {
	case E_AUTH:
		return "Authentication failed";
	case E_ACCESS:
		return "This account is switched off";
	case E_PARSE:
		return "Malformed authentication response";
	case E_UNSUPPORTED:
		return "This mechanism is not offered here";
	default:
		return "Temporary authentication failure, try again later";
	}
}

static void
send_failure(struct peer *p, const struct login_failure *f)
{
	struct buf b = {0};

	frame_error_put(&b, f->error, failure_text(f->error));
	ipc_put_cstr(&b, f->moved_to ? f->moved_to : "");
	ipc_put_cstr(&b, f->moved_to ? f->moved_user : "");
	ipc_put_cstr(&b, f->user);
	peer_send(p, AUTH_FAILED, f->request, &b);
}

/* ---- outcomes ---- */

static void
challenge(struct peer *p, uint32_t request, struct str data)
{
	struct buf b = {0};

	ipc_put_str(&b, data);
	peer_send(p, AUTH_CONTINUE, request, &b);
}

static void
done(struct peer *p, const struct login_success *s)
{
	const struct token_use use = {
		service_conf(p->auth->run)->ticket_key, str_of(s->service), str_of(s->session)};
	struct buf token = {0}, b = {0};
	enum err e = token_issue(&use, s->user, io_now_ms(), &token);

	if (e) {
		log_event(LOGL_ERROR, "auth.token fail", "user", s->user->name, "error",
			err_word(e), NULL);
		buf_free(&token);
		send_failure(
			p, &(struct login_failure){.request = s->request, .error = E_TEMPFAIL});
		return;
	}
	ipc_put_cstr(&b, s->user->name);
	ipc_put_str(&b, buf_str(&token));
	ipc_put_str(&b, s->data);
	ipc_put_u32(&b, s->user->max_connections);
	ipc_put_u32(&b, s->user->max_connections_per_ip);
	peer_send(p, AUTH_DONE, s->request, &b);
	buf_wipe(&token);
	buf_free(&token);
}

static void
failed(struct peer *p, const struct login_failure *f)
{
	send_failure(p, f);
}

const struct login_front login_frames_front = {
	.challenge = challenge, .done = done, .failed = failed};

/* ---- requests ---- */

static void
on_start(struct peer *p, struct ipc_msg *m)
{
	struct login_start start = {.request = m->request, .plain_always = 1};
	struct frame_start f;
	enum err e = frame_start_parse(buf_str(&m->body), &f);

	if (login_is_known(p, m->request)) {
		log_event(LOGL_WARN, "auth.frame refused", "reason", "request in use", NULL);
		return;
	}
	if (e || p->exchange_count >= PEER_EXCHANGES_MAX) {
		send_failure(p, &(struct login_failure){
					.request = m->request, .error = e ? E_PARSE : E_TEMPFAIL});
		return;
	}
	start.service = token_service(f.service);
	start.mechanism = f.mechanism;
	start.session = f.session;
	start.exporter = f.exporter;
	start.unique = f.unique;
	start.certificate_user = f.certificate_user;
	if (net_addr_parse(f.peer, 0, &start.addr))
		start.addr.len = 0;
	/* LOGIN and USER/PASS of the dialogues come as PLAIN, whatever is listed (auth_proto.h). */
	start.channel =
		f.certificate_user.len && f.tls ? CHANNEL_CERTIFICATE
		: f.tls				? CHANNEL_TLS
			: login_channel_without_tls(service_conf(p->auth->run), &start.addr);
	start.has_initial = f.has_initial;
	start.initial = f.initial;
	login_start(p, &start);
}

static void
on_continue(struct peer *p, struct ipc_msg *m)
{
	struct str data = {0};
	enum err e = frame_continue_parse(buf_str(&m->body), &data);

	login_continue(p, m->request, e, data);
}

static void
on_abort(struct peer *p, struct ipc_msg *m)
{
	login_cancel(p, m->request);
}

/* In the order of the setting. */
static void
put_offered(struct buf *b, const struct config *conf, enum login_channel channel)
{
	struct buf list = {0};

	for (size_t i = 0; i < conf->auth_mechanisms.count; i++) {
		char *name = mem_strdup(conf->auth_mechanisms.items[i]);

		for (char *c = name; *c; c++)
			*c = str_upper(*c);
		if (login_is_offered(conf, name, channel) &&
			!(sasl_mechanism_flags(name) & SASL_IS_UNLISTED))
			(void)buf_printf(&list, "%s%s", list.len ? " " : "", name);
		free(name);
	}
	ipc_put_str(b, buf_str(&list));
	buf_free(&list);
}

static void
on_mechanisms(struct peer *p, struct ipc_msg *m)
{
	struct buf b = {0};

	if (m->body.len) {
		peer_send_error(p, m->request, E_PROTO);
		return;
	}
	for (int channel = CHANNEL_TLS; channel < CHANNELS; channel++)
		put_offered(&b, service_conf(p->auth->run), (enum login_channel)channel);
	peer_send(p, AUTH_MECHANISMS, m->request, &b);
}

const struct peer_frame login_frames[] = {
	{AUTH_START, on_start},
	{AUTH_CONTINUE, on_continue},
	{AUTH_ABORT, on_abort},
	{AUTH_MECHANISMS, on_mechanisms},
	{0, NULL},
};
