/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/base64.h"
#include "auth/dovecot_conn.h"
#include "auth/dovecot_line.h"
#include "auth/login.h"
#include "auth/sasl_login.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

/*
 * The Dovecot authentication protocol, for other programs: Postfix, Exim and whoever speaks it.
 * They learn whether a log-in is good and whose it is; tokens are for the proxy alone.
 */

enum {
	EXCHANGES_MAX = 1000, /* of a connection */
	JOBS_MAX = 32, /* of a connection in the workers; the next line waits */
	DELAY_MAX_MS = 7 * 1000, /* Postfix waits 10 s for an answer */
	WAIT_MAX_MS = 150 * 1000, /* Postfix does not tell when its client cancels */
	COOKIE_BYTES = 16,
	SESSION_MAX = 128,
};

/* ---- outcomes ---- */

static void
send_lines(struct peer *p, struct buf *b)
{
	if (p->lines) {
		dovecot_conn_send(p->lines, b);
		return;
	}
	buf_wipe(b);
	buf_free(b);
}

static void
challenge(struct peer *p, uint32_t request, struct str data)
{
	struct buf b = {0};

	buf_printf(&b, "CONT\t%u\t", request);
	sasl_base64_encode(data, &b);
	send_lines(p, &b);
}

static void
done(struct peer *p, const struct login_success *s)
{
	struct buf b = {0};

	buf_printf(&b, "OK\t%u", s->request);
	dovecot_put(&b, "user", str_of(s->user->name));
	if (s->data.len) {
		buf_add_cstr(&b, "\tresp=");
		sasl_base64_encode(s->data, &b);
	}
	send_lines(p, &b);
}

/*
 * The words are those that clients of the protocol know; the reason is for people. Yet Postfix
 * before "temp" was known, and Exim, take every FAIL for a wrong password, and a lost connection
 * for what a temporary failure is: so where nobody else has an exchange on it, the connection ends.
 */
static void
failed(struct peer *p, const struct login_failure *f)
{
	const char *words = "", *reason = "Temporary authentication failure, try again later";
	struct buf b = {0};

	if (err_is_temporary(f->error) && f->error != E_TIMEOUT && p->lines &&
		p->exchange_count == 0) {
		dovecot_conn_close(p->lines, f->error);
		return;
	}
	buf_printf(&b, "FAIL\t%u", f->request);
	if (f->user[0])
		dovecot_put(&b, "user", str_of(f->user));
	switch (f->error) {
	case E_AUTH:
		reason = "Wrong user name or password";
		if (f->reason && strcmp(f->reason, "authzid") == 0)
			words = "\tauthz\tcode=authz_fail";
		break;
	case E_ACCESS:
		reason = f->moved_to ? "This account is on another server"
				     : "This account is switched off";
		words = "\tuser_disabled\tcode=user_disabled";
		break;
	case E_PARSE:
		reason = "Malformed authentication response";
		break;
	case E_UNSUPPORTED:
		reason = "This mechanism is not offered here";
		if (f->reason && strcmp(f->reason, "plaintext") == 0)
			reason = "This mechanism needs an encrypted connection";
		break;
	case E_TIMEOUT:
		reason = "The authentication took too long";
		break;
	default:
		words = "\ttemp\tcode=temp_fail";
		break;
	}
	buf_add_cstr(&b, words);
	dovecot_put(&b, "reason", str_of(reason));
	send_lines(p, &b);
}

static void
job_done(struct peer *p)
{
	if (p->lines && p->jobs < JOBS_MAX)
		dovecot_conn_pause(p->lines, 0);
}

static const struct login_front front = {
	.challenge = challenge,
	.done = done,
	.failed = failed,
	.job_done = job_done,
	.delay_max_ms = DELAY_MAX_MS,
	.wait_max_ms = WAIT_MAX_MS,
};

/* ---- requests ---- */

static void
refuse(struct peer *p, uint32_t request, enum err e)
{
	failed(p, &(struct login_failure){.request = request, .error = e, .user = ""});
}

/* "submission" is SMTP to SASL (RFC 4954). */
static struct str
sasl_service(struct str service)
{
	if (!dovecot_is_service(service))
		return STR("");
	return str_is(service, "submission") ? STR("smtp") : service;
}

static enum err
on_auth(struct peer *p, struct str params)
{
	struct login_start start = {0};
	struct buf response = BUF_INIT(DOVECOT_LINE_MAX);
	struct dovecot_auth a;
	enum err e = dovecot_auth_parse(params, &a);

	/* Two with one id could not be told apart any more. */
	if (e || login_is_known(p, a.id))
		return E_PROTO;
	start.request = a.id;
	start.service = sasl_service(a.service);
	start.mechanism = a.mechanism;
	start.session = str_make(a.session.p, a.session.len < SESSION_MAX ? a.session.len : 0);
	if (a.rip.len && net_addr_parse(a.rip, 1, &start.addr)) {
		/* An IPv6 address comes without brackets. */
		char *text = mem_printf("[%.*s]", STR_ARG(a.rip));

		if (net_addr_parse(str_of(text), 1, &start.addr))
			start.addr.len = 0;
		free(text);
	}
	if (start.addr.len && start.addr.sa.ss_family == AF_UNIX)
		start.addr.len = 0;
	/* There is no channel that could be bound, not even when it is secured. */
	start.channel =
		a.secured ? CHANNEL_PRIVATE
			  : login_channel_without_tls(service_conf(p->auth->run), &start.addr);
	start.has_initial = a.has_resp;
	if (p->exchange_count >= EXCHANGES_MAX) {
		refuse(p, a.id, E_TEMPFAIL);
	} else if (sasl_base64_decode(a.resp, &response)) {
		refuse(p, a.id, E_PARSE);
	} else {
		start.initial = buf_str(&response);
		if (!start.initial.p)
			start.initial = STR("");
		login_start(p, &start);
	}
	buf_wipe(&response);
	buf_free(&response);
	return OK;
}

