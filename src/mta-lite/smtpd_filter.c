/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/smtpd_filter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/content_check.h"
#include "mta-lite/ehlo.h"
#include "mta-lite/milter.h"
#include "mta-lite/smtpd_rewrite.h"
#include "mta-lite/smtpd_rules.h"
#include "mta-lite/smtpd_spf.h"
#include "mta-lite/words.h"

/* Made once in the warm parent; children only read it. */
static struct content_checks checks;

/* What a session keeps. */
struct smtpd_filter {
	struct milters *milters;
	struct milter_server server;
	char *rcpt; /* the recipient that macros speak of; or NULL */
	char text[512]; /* the last macro's value */
};

enum err
smtpd_filter_open(const struct config *conf, struct maps *maps)
{
	enum err e = map_list_open(maps, "header_checks", &conf->header_checks, &checks.header);

	/* As in Postfix they are header_checks where nothing else is said. */
	if (e == OK)
		e = map_list_open(maps, "mime_header_checks",
			conf->mime_header_checks.count ? &conf->mime_header_checks
						       : &conf->header_checks,
			&checks.mime_header);
	if (e == OK)
		e = map_list_open(maps, "nested_header_checks",
			conf->nested_header_checks.count ? &conf->nested_header_checks
							 : &conf->header_checks,
			&checks.nested_header);
	if (e == OK)
		e = map_list_open(maps, "body_checks", &conf->body_checks, &checks.body);
	checks.body_limit = conf->body_checks_size_limit;
	return e ? e : smtpd_policy_open(conf);
}

/* ---- macros ---- */

static const char *
address_of(struct smtpd_filter *f, const char *address, int host)
{
	const char *at = strrchr(address, '@');

	if (!host)
		return address;
	(void)snprintf(f->text, sizeof(f->text), "%s", at ? at + 1 : "");
	return f->text;
}

static const char *
peer_macro(struct smtpd *d, const char *name)
{
	struct smtpd_filter *f = d->filter;

	if (strcmp(name, "{client_addr}") == 0)
		return d->peer_ip;
	if (strcmp(name, "{client_name}") == 0)
		return smtpd_names(d)->name;
	if (strcmp(name, "{client_ptr}") == 0)
		return smtpd_names(d)->reverse;
	if (strcmp(name, "{client_port}") == 0) {
		(void)snprintf(f->text, sizeof(f->text), "%u", (unsigned)net_addr_port(&d->peer));
		return f->text;
	}
	if (strcmp(name, "_") == 0) {
		(void)snprintf(
			f->text, sizeof(f->text), "%s [%s]", smtpd_names(d)->name, d->peer_ip);
		return f->text;
	}
	return NULL;
}

static const char *
tls_macro(struct smtpd *d, const char *name)
{
	struct smtpd_filter *f = d->filter;
	const char *text = d->session->info.tls_text, *blank;

	if (!d->session->info.tls || text == NULL || text[0] == '\0')
		return NULL;
	/* "TLSv1.3 TLS_AES_256_GCM_SHA384" */
	blank = strchr(text, ' ');
	if (strcmp(name, "{tls_version}") == 0) {
		(void)snprintf(f->text, sizeof(f->text), "%.*s",
			blank ? (int)(blank - text) : (int)strlen(text), text);
		return f->text;
	}
	if (strcmp(name, "{cipher}") == 0)
		return blank ? blank + 1 : NULL;
	return NULL;
}

static const char *
macro(void *arg, const char *name)
{
	struct smtpd *d = arg;
	struct smtpd_filter *f = d->filter;
	const char *value;

	if (strcmp(name, "j") == 0 || strcmp(name, "{daemon_name}") == 0)
		return smtp_hostname(d->conf);
	if (strcmp(name, "v") == 0)
		return "Roost " PACKAGE_VERSION;
	if (strcmp(name, "i") == 0)
		return d->t.entry.id[0] ? d->t.entry.id : NULL;
	if (strcmp(name, "{auth_authen}") == 0)
		return d->user;
	if (strcmp(name, "{auth_type}") == 0)
		return d->user ? "PLAIN" : NULL;
	if (strcmp(name, "{mail_addr}") == 0)
		return d->t.mail.from.address;
	if (strcmp(name, "{mail_host}") == 0)
		return address_of(f, d->t.mail.from.address, 1);
	if (strcmp(name, "{rcpt_addr}") == 0)
		return f->rcpt;
	if (strcmp(name, "{rcpt_host}") == 0)
		return f->rcpt ? address_of(f, f->rcpt, 1) : NULL;
	value = peer_macro(d, name);
	return value ? value : tls_macro(d, name);
}

