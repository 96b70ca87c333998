/* SPDX-License-Identifier: MIT */
#include "mta-lite/milter.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/endpoint.h"
#include "mta-lite/milter_private.h"
#include "mta-lite/smtp_reply.h"

/* The macros that Sendmail's and Postfix's filters get without asking. */
static const char *const usual_macros[MILTER_STAGES] = {
	[MILTER_AT_CONNECT] =
		"j {daemon_name} {daemon_addr} v _ {client_addr} {client_name} {client_port}",
	[MILTER_AT_HELO] = "{tls_version} {cipher} {cipher_bits} {cert_subject} {cert_issuer}",
	[MILTER_AT_MAIL] =
		"i {auth_type} {auth_authen} {auth_author} {mail_addr} {mail_host} {mail_mailer}",
	[MILTER_AT_RCPT] = "i {rcpt_addr} {rcpt_host} {rcpt_mailer}",
	[MILTER_AT_DATA] = "i",
	[MILTER_AT_EOM] = "i",
	[MILTER_AT_EOH] = "i",
};

static enum err
parse_action(struct str word, enum milter_default *action)
{
	static const char *const words[] = {
		[MILTER_TEMPFAIL] = "tempfail",
		[MILTER_ACCEPT] = "accept",
		[MILTER_REJECT] = "reject",
		[MILTER_HOLD] = "quarantine",
	};
	size_t i;

	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (str_is_i(word, words[i])) {
			*action = (enum milter_default)i;
			return OK;
		}
	}
	return E_PARSE;
}

enum err
milter_spec_parse(struct str spec, struct net_addr *addr, enum milter_default *action)
{
	size_t comma = str_find(spec, 0, ',');

	if (comma < spec.len &&
		parse_action(str_make(spec.p + comma + 1, spec.len - comma - 1), action))
		return E_PARSE;
	spec.len = comma;
	return endpoint_parse(spec, addr);
}

struct milters *
milters_create(const struct milter_settings *settings, char *const *specs, size_t count,
	const struct milter_server *server)
{
	struct milters *ms = MEM_NEW(struct milters);
	size_t i;

	ms->set = *settings;
	ms->server = server;
	ms->v = mem_zalloc((count + 1) * sizeof(*ms->v));
	for (i = 0; i < count; i++) {
		struct milter *m = &ms->v[ms->count];

		m->on_failure = settings->default_action;
		if (milter_spec_parse(str_of(specs[i]), &m->addr, &m->on_failure)) {
			log_event(LOGL_ERROR, "milter.setup failed", "milter", specs[i], NULL);
			continue;
		}
		net_addr_format(&m->addr, m->name);
		ms->count++;
	}
	return ms;
}

static void
forget_changes(struct milters *ms)
{
	size_t i;

	for (i = 0; i < ms->change_count; i++)
		free(ms->changes[i].address);
	MEM_FREE(ms->changes);
	ms->change_count = 0;
}

void
milters_free(struct milters **msp)
{
	struct milters *ms = *msp;
	size_t i;

	if (ms == NULL)
		return;
	for (i = 0; i < ms->count; i++) {
		struct milter *m = &ms->v[i];

		/* A farewell; nobody waits for an answer to it. */
		if (m->io && milter_write(m->io, MILTER_QUIT, STR("")) == OK)
			(void)smtp_io_flush(m->io);
		milter_close(m);
		milter_terms_free(&m->terms);
		buf_free(&m->in);
	}
	forget_changes(ms);
	free(ms->v);
	free(ms->reply);
	free(ms->session_reply);
	MEM_FREE(*msp);
}

void
milter_close(struct milter *m)
{
	smtp_io_free(&m->io);
	m->in_message = 0;
}

/* The reply of ours that a filter's default action stands for; NULL: go on. */
static const char *
default_reply(const struct milter *m)
{
	switch (m->on_failure) {
	case MILTER_TEMPFAIL:
		return "451 4.7.1 Service unavailable - try again later";
	case MILTER_REJECT:
		return "550 5.5.0 Service unavailable";
	case MILTER_ACCEPT:
	case MILTER_HOLD:
		break;
	}
	return NULL;
}

static const char *
set_reply(struct milters *ms, const char *reply)
{
	char *copy = reply ? mem_strdup(reply) : NULL;

	free(ms->reply);
	ms->reply = copy;
	return ms->reply;
}

