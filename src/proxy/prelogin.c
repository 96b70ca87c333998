/* SPDX-License-Identifier: MIT */
#include "proxy/prelogin.h"

#include <stdlib.h>
#include <string.h>

#include "auth/base64.h"
#include "lib/log.h"
#include "lib/mem.h"

static const char *const state_names[PRELOGIN_STATES] = {
	[PRELOGIN_COMMAND] = "command",
	[PRELOGIN_SASL_LINE] = "sasl-line",
	[PRELOGIN_SASL_FINAL] = "sasl-final",
	[PRELOGIN_TLS] = "tls",
	[PRELOGIN_AUTH] = "auth",
	[PRELOGIN_HANDOVER] = "handover",
	[PRELOGIN_CLOSED] = "closed",
};

#define TO(state) (1u << PRELOGIN_##state)

/* The machine: where each state may lead. */
static const unsigned transitions[PRELOGIN_STATES] = {
	[PRELOGIN_COMMAND] = TO(SASL_LINE) | TO(TLS) | TO(AUTH) | TO(HANDOVER) | TO(CLOSED),
	[PRELOGIN_SASL_LINE] = TO(AUTH) | TO(COMMAND) | TO(CLOSED),
	[PRELOGIN_SASL_FINAL] = TO(HANDOVER) | TO(COMMAND) | TO(CLOSED),
	[PRELOGIN_TLS] = TO(COMMAND) | TO(CLOSED),
	[PRELOGIN_AUTH] = TO(SASL_LINE) | TO(SASL_FINAL) | TO(HANDOVER) | TO(COMMAND) | TO(CLOSED),
	[PRELOGIN_HANDOVER] = TO(CLOSED),
	[PRELOGIN_CLOSED] = 0,
};

#undef TO

void
prelogin_set_state(struct prelogin *p, enum prelogin_state state)
{
	if (p->state == state)
		return;
	ROOST_ASSERT(transitions[p->state] & (1u << state));
	log_event(LOGL_DEBUG, "proxy.state", "session", p->session_id, "from",
		state_names[p->state], "to", state_names[state], NULL);
	p->state = state;
}

void
prelogin_init(struct prelogin *p, const struct prelogin_protocol *proto,
	const struct prelogin_host *host, void *host_arg, const struct config *conf)
{
	static const char *const none[PRELOGIN_CHANNELS] = {"", "", "", ""};

	memset(p, 0, sizeof *p);
	p->proto = proto;
	p->host = host;
	p->host_arg = host_arg;
	p->conf = conf;
	p->mechanisms = none;
	/* The line and its CRLF. */
	p->in = BUF_INIT(conf->max_line + 2);
}

/* One place that forgets what a client told us: log-in, STARTTLS and the end all come here. */
static void
forget(struct prelogin *p)
{
	MEM_FREE(p->tag);
	MEM_FREE(p->mechanism);
	MEM_FREE(p->helo);
	MEM_FREE(p->user);
	MEM_FREE(p->login_user);
	MEM_FREE(p->token);
	buf_wipe(&p->in);
	p->scanned = 0;
	p->heard = 0;
	p->helo_seen = 0;
	p->esmtp = 0;
}

void
prelogin_fini(struct prelogin *p)
{
	forget(p);
	free(p->timestamp);
	buf_free(&p->in);
	buf_free(&p->out);
	buf_wipe(&p->troubles);
	buf_free(&p->troubles);
}

void
prelogin_say(struct prelogin *p, const char *text)
{
	buf_add_cstr(&p->out, text);
}

void
prelogin_reply(struct prelogin *p, enum prelogin_reply which)
{
	const char *text = p->proto->replies[which];

	if (text[0] == '%') {
		buf_add_cstr(&p->out, p->tag ? p->tag : "*");
		text++;
	}
	buf_add_cstr(&p->out, text);
	if (which >= REPLY_FAREWELL)
		prelogin_set_state(p, PRELOGIN_CLOSED);
}

void
prelogin_greet(struct prelogin *p)
{
	p->proto->greet(p);
}