/* ---- changes of the envelope ---- */

static enum err
add_rcpt(void *arg, struct str address)
{
	struct smtpd *d = arg;

	/* Added with REDIRECT and BCC of the tables, once all filters have spoken. */
	restrict_effects_add_bcc(&d->t.effects, address);
	return OK;
}

static enum err
remove_rcpt(void *arg, struct str address)
{
	return smtpd_remove_rcpt(arg, address);
}

static enum err
set_sender(void *arg, struct str address)
{
	struct smtpd *d = arg;
	struct smtp_path path = {0};
	enum err e = OK;

	if (address.len > 0)
		e = smtp_mailbox_parse(address, &path);
	if (e)
		return e;
	d->t.mail.from = path;
	free(d->t.entry.sender);
	d->t.entry.sender = mem_strdup(path.address);
	return OK;
}

/* ---- the session ---- */

static enum milter_default
default_action(const char *word)
{
	static const struct {
		const char *word;
		enum milter_default action;
	} words[] = {{"accept", MILTER_ACCEPT}, {"reject", MILTER_REJECT},
		{"quarantine", MILTER_HOLD}, {"tempfail", MILTER_TEMPFAIL}};
	size_t i;

	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(words[i].word, word) == 0)
			return words[i].action;
	}
	return MILTER_TEMPFAIL;
}

void
smtpd_filter_start(struct smtpd *d)
{
	const struct conf_list *list =
		d->kind == SMTPD_LOCAL ? &d->conf->non_smtpd_milters : &d->conf->smtpd_milters;
	struct milter_settings set = {
		.connect_timeout_ms = (int)d->conf->milter_connect_timeout,
		.command_timeout_ms = (int)d->conf->milter_command_timeout,
		.content_timeout_ms = (int)d->conf->milter_content_timeout,
		.default_action = default_action(d->conf->milter_default_action),
	};
	struct smtpd_filter *f;

	if (list->count == 0 || (d->overrides & SMTPD_NO_MILTERS))
		return;
	f = d->filter = MEM_NEW(struct smtpd_filter);
	f->server = (struct milter_server){.arg = d,
		.macro = macro,
		.add_rcpt = add_rcpt,
		.remove_rcpt = remove_rcpt,
		.set_sender = set_sender};
	f->milters = milters_create(&set, list->items, list->count, &f->server);
	/* What they answer holds for each MAIL. */
	(void)milters_connect(
		f->milters, d->kind == SMTPD_LOCAL ? "localhost" : smtpd_names(d)->name, &d->peer);
	if (d->helo[0])
		(void)milters_helo(f->milters, d->helo);
}

void
smtpd_filter_stop(struct smtpd *d)
{
	smtpd_policy_stop(d);
	if (d->filter == NULL)
		return;
	milters_free(&d->filter->milters);
	free(d->filter->rcpt);
	MEM_FREE(d->filter);
}

void
smtpd_filter_reset(struct smtpd *d)
{
	if (d->filter) {
		milters_abort(d->filter->milters);
		MEM_FREE(d->filter->rcpt);
	}
}

/* ---- events ---- */

static const char *
reply_of(struct smtpd *d, const char *reply)
{
	if (reply && strncmp(reply, "421", 3) == 0)
		d->quit = 1;
	return reply;
}

const char *
smtpd_filter_helo(struct smtpd *d)
{
	return d->filter ? reply_of(d, milters_helo(d->filter->milters, d->helo)) : NULL;
}

const char *
smtpd_filter_mail(struct smtpd *d, struct str params)
{
	if (d->filter == NULL)
		return NULL;
	return reply_of(d, milters_mail(d->filter->milters, d->t.mail.from.address, params));
}

const char *
smtpd_filter_rcpt(struct smtpd *d, const char *address, struct str params)
{
	if (d->filter == NULL)
		return NULL;
	free(d->filter->rcpt);
	d->filter->rcpt = mem_strdup(address);
	return reply_of(d, milters_rcpt(d->filter->milters, address, params));
}