const char *
milter_fail(struct milters *ms, struct milter *m, const char *what, enum err e)
{
	log_event(LOGL_WARN, "milter.failed", "milter", m->name, "step", what, "error", err_text(e),
		NULL);
	milter_close(m);
	m->state = MILTER_GONE;
	m->failed = 1;
	return set_reply(ms, default_reply(m));
}

/* "550 5.7.1 text", "421 text": what may stand in front of a client. */
static int
reply_is_sound(struct str text)
{
	return text.len >= 4 && text.len <= 1000 && (text.p[0] == '4' || text.p[0] == '5') &&
	       str_is_digit(text.p[1]) && str_is_digit(text.p[2]) && text.p[3] == ' ';
}

/*
 * A filter's own reply: printable, one line. Those of several lines ("550-first\r\n550 second")
 * are joined, and a "%%" is one "%" (libmilter has it written so).
 */
static enum err
take_reply(struct milters *ms, struct str data)
{
	struct buf out = {0};
	struct str text;
	size_t i;
	enum err e = OK;

	if (milter_get_text(&data, &text))
		return E_PROTO;
	while (text.p != NULL) {
		struct str line = str_trim(str_split(&text, '\n'));

		if (out.len > 0 && line.len >= 4 && (line.p[3] == '-' || line.p[3] == ' ') &&
			memcmp(line.p, out.p, 3) == 0)
			line = str_make(line.p + 4, line.len - 4);
		if (line.len == 0)
			continue;
		if (out.len > 0)
			buf_add_char(&out, ' ');
		for (i = 0; i < line.len; i++) {
			unsigned char c = (unsigned char)line.p[i];

			if (c == '%' && i + 1 < line.len && line.p[i + 1] == '%')
				i++;
			buf_add_char(&out, c < ' ' || c > '~' ? '?' : (char)c);
		}
	}
	if (out.len > 3 && out.p[3] == '-')
		out.p[3] = ' ';
	if (reply_is_sound(buf_str(&out)))
		(void)set_reply(ms, buf_cstr(&out));
	else
		e = E_PROTO;
	buf_free(&out);
	return e ? e : E_ACCESS;
}

enum err
milter_take_answer(struct milters *ms, struct milter *m, int response, struct str data)
{
	switch (response) {
	case MILTER_R_CONTINUE:
	case MILTER_R_SKIP:
		return OK;
	case MILTER_R_ACCEPT:
		m->state = MILTER_PASSED;
		return OK;
	case MILTER_R_DISCARD:
		m->state = MILTER_PASSED;
		ms->discard = 1;
		return OK;
	case MILTER_R_REJECT:
		(void)set_reply(ms, "550 5.7.1 Command rejected");
		return E_ACCESS;
	case MILTER_R_TEMPFAIL:
		(void)set_reply(ms, "451 4.7.1 Service unavailable - try again later");
		return E_ACCESS;
	case MILTER_R_CONNFAIL:
		(void)set_reply(ms, "421 4.7.0 Service unavailable, closing");
		return E_ACCESS;
	case MILTER_R_REPLYCODE:
		return take_reply(ms, data);
	default:
		return E_PROTO;
	}
}

enum err
milter_send_macros(struct milters *ms, struct milter *m, enum milter_stage stage, int command)
{
	struct str list =
		str_of(m->terms.macros[stage] ? m->terms.macros[stage] : usual_macros[stage]);
	struct buf out = {0};
	enum err e = OK;

	buf_add_char(&out, (char)command);
	while (list.p != NULL) {
		struct str word = str_split(&list, ' ');
		const char *value;
		char name[64];

		if (word.len == 0 || word.len >= sizeof(name))
			continue;
		memcpy(name, word.p, word.len);
		name[word.len] = '\0';
		value = ms->server->macro(ms->server->arg, name);
		if (value == NULL)
			continue;
		milter_put_text(&out, word);
		milter_put_text(&out, str_of(value));
	}
	if (out.len > 1)
		e = milter_write(m->io, MILTER_MACRO, buf_str(&out));
	buf_free(&out);
	return e;
}

static enum err
negotiate(struct milters *ms, struct milter *m)
{
	struct buf out = {0};
	struct str data = {NULL, 0};
	int response;
	enum err e;

	(void)ms;
	milter_put_u32(&out, MILTER_VERSION);
	milter_put_u32(&out, MILTER_ACTIONS);
	milter_put_u32(&out, MILTER_PROTOCOL);
	e = milter_write(m->io, MILTER_OPTNEG, buf_str(&out));
	buf_free(&out);
	if (e == OK)
		e = milter_read(m->io, &m->in, &response, &data);
	if (e == OK && response != MILTER_R_OPTNEG)
		e = E_PROTO;
	return e ? e : milter_terms_parse(data, &m->terms);
}