static enum err
on_cont(struct peer *p, struct str params)
{
	struct buf response = BUF_INIT(DOVECOT_LINE_MAX);
	struct str rest;
	uint32_t id;
	enum err e;

	if (dovecot_id_parse(params, &id, &rest))
		return E_PROTO;
	if (!login_is_known(p, id)) {
		refuse(p, id, E_TIMEOUT);
		return OK;
	}
	rest = str_split(&rest, '\t');
	e = str_is(rest, "=") ? OK : sasl_base64_decode(rest, &response);
	login_continue(p, id, e, buf_str(&response));
	buf_wipe(&response);
	buf_free(&response);
	return OK;
}

static enum err
on_cancel(struct peer *p, struct str params)
{
	struct str rest;
	uint32_t id;

	if (dovecot_id_parse(params, &id, &rest))
		return E_PROTO;
	login_cancel(p, id);
	return OK;
}

static enum err
on_line(void *arg, struct str line)
{
	struct peer *p = arg;
	struct str params = line, command = str_split(&params, '\t');
	enum err e = E_PROTO;

	if (line.len && memchr(line.p, '\0', line.len))
		return E_PROTO;
	if (str_is(command, "VERSION")) {
		e = dovecot_version_parse(params);
		p->greeted = !e;
	} else if (!p->greeted) {
		e = E_PROTO;
	} else if (str_is(command, "CPID")) {
		e = OK; /* nothing here is found by it */
	} else if (str_is(command, "AUTH")) {
		e = on_auth(p, params);
	} else if (str_is(command, "CONT")) {
		e = on_cont(p, params);
	} else if (str_is(command, "CANCEL")) {
		e = on_cancel(p, params);
	}
	if (p->jobs >= JOBS_MAX)
		dovecot_conn_pause(p->lines, 1);
	return e;
}

static void
on_close(void *arg, enum err e)
{
	struct peer *p = arg;

	if (e != E_CLOSED)
		log_event(LOGL_WARN, "auth.dovecot closed", "error", err_word(e), NULL);
	p->lines = NULL;
	p->auth->dovecot_conns--;
	peer_closed(p);
}

static const struct dovecot_conn_handler handler = {on_line, on_close};

/* ---- the greeting ---- */

static void
put_mechanism(struct buf *b, const char *name)
{
	int flags = sasl_mechanism_flags(name);

	buf_printf(b, "MECH\t%s", name);
	if (flags & SASL_SHOWS_PASSWORD)
		buf_add_cstr(b, "\tplaintext");
	/* What was overheard lets passwords be tried out. */
	if (strcmp(name, "CRAM-MD5") == 0 || strcmp(name, "DIGEST-MD5") == 0)
		buf_add_cstr(b, "\tdictionary\tactive");
	/* The server proves that it knows the password as well. */
	if (strncmp(name, "SCRAM-", 6) == 0 || strcmp(name, "DIGEST-MD5") == 0)
		buf_add_cstr(b, "\tmutual-auth");
	buf_add_char(b, '\n');
}

/* Exim speaks only after it has read DONE, and wants to see MECH before SPID. */
static void
greet(struct peer *p)
{
	const struct config *conf = service_conf(p->auth->run);
	char cookie[2 * COOKIE_BYTES + 1];
	struct buf b = {0};

	buf_printf(&b, "VERSION\t%d\t%d\n", DOVECOT_MAJOR, DOVECOT_MINOR);
	for (size_t i = 0; i < conf->auth_mechanisms.count; i++) {
		char *name = mem_strdup(conf->auth_mechanisms.items[i]);

		for (char *c = name; *c; c++)
			*c = str_upper(*c);
		if (login_is_offered(conf, name, CHANNEL_PRIVATE) &&
			!(sasl_mechanism_flags(name) & SASL_IS_UNLISTED))
			put_mechanism(&b, name);
		free(name);
	}
	io_random_hex(cookie, COOKIE_BYTES);
	buf_printf(&b, "SPID\t%ld\nCUID\t%u\nCOOKIE\t%s\nDONE", (long)getpid(),
		++p->auth->dovecot_cuid, cookie);
	send_lines(p, &b);
}

void
dovecot_auth_accept(struct service_run *run, int fd, const struct net_addr *from)
{
	struct auth_service *auth = service_state(run);
	struct peer *p;

	(void)from;
	if (auth->dovecot_conns >= DOVECOT_CONNS_MAX) {
		log_event(LOGL_WARN, "auth.dovecot refused", "reason", "connections", NULL);
		io_close(&fd);
		return;
	}
	auth->dovecot_conns++;
	p = peer_create(auth);
	p->front = &front;
	p->lines = dovecot_conn_create(service_base(run), fd, &handler, p);
	greet(p);
}