const char *
smtpd_filter_data(struct smtpd *d)
{
	return d->filter ? reply_of(d, milters_data(d->filter->milters)) : NULL;
}

static void
set_text(char **slot, const char *text)
{
	free(*slot);
	*slot = mem_strdup(text);
}

/* What the tables said besides no. */
static void
take_verdict(struct smtpd *d, const struct content_verdict *v)
{
	struct restrict_effects *e = &d->t.effects;
	size_t i;

	if (v->discard)
		set_text(&e->discard, "content check");
	if (v->hold)
		set_text(&e->hold, v->hold);
	if (v->filter)
		set_text(&e->filter, v->filter);
	if (v->redirect)
		set_text(&e->redirect, v->redirect);
	for (i = 0; i < v->bcc_count; i++)
		restrict_effects_add_bcc(e, str_of(v->bcc[i]));
}

static const char *
run_checks(struct smtpd *d, struct content *c)
{
	struct content_verdict v;
	const char *reply = NULL;
	enum err e = content_checks_run(&checks, c, d->t.entry.id, &v);

	if (e == OK && v.reply) {
		buf_reset(&d->verdict);
		buf_add_cstr(&d->verdict, v.reply);
		reply = buf_cstr(&d->verdict);
	} else if (e) {
		reply = "451 4.3.0 The message could not be checked, try again later";
	} else {
		take_verdict(d, &v);
	}
	content_verdict_free(&v);
	return reply;
}

static const char *
run_milters(struct smtpd *d, struct content *c)
{
	struct milters *ms = d->filter->milters;
	char *reason;
	int hold;
	const char *reply = reply_of(d, milters_message(ms, c, &hold, &reason));

	if (reply == NULL && hold)
		set_text(&d->t.effects.hold, reason);
	if (reply == NULL && milters_discards(ms))
		set_text(&d->t.effects.discard, "milter");
	free(reason);
	return reply;
}

/* The changed message takes the place of the one that came. */
static enum err
take_content(struct smtpd *d, struct content *c)
{
	struct spool made;
	enum err e;

	spool_init(&made, d->spool_dir);
	e = content_store(c, &made);
	if (e) {
		spool_free(&made);
		return e;
	}
	spool_free(&d->t.spool);
	d->t.spool = made;
	return OK;
}

static int
wants_checks(const struct smtpd *d)
{
	return !content_checks_empty(&checks) && !(d->overrides & SMTPD_NO_HEADER_BODY_CHECKS);
}

static int
hides_fields(const struct smtpd *d)
{
	return d->kind == SMTPD_SUBMISSION && d->conf->submission_remove_headers.count > 0;
}

static void
hide_fields(const struct smtpd *d, struct content *c)
{
	size_t i;

	for (i = content_field_count(c); i-- > 0;) {
		if (words_have(&d->conf->submission_remove_headers, content_field_name(c, i)))
			content_remove(c, i);
	}
}

const char *
smtpd_filter_message(struct smtpd *d)
{
	const char *reply = NULL;
	struct content *c;
	enum err e;

	if (d->filter == NULL && !wants_checks(d) && !hides_fields(d) &&
		!smtpd_spf_wants_message(d) && !smtpd_rewrite_wants_message(d))
		return NULL;
	e = content_load(&d->t.spool, d->spool_dir, &c);
	if (e)
		return e == E_TOOBIG ? "552 5.3.4 Message header size exceeds fixed limit"
				     : "451 4.3.0 The message could not be read back";
	if (hides_fields(d))
		hide_fields(d, c);
	smtpd_spf_message(d, c);
	reply = smtpd_rewrite_message(d, c);
	if (reply == NULL && wants_checks(d))
		reply = run_checks(d, c);
	if (reply == NULL && d->filter && d->t.effects.discard == NULL)
		reply = run_milters(d, c);
	/* A filter took away whom it was for: taken, and delivered to nobody. */
	if (reply == NULL && d->t.entry.rcpt_count == 0 && d->t.effects.bcc_count == 0 &&
		d->t.effects.redirect == NULL)
		set_text(&d->t.effects.discard, "no recipient left");
	if (reply == NULL && content_changed(c)) {
		e = take_content(d, c);
		if (e)
			reply = e == E_NOSPACE ? "452 4.3.1 Not enough disk space"
					       : "451 4.3.0 The message could not be stored";
	}
	content_free(&c);
	return reply;
}
