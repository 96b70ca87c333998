/* SPDX-License-Identifier: MIT */
#include "mta-lite/smtp_out.h"

#include <string.h>
#include <strings.h>

#include "lib/log.h"
#include "lib/net.h"
#include "mta-lite/ehlo.h"
#include "mta-lite/smtp_sasl.h"

enum { SMTPS_PORT = 465 };

static const struct net_addr *
source_address(const struct smtp_out *o, const struct net_addr *to)
{
	if (to->sa.ss_family == AF_INET && o->has_bind4)
		return &o->bind4;
	return to->sa.ss_family == AF_INET6 && o->has_bind6 ? &o->bind6 : NULL;
}

/* Port 465 has never been anything else (RFC 8314 section 3.3). */
static int
is_wrapped(const struct smtp_out *o, const struct smtp_target *t)
{
	return !t->lmtp && (o->conf->smtp_tls_wrappermode || net_addr_port(t->addr) == SMTPS_PORT);
}

/* Connected, greeted; encrypted when that comes before all else. NULL: *why. */
static struct smtp_client *
open_connection(
	const struct smtp_out *o, const struct smtp_target *t, SSL *wrap, struct smtp_answer *why)
{
	char text[NET_ADDR_TEXT];
	struct smtp_client *c;
	enum err e;
	int fd;

	e = net_connect_from(
		source_address(o, t->addr), t->addr, (int)o->conf->smtp_connect_timeout, &fd);
	if (e) {
		net_addr_format(t->addr, text);
		smtp_answer_set(why, QUEUE_PENDING, e == E_TIMEOUT ? "4.4.2" : "4.4.1",
			"connect to %s %s: %s", t->host, text, err_text(e));
		SSL_free(wrap);
		return NULL;
	}
	c = smtp_client_create(fd, smtp_hostname(o->conf), t->lmtp);
	smtp_client_set_transcript(c, t->transcript);
	if (wrap)
		e = smtp_client_tls(c, wrap, why);
	if (e || smtp_client_hello(c, why))
		smtp_client_free(&c);
	return c;
}

/* The server gave itself our name: mail would go round and round. */
static int
is_ourselves(const struct smtp_out *o, const struct smtp_target *t, struct smtp_client *c)
{
	return t->by_mx && strcasecmp(smtp_client_peer_name(c), smtp_hostname(o->conf)) == 0;
}

/* 0: no connection is left; *plain_next asks for one without TLS. */
static int
encrypt(const struct smtp_out *o, const struct smtp_target *t, enum smtp_tls_need need,
	const char *names, struct smtp_client **c, struct smtp_answer *why, int *plain_next)
{
	SSL *ssl;

	if (!(smtp_client_extensions(*c) & SMTP_EXT_STARTTLS)) {
		if (need == SMTP_TLS_TRY)
			return 1;
		smtp_answer_set(why, QUEUE_PENDING, "4.7.4",
			"TLS is required, and %s does not offer it", t->host);
		smtp_client_free(c);
		return 0;
	}
	ssl = smtp_tls_prepare(o, t, need, names);
	if (ssl == NULL) {
		smtp_answer_set(
			why, QUEUE_PENDING, "4.7.5", "TLS cannot be set up for %s", t->host);
		smtp_client_free(c);
		return 0;
	}
	if (smtp_client_starttls(*c, ssl, why) == OK)
		return 1;
	smtp_client_free(c);
	*plain_next = need == SMTP_TLS_TRY;
	log_event(LOGL_WARN, "smtp.tls failed", "relay", t->host, "status", why->text, "next",
		*plain_next ? "plaintext" : "later", NULL);
	return 0;
}

/* Logs in when there is an account for this server. 0: no connection is left. */
static int
log_in(const struct smtp_out *o, const struct smtp_target *t, struct smtp_client **c,
	struct smtp_answer *why)
{
	const struct config *conf = o->conf;
	int tls = smtp_client_tls_text(*c)[0] != '\0';
	struct buf account = {0};
	enum err e;

	if (t->lmtp || !conf->smtp_sasl_auth_enable)
		return 1;
	e = smtp_out_account(o, t->hop, t->host, &account);
	if (e == E_NOTFOUND)
		return 1;
	if (e) {
		smtp_answer_set(why, QUEUE_PENDING, "4.3.0",
			"the account for %s could not be looked up", t->host);
	} else if (!(smtp_client_extensions(*c) & SMTP_EXT_AUTH)) {
		e = E_UNSUPPORTED;
		smtp_answer_set(why, QUEUE_PENDING, "4.7.4",
			"there is an account for %s, which does not offer AUTH%s", t->host,
			tls ? "" : " without TLS");
	} else {
		e = smtp_sasl_login(*c, t->host, buf_cstr(&account),
			tls ? &conf->smtp_sasl_tls_security_options
			    : &conf->smtp_sasl_security_options,
			&conf->smtp_sasl_mechanism_filter, why);
	}
	buf_wipe(&account);
	buf_free(&account);
	if (e)
		smtp_client_free(c);
	return e == OK;
}

struct smtp_client *
smtp_connect(const struct smtp_out *o, const struct smtp_target *t, struct smtp_answer *why)
{
	char names[TLS_MATCH_SIZE];
	enum smtp_tls_need need = smtp_tls_decide(t, names, why);
	int wrapped = is_wrapped(o, t) && need != SMTP_TLS_OFF, plain_next = 0;
	struct smtp_client *c;
	SSL *wrap = NULL;

	if (need == SMTP_TLS_IMPOSSIBLE)
		return NULL;
	if (wrapped && (wrap = smtp_tls_prepare(o, t, need, names)) == NULL) {
		smtp_answer_set(
			why, QUEUE_PENDING, "4.7.5", "TLS cannot be set up for %s", t->host);
		return NULL;
	}
	c = open_connection(o, t, wrap, why);
	if (c && !wrapped && need != SMTP_TLS_OFF &&
		!encrypt(o, t, need, names, &c, why, &plain_next) && plain_next)
		c = open_connection(o, t, NULL, why);
	if (c && is_ourselves(o, t, c)) {
		smtp_answer_set(why, QUEUE_FAILED, "5.4.6", "mail for %s loops back to this server",
			t->name);
		smtp_client_free(&c);
	}
	if (c && !log_in(o, t, &c, why))
		return NULL;
	return c;
}