void
prelogin_refuse(struct prelogin *p, enum prelogin_reply why)
{
	if (p->state == PRELOGIN_AUTH || p->state == PRELOGIN_SASL_LINE)
		p->host->auth_abort(p);
	if (p->state != PRELOGIN_CLOSED)
		prelogin_reply(p, why);
}

void
prelogin_error(struct prelogin *p)
{
	if (++p->errors >= PRELOGIN_ERRORS_MAX && p->state == PRELOGIN_COMMAND)
		prelogin_reply(p, REPLY_TOO_MANY_ERRORS);
}

const char *
prelogin_mechanisms(const struct prelogin *p)
{
	if (p->tls)
		return p->mechanisms[p->has_certificate ? PRELOGIN_CHANNEL_CERTIFICATE
							: PRELOGIN_CHANNEL_TLS];
	return p->mechanisms[prelogin_may_auth(p) ? PRELOGIN_CHANNEL_PRIVATE
						  : PRELOGIN_CHANNEL_OPEN];
}

int
prelogin_may_auth(const struct prelogin *p)
{
	return p->tls || p->loopback || p->conf->allow_plaintext_auth;
}

size_t
prelogin_input_room(const struct prelogin *p)
{
	if (p->state == PRELOGIN_CLOSED || p->state == PRELOGIN_TLS ||
		p->state == PRELOGIN_HANDOVER || p->out.len >= PRELOGIN_OUT_PAUSE)
		return 0;
	return p->in.len < p->in.max ? p->in.max - p->in.len : 0;
}

void
prelogin_trace(struct prelogin *p, int on)
{
	p->traced = on;
	p->heard = 0;
	p->said = p->out.len;
}

void
prelogin_trace_heard(struct prelogin *p, size_t len)
{
	if (p->traced && len > p->heard)
		p->host->heard(p, str_make(p->in.p + p->heard, len - p->heard), p->unclear);
	p->heard = len;
}

void
prelogin_trace_said(struct prelogin *p)
{
	if (p->traced && p->out.len > p->said)
		p->host->said(p, str_make(p->out.p + p->said, p->out.len - p->said));
	p->said = p->out.len;
}

void
prelogin_sent(struct prelogin *p, size_t n)
{
	buf_consume(&p->out, n);
	p->said -= n < p->said ? n : p->said;
}

void
prelogin_consume(struct prelogin *p, size_t len)
{
	ROOST_ASSERT(len <= p->in.len);
	/* The answer to it is in out already. */
	prelogin_trace_heard(p, len);
	prelogin_trace_said(p);
	p->heard = 0;
	p->unclear = 0;
	p->scanned = 0;
	if (len == p->in.len) {
		buf_wipe(&p->in);
		return;
	}
	/* What moves to the front would leave its old place behind, so wipe that too. */
	size_t rest = p->in.len - len;
	memmove(p->in.p, p->in.p + len, rest);
	explicit_bzero(p->in.p + rest, len);
	buf_truncate(&p->in, rest);
}

int
prelogin_line(struct prelogin *p, struct str *line, size_t *used)
{
	struct str in = buf_str(&p->in);
	size_t end = str_find(in, p->scanned, '\n');

	if (end == in.len) {
		p->scanned = in.len;
		if (in.len >= p->in.max)
			prelogin_refuse(p, REPLY_LINE_TOO_LONG);
		return 0;
	}
	*used = end + 1;
	if (end > 0 && in.p[end - 1] == '\r')
		end--;
	*line = str_make(in.p, end);
	return 1;
}

/* One step; 0 when nothing more can be done now. */
static int
step(struct prelogin *p)
{
	if (p->in.len == 0 || p->out.len >= PRELOGIN_OUT_PAUSE)
		return 0;
	prelogin_trace_said(p);
	switch (p->state) {
	case PRELOGIN_COMMAND:
		if (!p->proto->command(p))
			return 0;
		if (++p->commands >= PRELOGIN_COMMANDS_MAX && p->state == PRELOGIN_COMMAND)
			prelogin_reply(p, REPLY_TOO_MANY_ERRORS);
		return 1;
	case PRELOGIN_SASL_LINE:
	case PRELOGIN_SASL_FINAL:
		return sasl_line(p);
	default:
		return 0;
	}
}