/* OK: it is connected, or has no part in this event any more. */
static enum err
make_ready(struct milters *ms, struct milter *m, const char **reply)
{
	enum err e;
	int fd;

	*reply = NULL;
	if (m->state == MILTER_GONE && m->failed)
		*reply = set_reply(ms, default_reply(m));
	if (m->state != MILTER_NEW)
		return OK;
	e = net_connect(&m->addr, ms->set.connect_timeout_ms, &fd);
	if (e == OK) {
		m->io = smtp_io_create(fd);
		smtp_io_set_timeout(m->io, ms->set.command_timeout_ms);
		e = negotiate(ms, m);
	}
	if (e)
		*reply = milter_fail(ms, m, "connect", e);
	else
		m->state = MILTER_READY;
	return OK;
}

/* An event for one filter. no, silent: the bits by which it does without the event or an answer. */
struct event {
	enum milter_stage stage;
	int command;
	uint32_t no, silent;
	struct str data;
};

static const char *
tell(struct milters *ms, struct milter *m, const struct event *ev)
{
	struct str data = {NULL, 0};
	int response;
	enum err e;

	if (m->state != MILTER_READY || (m->terms.protocol & ev->no))
		return NULL;
	/* A limit for the whole event: a filter that sends a byte a minute is as bad as a dead one.
	 */
	smtp_io_set_deadline(m->io, io_now_ms() + ms->set.command_timeout_ms);
	e = milter_send_macros(ms, m, ev->stage, ev->command);
	if (e == OK)
		e = milter_write(m->io, ev->command, ev->data);
	if (e == OK && (m->terms.protocol & ev->silent))
		return smtp_io_flush(m->io) ? milter_fail(ms, m, "write", E_CLOSED) : NULL;
	if (e == OK)
		e = milter_read(m->io, &m->in, &response, &data);
	if (e == OK)
		e = milter_take_answer(ms, m, response, data);
	if (e == E_ACCESS)
		return ms->reply;
	return e ? milter_fail(ms, m, "event", e) : NULL;
}

static const char *
tell_all(struct milters *ms, const struct event *ev)
{
	const char *reply = NULL;
	size_t i;

	for (i = 0; i < ms->count && reply == NULL && !ms->discard; i++) {
		(void)make_ready(ms, &ms->v[i], &reply);
		if (reply == NULL)
			reply = tell(ms, &ms->v[i], ev);
	}
	return reply;
}

/* Connect and helo: an answer holds for all that follows. */
static const char *
tell_session(struct milters *ms, const struct event *ev)
{
	const char *reply = tell_all(ms, ev);
	size_t i;

	for (i = 0; i < ms->count; i++) {
		if (ms->v[i].state == MILTER_PASSED)
			ms->v[i].state = MILTER_GONE;
	}
	if (reply && ms->session_reply == NULL)
		ms->session_reply = mem_strdup(reply);
	return reply;
}

static void
put_peer(struct buf *out, const struct net_addr *peer)
{
	char ip[NET_ADDR_TEXT];
	uint16_t port = htons(net_addr_port(peer));

	net_addr_format_ip(peer, ip);
	if (peer->sa.ss_family == AF_UNIX || peer->len == 0) {
		buf_add_char(out, 'L');
		port = 0;
		buf_add(out, &port, sizeof(port));
		milter_put_text(out, STR("localhost"));
		return;
	}
	buf_add_char(out, strchr(ip, ':') ? '6' : '4');
	buf_add(out, &port, sizeof(port));
	milter_put_text(out, str_of(ip));
}

const char *
milters_connect(struct milters *ms, const char *host, const struct net_addr *peer)
{
	struct buf data = {0};
	const char *reply;

	milter_put_text(&data, str_of(host));
	put_peer(&data, peer);
	reply = tell_session(ms, &(struct event){MILTER_AT_CONNECT, MILTER_CONNECT,
					 MILTER_NO_CONNECT, MILTER_NR_CONNECT, buf_str(&data)});
	buf_free(&data);
	return reply;
}

