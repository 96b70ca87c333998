/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/smtpd_rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/smtpd_filter.h"
#include "mta-lite/smtpd_pipe.h"
#include "mta-lite/smtpd_rewrite.h"

/* Made once in the warm parent; children only read it. */
static struct {
	struct config *conf;
	struct maps *maps;
	struct restrict_set *set;
	struct dns *dns;
} shared;

enum err
smtpd_rules_open(const struct config *current)
{
	/* Lists and tables keep their settings for good. */
	enum err e = conf_copy(current, &shared.conf);
	const struct config *conf = shared.conf;

	if (e)
		return e;
	shared.maps = maps_create(conf);
	shared.set = restrict_create(conf, shared.maps);
	smtpd_pipe_open(conf);
	if (smtpd_rewrite_open(conf, shared.maps) || smtpd_filter_open(conf, shared.maps))
		return E_IO;
	return dns_open(conf, &shared.dns);
}

void
smtpd_rules_sandbox(const struct config *conf, struct sandbox *sb)
{
	(void)conf;
	maps_sandbox(shared.maps, sb);
	smtpd_rewrite_sandbox(sb);
	/* The DNS. */
	sandbox_allow(sb, SANDBOX_CAN_CONNECT_TCP | SANDBOX_CAN_UDP);
}

void
smtpd_rules_refresh(const struct config *conf)
{
	(void)conf;
	maps_refresh(shared.maps);
	smtpd_rewrite_refresh();
}

/* ---- the client's names ---- */

static int
leads_back(struct smtpd *d, const struct dns_source *dns, const char *name, int *later)
{
	const struct net_addr *peer = &d->peer;
	struct net_addr v[32];
	size_t n, i;
	int six;

	for (six = 0; six < 2; six++) {
		switch (dns->addresses(dns->arg, name, six, v, sizeof(v) / sizeof(v[0]), &n)) {
		case DNS_FOUND:
			break;
		case DNS_FAILED:
			*later = 1;
			continue;
		default:
			continue;
		}
		for (i = 0; i < n; i++) {
			if (net_addr_same_host(&v[i], peer))
				return 1;
		}
	}
	return 0;
}

static void
look_up_names(struct smtpd *d, struct restrict_names *names)
{
	struct dns_source dns = smtpd_dns(d);
	struct buf list = BUF_INIT(DNS_TEXT_MAX);
	enum dns_verdict v;
	const char *name;
	size_t n = 0, i;
	int later = 0;

	v = dns.ptr(dns.arg, &d->peer, &list, &n);
	if (v != DNS_FOUND) {
		names->reverse_err = v == DNS_FAILED ? E_TEMPFAIL : E_NOTFOUND;
		names->name_err = names->reverse_err;
		buf_free(&list);
		return;
	}
	name = buf_cstr(&list);
	names->reverse_err = OK;
	names->name_err = E_NOTFOUND;
	(void)snprintf(names->reverse, sizeof(names->reverse), "%s", name);
	for (i = 0; i < n && i < 5 && names->name_err != OK; i++) {
		if (leads_back(d, &dns, name, &later)) {
			(void)snprintf(names->name, sizeof(names->name), "%s", name);
			names->name_err = OK;
		}
		name += strlen(name) + 1;
	}
	if (names->name_err != OK && later)
		names->name_err = E_TEMPFAIL;
	buf_free(&list);
}

const struct restrict_names *
smtpd_names(struct smtpd *d)
{
	struct restrict_names *names = &d->names;

	if (d->names_known)
		return names;
	d->names_known = 1;
	memcpy(names->name, "unknown", sizeof("unknown"));
	memcpy(names->reverse, "unknown", sizeof("unknown"));
	if (d->kind != SMTPD_LOCAL && net_addr_is_loopback(&d->peer)) {
		memcpy(names->name, "localhost", sizeof("localhost"));
		memcpy(names->reverse, "localhost", sizeof("localhost"));
	} else if (d->kind != SMTPD_LOCAL) {
		look_up_names(d, names);
	}
	return names;
}

struct dns_source
smtpd_dns(struct smtpd *d)
{
	(void)d;
	return dns_source_of(shared.dns);
}

/* ---- what the checks ask ---- */

static const struct restrict_names *
give_names(void *arg)
{
	return smtpd_names(arg);
}

static enum err
address_kind(void *arg, const char *address, enum auth_rcpt_kind *kind)
{
	struct smtpd *d = arg;
	struct auth_rcpt found;
	enum err e;

	/* Several checks of a list ask about the same address. */
	if (d->known_address && strcmp(d->known_address, address) == 0) {
		*kind = d->known_kind;
		return OK;
	}
	e = smtpd_lookup_rcpt(d, str_of(address), &found);
	if (e == OK) {
		*kind = found.kind;
		free(d->known_address);
		d->known_address = mem_strdup(address);
		d->known_kind = found.kind;
	}
	auth_rcpt_free(&found);
	return e;
}

