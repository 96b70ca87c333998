/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/smtpd_rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/ehlo.h"

/*
 * Postfix's extensions XCLIENT, by which a client becomes another, and XFORWARD, by which a filter
 * says whose mail it gives back.
 */

/* What is said of a client. */
struct xclient {
	int forward; /* with XFORWARD */
	char name[DNS_NAME_SIZE], reverse[DNS_NAME_SIZE], helo[256], login[256], ident[64];
	struct net_addr addr;
	int has_addr, has_name, has_reverse, has_helo, has_login;
	int esmtp; /* -1: not said */
};

static int
take_name(struct buf *value, char out[DNS_NAME_SIZE])
{
	size_t i;

	if (value->len == 0 || value->len >= DNS_NAME_SIZE)
		return 0;
	for (i = 0; i < value->len; i++) {
		char c = value->p[i];

		if (!str_is_alnum(c) && (c == '\0' || !strchr(".-_[]:", c)))
			return 0;
	}
	(void)snprintf(out, DNS_NAME_SIZE, "%s",
		str_starts_i(buf_str(value), "[") ? "unknown" : buf_cstr(value));
	return 1;
}

static int
take_addr(struct buf *value, struct net_addr *out)
{
	struct str ip = buf_str(value);
	char *text;
	enum err e;

	if (str_starts_i(ip, "IPV6:"))
		ip = str_make(ip.p + 5, ip.len - 5);
	text = mem_printf(str_find(ip, 0, ':') < ip.len ? "[%.*s]:0" : "%.*s:0", STR_ARG(ip));
	e = net_addr_parse(str_of(text), 0, out);
	free(text);
	return e == OK && out->sa.ss_family != AF_UNIX && net_addr_port(out) == 0;
}

static int
take_text(struct buf *value, char *out, size_t size)
{
	if (value->len >= size || str_has_control(buf_str(value)))
		return 0;
	(void)snprintf(out, size, "%s", buf_cstr(value));
	return 1;
}

/* [UNAVAILABLE] and [TEMPUNAVAIL]: there is none. */
static int
is_unavailable(struct buf *value)
{
	return str_is_i(buf_str(value), "[UNAVAILABLE]") ||
	       str_is_i(buf_str(value), "[TEMPUNAVAIL]");
}

static int
take_attribute(struct xclient *x, struct str name, struct buf *value)
{
	int none = is_unavailable(value);

	if (str_is_i(name, "NAME")) {
		x->has_name = 1;
		return take_name(value, x->name);
	}
	if (!x->forward && str_is_i(name, "REVERSE_NAME")) {
		x->has_reverse = 1;
		return take_name(value, x->reverse);
	}
	if (str_is_i(name, "ADDR")) {
		x->has_addr = !none;
		return none || take_addr(value, &x->addr);
	}
	if (str_is_i(name, "HELO")) {
		x->has_helo = !none;
		return none || take_text(value, x->helo, sizeof(x->helo));
	}
	if (!x->forward && str_is_i(name, "LOGIN")) {
		x->has_login = 1;
		return none || take_text(value, x->login, sizeof(x->login));
	}
	if (x->forward && str_is_i(name, "IDENT"))
		return none || take_text(value, x->ident, sizeof(x->ident));
	if (str_is_i(name, "PROTO")) {
		if (none)
			return 1;
		x->esmtp = str_is_i(buf_str(value), "ESMTP");
		return x->esmtp || str_is_i(buf_str(value), "SMTP");
	}
	/* Known, and of no use here. */
	if (x->forward)
		return str_is_i(name, "PORT") || str_is_i(name, "SOURCE");
	return str_is_i(name, "PORT") || str_is_i(name, "DESTADDR") || str_is_i(name, "DESTPORT");
}

static const char *
syntax(const struct xclient *x)
{
	return x->forward ? "501 5.5.4 Syntax: XFORWARD attribute=value"
			  : "501 5.5.4 Syntax: XCLIENT attribute=value";
}

/* NULL, or the reply. */
static const char *
parse_attributes(struct str args, struct xclient *x)
{
	struct buf value = {0};
	const char *problem = args.len ? NULL : syntax(x);

	while (args.p && problem == NULL) {
		struct str text = str_split(&args, ' '), name;

		if (text.len == 0)
			continue;
		name = str_split(&text, '=');
		buf_reset(&value);
		if (text.p == NULL || dsn_xtext_decode(text, &value) != OK)
			problem = syntax(x);
		else if (!take_attribute(x, name, &value))
			problem = x->forward ? "501 5.5.4 Bad XFORWARD attribute"
					     : "501 5.5.4 Bad XCLIENT attribute";
	}
	buf_free(&value);
	return problem;
}