const char *
milters_helo(struct milters *ms, const char *name)
{
	struct buf data = {0};
	const char *reply;

	milter_put_text(&data, str_of(name));
	reply = tell_session(ms, &(struct event){MILTER_AT_HELO, MILTER_HELO, MILTER_NO_HELO,
					 MILTER_NR_HELO, buf_str(&data)});
	buf_free(&data);
	return reply;
}

/* "<address>" and each parameter, all with a NUL. */
static void
put_path(struct buf *out, const char *address, struct str params)
{
	buf_add_char(out, '<');
	buf_add_cstr(out, address);
	buf_add(out, ">", 2);
	while (params.p != NULL) {
		struct str word = str_split(&params, ' ');

		if (word.len > 0)
			milter_put_text(out, word);
	}
}

const char *
milters_mail(struct milters *ms, const char *address, struct str params)
{
	struct buf data = {0};
	const char *reply;
	size_t i;

	if (ms->session_reply)
		return ms->session_reply;
	put_path(&data, address, params);
	reply = tell_all(ms, &(struct event){MILTER_AT_MAIL, MILTER_MAIL, MILTER_NO_MAIL,
				     MILTER_NR_MAIL, buf_str(&data)});
	for (i = 0; i < ms->count; i++)
		ms->v[i].in_message = ms->v[i].io != NULL;
	buf_free(&data);
	return reply;
}

const char *
milters_rcpt(struct milters *ms, const char *address, struct str params)
{
	struct buf data = {0};
	const char *reply;

	put_path(&data, address, params);
	reply = tell_all(ms, &(struct event){MILTER_AT_RCPT, MILTER_RCPT, MILTER_NO_RCPT,
				     MILTER_NR_RCPT, buf_str(&data)});
	buf_free(&data);
	return reply;
}

const char *
milters_data(struct milters *ms)
{
	return tell_all(ms, &(struct event){MILTER_AT_DATA, MILTER_DATA, MILTER_NO_DATA,
				    MILTER_NR_DATA, STR("")});
}

const char *
milters_unknown(struct milters *ms, struct str line)
{
	struct buf data = {0};
	const char *reply;

	milter_put_text(&data, line);
	reply = tell_all(ms, &(struct event){MILTER_AT_HELO, MILTER_UNKNOWN, MILTER_NO_UNKNOWN,
				     MILTER_NR_UNKNOWN, buf_str(&data)});
	buf_free(&data);
	return reply;
}

/* Each filter's wishes about the envelope; nobody's if any of them refused the message. */
static void
apply_changes(struct milters *ms)
{
	size_t i;

	for (i = 0; i < ms->change_count; i++) {
		const struct milter_change *ch = &ms->changes[i];
		struct str address = str_of(ch->address);
		enum err e;

		if (ch->kind == MILTER_R_CHGFROM)
			e = ms->server->set_sender(ms->server->arg, address);
		else if (ch->kind == MILTER_R_DELRCPT)
			e = ms->server->remove_rcpt(ms->server->arg, address);
		else
			e = ms->server->add_rcpt(ms->server->arg, address);
		if (e)
			log_event(LOGL_WARN, "milter.change failed", "address", ch->address,
				"error", err_text(e), NULL);
	}
}

const char *
milters_message(struct milters *ms, struct content *c, int *hold, char **reason)
{
	const char *reply = NULL;
	size_t i;

	*hold = 0;
	*reason = NULL;
	for (i = 0; i < ms->count && reply == NULL && !ms->discard; i++) {
		struct milter *m = &ms->v[i];

		(void)make_ready(ms, m, &reply);
		if (reply == NULL && m->state == MILTER_READY)
			reply = milter_run_message(ms, m, c, hold, reason);
		if (m->failed && m->on_failure == MILTER_HOLD) {
			*hold = 1;
			if (*reason == NULL)
				*reason = mem_printf("filter %s is not available", m->name);
		}
	}
	if (reply == NULL && !ms->discard)
		apply_changes(ms);
	return reply;
}

void
milters_abort(struct milters *ms)
{
	size_t i;

	forget_changes(ms);
	ms->discard = 0;
	for (i = 0; i < ms->count; i++) {
		struct milter *m = &ms->v[i];

		if (m->io && m->in_message &&
			(milter_write(m->io, MILTER_ABORT, STR("")) || smtp_io_flush(m->io)))
			(void)milter_fail(ms, m, "abort", E_CLOSED);
		m->in_message = 0;
		if (m->state == MILTER_PASSED)
			m->state = MILTER_READY;
	}
}

int
milters_discards(const struct milters *ms)
{
	return ms->discard;
}