static enum err
may_send_as(void *arg, const char *user, const char *address)
{
	struct smtpd *d = arg;

	return auth_may_send_as(d->auth, user, str_of(address));
}

/* ---- stages ---- */

struct stage_run {
	struct smtpd *d;
	struct restrict_facts facts;
	struct restrict_host host;
};

static void
prepare(struct smtpd *d, struct stage_run *s)
{
	struct smtpd_transaction *t = &d->t;

	memset(s, 0, sizeof(*s));
	s->d = d;
	s->facts = (struct restrict_facts){
		.client = &d->peer,
		.client_ip = d->peer_ip,
		.helo = d->helo,
		.sender = t->open ? t->mail.from.address : NULL,
		.user = d->user,
		.tls = d->session->info.tls,
		.tls_fingerprint = d->session->info.cert_fingerprint,
		.pipelined = d->pipelined,
		.recipient_count = t->rcpt_count,
		.size = t->spool.size ? t->spool.size : t->mail.size,
	};
	s->host = (struct restrict_host){
		.arg = d,
		.names = give_names,
		.dns = smtpd_dns(d),
		.address_kind = address_kind,
		.may_send_as = may_send_as,
		.policy = smtpd_policy_ask,
		.moved = smtpd_find_moved,
		.greylist = smtpd_greylist_ask,
	};
}

/* Whether the stage refuses: the reply is in d->verdict then. */
static int
refuses(struct stage_run *s, enum restrict_stage stage)
{
	struct smtpd *d = s->d;

	return restrict_run(shared.set, stage, &s->facts, &s->host, &d->t.effects, &d->verdict) ==
	       RESTRICT_REJECT;
}

static int
refuses_client(struct stage_run *s)
{
	return refuses(s, RESTRICT_CLIENT) || refuses(s, RESTRICT_HELO) ||
	       refuses(s, RESTRICT_SENDER);
}

static const char *
conclude(struct stage_run *s, int refused)
{
	struct smtpd *d = s->d;

	if (!refused)
		refused = restrict_finish(&d->t.effects, &d->verdict) == RESTRICT_REJECT;
	else
		MEM_FREE(d->t.effects.defer_if_permit);
	MEM_FREE(d->t.effects.defer_if_reject);
	return refused ? buf_cstr(&d->verdict) : NULL;
}

const char *
smtpd_rules_mail(struct smtpd *d, const char *sender)
{
	struct stage_run s;

	if (d->kind != SMTPD_MX || d->conf->smtpd_delay_reject)
		return NULL;
	prepare(d, &s);
	s.facts.sender = sender;
	return conclude(&s, refuses_client(&s));
}

/* Users of this machine; mail that a filter gives back has passed them. */
static int
passes_no_lists(const struct smtpd *d)
{
	return d->kind == SMTPD_LOCAL || d->kind == SMTPD_REINJECT;
}

/* The lists of the stages. */
static int
lists_refuse_rcpt(struct smtpd *d, struct stage_run *s)
{
	if (passes_no_lists(d))
		return 0;
	if (d->kind == SMTPD_SUBMISSION)
		return refuses(s, RESTRICT_SUBMISSION);
	return (d->conf->smtpd_delay_reject && refuses_client(s)) || refuses(s, RESTRICT_RELAY) ||
	       refuses(s, RESTRICT_RECIPIENT);
}

const char *
smtpd_rules_rcpt(struct smtpd *d, const char *recipient)
{
	struct stage_run s;
	int refused;

	prepare(d, &s);
	s.facts.recipient = recipient;
	refused = lists_refuse_rcpt(d, &s);
	if (!refused && !(d->overrides & SMTPD_NO_UNKNOWN_RECIPIENT_CHECKS))
		refused = restrict_unlisted_rcpt(shared.set, &s.facts, &s.host, &d->t.effects,
				  &d->verdict) == RESTRICT_REJECT;
	return conclude(&s, refused);
}

static const char *
run_one(struct smtpd *d, enum restrict_stage stage)
{
	struct stage_run s;

	if (passes_no_lists(d))
		return NULL;
	prepare(d, &s);
	/* Of several recipients none stands for the message. */
	if (d->t.rcpt_count == 1)
		s.facts.recipient = d->t.first_rcpt;
	return conclude(&s, refuses(&s, stage));
}

const char *
smtpd_rules_data(struct smtpd *d)
{
	return run_one(d, RESTRICT_DATA);
}

const char *
smtpd_rules_message(struct smtpd *d)
{
	return run_one(d, RESTRICT_END_OF_DATA);
}

const char *
smtpd_rules_etrn(struct smtpd *d, const char *domain)
{
	const char *refusal;
	struct stage_run s;

	prepare(d, &s);
	s.facts.etrn = domain;
	d->etrn = domain; /* for policy servers */
	refusal = conclude(&s, refuses(&s, RESTRICT_CLIENT) || refuses(&s, RESTRICT_HELO) ||
				       refuses(&s, RESTRICT_ETRN));
	d->etrn = NULL;
	restrict_effects_free(&d->t.effects); /* they are about messages */
	return refusal;
}