static void
become(struct smtpd *d, const struct xclient *x)
{
	if (x->has_addr) {
		d->peer = x->addr;
		net_addr_format_ip(&d->peer, d->peer_ip);
		d->names_known = 0;
		d->dnsbl_known = 0;
		d->trusted = smtpd_in_networks(&d->conf->mynetworks, &d->peer);
	}
	if (x->has_name || x->has_reverse) {
		const char *name = x->has_name ? x->name : "unknown";

		d->names_known = 1;
		(void)snprintf(d->names.name, sizeof(d->names.name), "%s", name);
		(void)snprintf(d->names.reverse, sizeof(d->names.reverse), "%s",
			x->has_reverse ? x->reverse : name);
		d->names.name_err = strcmp(d->names.name, "unknown") ? OK : E_NOTFOUND;
		d->names.reverse_err = strcmp(d->names.reverse, "unknown") ? OK : E_NOTFOUND;
	}
	if (x->has_login) {
		MEM_FREE(d->user);
		if (x->login[0])
			d->user = mem_strdup(x->login);
	}
	smtpd_set_helo(d, str_of(x->has_helo ? x->helo : ""));
	if (x->esmtp >= 0)
		d->esmtp = x->esmtp;
}

/* 0: refused, and answered. */
static int
take_command(struct smtpd *d, int allowed, struct str args, struct xclient *x)
{
	const char *problem;

	if (!allowed)
		problem = x->forward ? "550 5.7.0 XFORWARD is not for you"
				     : "550 5.7.0 XCLIENT is not for you";
	else if (d->t.open)
		problem = "503 5.5.1 MAIL transaction in progress";
	else
		problem = parse_attributes(args, x);
	if (problem)
		smtpd_reply(d, "%s", problem);
	return problem == NULL;
}

void
smtpd_xclient(struct smtpd *d, struct str args)
{
	struct xclient x = {.esmtp = -1};

	if (!take_command(d, d->xclient, args, &x))
		return;
	smtpd_transaction_reset(d);
	become(d, &x);
	log_event(LOGL_INFO, "smtpd.client replaced", "ip", d->peer_ip, "name", d->names.name,
		"helo", d->helo, "user", d->user, NULL);
	/* As at the start of a session. */
	smtpd_reply(d, "220 %s ESMTP", smtp_hostname(d->conf));
}

/* Several of them add up, until the message is over. */
void
smtpd_xforward(struct smtpd *d, struct str args)
{
	struct xclient x = {.forward = 1, .esmtp = -1};
	struct smtpd_origin *o = &d->t.origin;

	if (!take_command(d, d->xforward, args, &x))
		return;
	o->known = 1;
	if (x.has_addr)
		net_addr_format_ip(&x.addr, o->ip);
	if (x.has_helo)
		(void)snprintf(o->helo, sizeof(o->helo), "%s", x.helo);
	if (x.ident[0])
		(void)snprintf(o->ident, sizeof(o->ident), "%s", x.ident);
	smtpd_reply(d, "250 2.0.0 Ok");
}

static void
put_attribute(struct buf *out, const char *name, const char *value)
{
	buf_printf(out, "%s%s=", out->len ? " " : "", name);
	if (value[0] && strcmp(value, "unknown") != 0)
		dsn_xtext_encode(str_of(value), out);
	else
		buf_add_cstr(out, "[UNAVAILABLE]");
}

char *
smtpd_xforward_text(struct smtpd *d)
{
	int local = d->kind == SMTPD_LOCAL, named = local || d->conf->smtpd_peername_lookup;
	struct buf out = {0};
	char text[NET_ADDR_TEXT + 8];

	put_attribute(&out, "NAME", named ? smtpd_names(d)->name : "");
	(void)snprintf(text, sizeof(text), "%s%s", strchr(d->peer_ip, ':') ? "IPV6:" : "",
		local ? "127.0.0.1" : d->peer_ip);
	put_attribute(&out, "ADDR", text);
	(void)snprintf(text, sizeof(text), "%u", (unsigned)net_addr_port(&d->peer));
	put_attribute(&out, "PORT", local ? "" : text);
	put_attribute(&out, "PROTO", d->esmtp ? "ESMTP" : "SMTP");
	put_attribute(&out, "HELO", d->helo);
	put_attribute(&out, "SOURCE", local ? "LOCAL" : "REMOTE");
	return buf_steal(&out);
}
