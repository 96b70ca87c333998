/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/smtpd_rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/ehlo.h"
#include "mta-lite/smtpd_rewrite.h"

/* Commands about addresses and about the client itself: VRFY, EXPN, XCLIENT. */

/* "user", "user@domain" or "<user@domain>"; 0: none of them. */
static int
take_address(struct str args, struct smtp_path *path)
{
	struct str s = args;

	if (args.len > 0 && args.p[0] == '<')
		return smtp_path_cut(&s, path) == OK && s.len == 0 && path->address[0];
	return smtp_mailbox_parse(args, path) == OK;
}

/* Whoever asks for addresses one after the other is sent away like whoever guesses them. */
static void
count_question(struct smtpd *d)
{
	if (++d->junk > SMTPD_JUNK_MAX)
		d->errors++;
}

void
smtpd_vrfy(struct smtpd *d, struct str args)
{
	struct smtp_path path;
	struct auth_rcpt found;
	enum err e;

	count_question(d);
	if (args.len == 0) {
		smtpd_reply(d, "501 5.5.4 Syntax: VRFY address");
		return;
	}
	if (d->kind == SMTPD_SUBMISSION && d->user == NULL) {
		smtpd_reply(d, "530 5.7.0 Authentication required");
		return;
	}
	/* RFC 5321 section 7.3. */
	if (d->conf->disable_vrfy_command) {
		smtpd_reply(d, "252 2.0.0 Send a message to find out");
		return;
	}
	if (!take_address(args, &path) || path.domain == 0) {
		smtpd_reply(d, "501 5.1.3 Bad recipient address syntax");
		return;
	}
	e = smtpd_lookup_rcpt(d, str_of(path.address), &found);
	if (e)
		smtpd_reply(d, "451 4.3.0 Directory not available, try again later");
	else if (found.kind == AUTH_RCPT_MAILBOX || found.kind == AUTH_RCPT_ALIAS)
		smtpd_reply(d, "250 2.1.5 <%s>", path.address);
	else if (found.kind == AUTH_RCPT_REMOTE)
		smtpd_reply(d,
			d->trusted ? "252 2.0.0 <%s>" : "554 5.7.1 <%s>: Relay access denied",
			path.address);
	else
		smtpd_reply(d,
			"550 5.1.1 <%s>: Recipient address rejected: User unknown in virtual "
			"mailbox table",
			path.address);
	auth_rcpt_free(&found);
}

static void
show_targets(struct smtpd *d, const struct auth_rcpt *found)
{
	size_t i;

	for (i = 0; i < found->target_count; i++)
		(void)stream_printf(d->io, "250%c2.1.5 <%s>\r\n",
			i + 1 < found->target_count ? '-' : ' ', found->targets[i].address);
}

void
smtpd_expn(struct smtpd *d, struct str args)
{
	struct smtp_path path;
	struct auth_rcpt found;
	enum err e;

	count_question(d);
	if (d->conf->disable_vrfy_command || !d->trusted) {
		smtpd_reply(d, "502 5.5.1 Lists are not shown here");
		return;
	}
	if (!take_address(args, &path) || path.domain == 0) {
		smtpd_reply(d, "501 5.5.4 Syntax: EXPN address");
		return;
	}
	e = smtpd_lookup_rcpt(d, str_of(path.address), &found);
	if (e)
		smtpd_reply(d, "451 4.3.0 Directory not available, try again later");
	else if (found.kind == AUTH_RCPT_ALIAS && found.target_count > 0)
		show_targets(d, &found);
	else
		smtpd_reply(d, "550 5.1.1 <%s>: It is no alias here", path.address);
	auth_rcpt_free(&found);
}

/* ---- XCLIENT (Postfix's extension) ---- */

/* What is said of a client that takes the place of the one that said it. */
struct xclient {
	char name[DNS_NAME_SIZE], reverse[DNS_NAME_SIZE], helo[256], login[256];
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
	if (str_is_i(name, "REVERSE_NAME")) {
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
	if (str_is_i(name, "LOGIN")) {
		x->has_login = 1;
		return none || take_text(value, x->login, sizeof(x->login));
	}
	if (str_is_i(name, "PROTO")) {
		x->esmtp = str_is_i(buf_str(value), "ESMTP");
		return x->esmtp || str_is_i(buf_str(value), "SMTP");
	}
	/* Known, and of no use here. */
	return str_is_i(name, "PORT") || str_is_i(name, "DESTADDR") || str_is_i(name, "DESTPORT");
}

static const char *
parse_xclient(struct str args, struct xclient *x)
{
	struct buf value = {0};
	const char *problem = NULL;

	while (args.p && problem == NULL) {
		struct str text = str_split(&args, ' '), name;

		if (text.len == 0)
			continue;
		name = str_split(&text, '=');
		buf_reset(&value);
		if (text.p == NULL || dsn_xtext_decode(text, &value) != OK)
			problem = "501 5.5.4 Syntax: XCLIENT attribute=value";
		else if (!take_attribute(x, name, &value))
			problem = "501 5.5.4 Bad XCLIENT attribute";
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

void
smtpd_xclient(struct smtpd *d, struct str args)
{
	struct xclient x = {.esmtp = -1};
	const char *problem;

	if (!d->xclient) {
		smtpd_reply(d, "550 5.7.0 XCLIENT is not for you");
		return;
	}
	if (d->t.open) {
		smtpd_reply(d, "503 5.5.1 MAIL transaction in progress");
		return;
	}
	problem = args.len ? parse_xclient(args, &x) : "501 5.5.4 Syntax: XCLIENT attribute=value";
	if (problem) {
		smtpd_reply(d, "%s", problem);
		return;
	}
	smtpd_transaction_reset(d);
	become(d, &x);
	log_event(LOGL_INFO, "smtpd.client replaced", "ip", d->peer_ip, "name", d->names.name,
		"helo", d->helo, "user", d->user, NULL);
	/* As at the start of a session. */
	smtpd_reply(d, "220 %s ESMTP", smtp_hostname(d->conf));
}