void
prelogin_input(struct prelogin *p)
{
	while (step(p))
		;
}

void
prelogin_screen_failed(struct prelogin *p, enum prelogin_test test, const char *action)
{
	const char *name = test == TEST_PREGREET     ? "pregreet"
			   : test == TEST_PIPELINING ? "pipelining"
						     : "bare newline";

	if (p->screen_failed & test)
		return;
	p->screen_failed |= test;
	log_event(LOGL_INFO, "proxy.screen failed", "session", p->session_id, "ip", p->ip, "test",
		name, "action", action, NULL);
	if (strcmp(action, "ignore") == 0)
		return;
	p->screen_refused = 1;
	if (strcmp(action, "drop") == 0) {
		prelogin_say(p, "521 5.5.1 Protocol error\r\n");
		prelogin_set_state(p, PRELOGIN_CLOSED);
	}
}

void
prelogin_tls_started(struct prelogin *p)
{
	/*
	 * RFC 3207 section 4.2, RFC 3501 section 6.2.1, RFC 2595 section 4: nothing said before
	 * counts, and bytes that came in one packet with STARTTLS were not said under TLS.
	 */
	forget(p);
	p->tls = 1;
	p->tls_available = 0;
	prelogin_set_state(p, PRELOGIN_COMMAND);
}

void
prelogin_auth_challenge(struct prelogin *p, struct str data)
{
	struct buf text = {0};

	sasl_base64_encode(data, &text);
	prelogin_set_state(p, PRELOGIN_SASL_LINE);
	p->proto->challenge(p, buf_str(&text));
	buf_free(&text);
	prelogin_input(p);
}

void
prelogin_auth_done(struct prelogin *p, struct str user, struct str token, struct str success_data)
{
	MEM_FREE(p->login_user);
	MEM_FREE(p->token);
	p->login_user = str_dup(user);
	p->token = str_dup(token);
	if (success_data.len > 0) {
		/* RFC 4422 section 4: none of our protocols can carry it in the outcome itself. */
		struct buf text = {0};
		sasl_base64_encode(success_data, &text);
		prelogin_set_state(p, PRELOGIN_SASL_FINAL);
		p->proto->challenge(p, buf_str(&text));
		buf_free(&text);
		prelogin_input(p);
		return;
	}
	prelogin_set_state(p, PRELOGIN_HANDOVER);
	p->proto->success(p);
	p->host->handover(p);
}

static void
attempt_failed(struct prelogin *p)
{
	if (++p->attempts >= (unsigned)p->conf->login_attempts)
		prelogin_reply(p, REPLY_TOO_MANY_ATTEMPTS);
	else
		prelogin_input(p);
}

void
prelogin_auth_failed(struct prelogin *p, enum err e)
{
	enum prelogin_reply which;

	prelogin_set_state(p, PRELOGIN_COMMAND);
	switch (e) {
	case E_AUTH:
	case E_NOTFOUND:
		which = REPLY_AUTH_FAILED;
		break;
	case E_ACCESS:
		which = REPLY_AUTH_DISABLED;
		break;
	case E_UNSUPPORTED:
		which = REPLY_AUTH_MECHANISM;
		break;
	case E_PARSE:
	case E_TOOBIG:
		which = REPLY_AUTH_RESPONSE;
		break;
	default:
		which = REPLY_AUTH_TEMPFAIL;
		break;
	}
	prelogin_reply(p, which);
	/* A failure of ours is not the client's. */
	if (which == REPLY_AUTH_TEMPFAIL)
		prelogin_input(p);
	else
		attempt_failed(p);
}

void
prelogin_auth_moved(struct prelogin *p, struct str user, struct str host)
{
	prelogin_set_state(p, PRELOGIN_COMMAND);
	p->proto->moved(p, user, host);
	attempt_failed(p);
}

void
prelogin_auth_limited(struct prelogin *p)
{
	prelogin_set_state(p, PRELOGIN_COMMAND);
	prelogin_reply(p, REPLY_AUTH_LIMIT);
	prelogin_input(p);
}

void
prelogin_handover_failed(struct prelogin *p)
{
	prelogin_reply(p, REPLY_NO_SESSION);
}
