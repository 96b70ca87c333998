/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/smtpd_filter.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/ehlo.h"
#include "mta-lite/greylist.h"
#include "mta-lite/smtpd_dnsbl.h"
#include "mta-lite/policy.h"
#include "mta-lite/queue_store.h"
#include "mta-lite/smtpd_rules.h"
#include "mta-lite/smtpd_spf.h"
#include "mta-lite/words.h"

/* Policy servers and the greylist, as the restriction lists ask them. */

enum { POLICY_SERVERS_MAX = 16 };

/* A session's connections, one for each server that a list names. */
struct smtpd_policy {
	struct {
		char *spec;
		struct policy *policy;
	} servers[POLICY_SERVERS_MAX];
	size_t count;
	struct greylist *greylist;
	int greylist_failed;
};

static int
lists_name(const struct config *conf, const char *check)
{
	const struct conf_list *lists[] = {&conf->smtpd_client_restrictions,
		&conf->smtpd_helo_restrictions, &conf->smtpd_sender_restrictions,
		&conf->smtpd_relay_restrictions, &conf->smtpd_recipient_restrictions};
	size_t i;

	for (i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		if (words_have(lists[i], str_of(check)))
			return 1;
	}
	return 0;
}

static char *
greylist_dir(const struct config *conf)
{
	return mem_printf("%s/greylist", conf->queue_dir);
}

enum err
smtpd_policy_open(const struct config *conf)
{
	char *dir;
	enum err e = OK;

	if (!lists_name(conf, "greylist"))
		return OK;
	dir = greylist_dir(conf);
	e = queue_store_make_dir(conf, dir);
	if (e)
		log_event(LOGL_ERROR, "greylist.setup failed", "path", dir, "error", err_text(e),
			NULL);
	free(dir);
	return e;
}

void
smtpd_filter_sandbox(const struct config *conf, struct sandbox *sb)
{
	char *dir;

	if (!lists_name(conf, "greylist"))
		return;
	dir = greylist_dir(conf);
	sandbox_allow_path(sb, dir, SANDBOX_READ | SANDBOX_WRITE);
	free(dir);
}

void
smtpd_policy_stop(struct smtpd *d)
{
	struct smtpd_policy *p = d->policy;
	size_t i;

	if (p == NULL)
		return;
	for (i = 0; i < p->count; i++) {
		policy_free(&p->servers[i].policy);
		free(p->servers[i].spec);
	}
	greylist_close(&p->greylist);
	MEM_FREE(d->policy);
}

static struct smtpd_policy *
session_policy(struct smtpd *d)
{
	if (d->policy == NULL)
		d->policy = MEM_NEW(struct smtpd_policy);
	return d->policy;
}

/* The connection to a server, made when it is first asked. */
static enum err
find_server(struct smtpd *d, const char *spec, struct policy **out)
{
	struct smtpd_policy *p = session_policy(d);
	size_t i;
	enum err e;

	for (i = 0; i < p->count; i++) {
		if (strcmp(p->servers[i].spec, spec) == 0) {
			*out = p->servers[i].policy;
			return OK;
		}
	}
	if (p->count == POLICY_SERVERS_MAX)
		return E_TOOBIG;
	e = policy_create(
		str_of(spec), (int)d->conf->smtpd_policy_service_timeout, &p->servers[i].policy);
	if (e)
		return e;
	p->servers[i].spec = mem_strdup(spec);
	*out = p->servers[i].policy;
	p->count++;
	return OK;
}

static const char *
state_word(enum restrict_stage stage)
{
	switch (stage) {
	case RESTRICT_DATA:
		return "DATA";
	case RESTRICT_END_OF_DATA:
		return "END-OF-MESSAGE";
	case RESTRICT_ETRN:
		return "ETRN";
	default:
		/* With smtpd_delay_reject all of them run at RCPT. */
		return "RCPT";
	}
}

/* The attributes that Postfix sends (SMTPD_POLICY_README). */
static void
put_request(struct smtpd *d, enum restrict_stage stage, struct buf *out)
{
	const struct session_info *info = &d->session->info;
	char number[32], *blank,
		*tls = info->tls && info->tls_text ? mem_strdup(info->tls_text) : NULL;

	policy_put(out, "request", "smtpd_access_policy");
	policy_put(out, "protocol_state", state_word(stage));
	policy_put(out, "protocol_name", d->esmtp ? "ESMTP" : "SMTP");
	policy_put(out, "client_address", d->peer_ip);
	policy_put(out, "client_name", smtpd_names(d)->name);
	(void)snprintf(number, sizeof(number), "%u", (unsigned)net_addr_port(&d->peer));
	policy_put(out, "client_port", number);
	policy_put(out, "reverse_client_name", smtpd_names(d)->reverse);
	policy_put(out, "helo_name", d->helo);
	policy_put(out, "sender", d->t.mail.from.address);
	policy_put(out, "recipient",
		d->t.rcpt_now	       ? d->t.rcpt_now
		: d->t.rcpt_count == 1 ? d->t.first_rcpt
				       : "");
	(void)snprintf(number, sizeof(number), "%u",
		stage == RESTRICT_DATA || stage == RESTRICT_END_OF_DATA ? d->t.rcpt_count : 0);
	policy_put(out, "recipient_count", number);
	policy_put(out, "queue_id", stage == RESTRICT_END_OF_DATA ? d->t.entry.id : "");
	(void)snprintf(
		number, sizeof(number), "%s.%08llx", info->id, (unsigned long long)d->t.started_ms);
	policy_put(out, "instance", number);
	(void)snprintf(number, sizeof(number), "%llu",
		(unsigned long long)(d->t.spool.size ? d->t.spool.size : d->t.mail.size));
	policy_put(out, "size", number);
	policy_put(out, "etrn_domain", d->etrn ? d->etrn : "");
	policy_put(out, "stress", "");
	policy_put(out, "sasl_method", d->user ? "PLAIN" : "");
	policy_put(out, "sasl_username", d->user);
	policy_put(out, "sasl_sender", "");
	policy_put(out, "ccert_subject", "");
	policy_put(out, "ccert_issuer", "");
	policy_put(out, "ccert_fingerprint", info->cert_fingerprint);
	blank = tls ? strchr(tls, ' ') : NULL;
	if (blank)
		*blank = '\0';
	policy_put(out, "encryption_protocol", tls);
	policy_put(out, "encryption_cipher", blank ? blank + 1 : "");
	policy_put(out, "server_address", "");
	policy_put(out, "policy_context", "");
	free(tls);
}

enum err
smtpd_policy_ask(void *arg, const char *service, enum restrict_stage stage, struct buf *action)
{
	struct smtpd *d = arg;
	struct buf request = {0};
	struct policy *p;
	enum err e = find_server(d, service, &p);

	if (e == OK) {
		put_request(d, stage, &request);
		e = policy_ask(p, &request, action);
		buf_free(&request);
	}
	if (e == OK)
		return OK;
	if (e == E_PARSE || e == E_TOOBIG)
		log_event(LOGL_ERROR, "policy.setup failed", "server", service, "error",
			err_text(e), NULL);
	buf_reset(action);
	return buf_add_cstr(action, d->conf->smtpd_policy_service_default_action);
}

enum err
smtpd_greylist_ask(void *arg, const char *recipient, int64_t *wait_s)
{
	struct smtpd *d = arg;
	struct smtpd_policy *p = session_policy(d);
	struct greylist_settings set = {
		.delay_s = d->conf->greylist_delay / 1000,
		.retry_window_s = d->conf->greylist_retry_window / 1000,
		.lifetime_s = d->conf->greylist_lifetime / 1000,
		.client_passes = (unsigned)d->conf->greylist_client_passes,
	};

	*wait_s = 0;
	if (smtpd_dnsbl_is_good(d))
		return OK;
	if (p->greylist == NULL && !p->greylist_failed) {
		char *dir = greylist_dir(d->conf);

		p->greylist_failed = greylist_open(dir, &set, &p->greylist) != OK;
		free(dir);
	}
	if (p->greylist == NULL)
		return E_IO;
	return greylist_check(p->greylist, &d->peer, str_of(d->t.mail.from.address),
		str_of(recipient), (int64_t)time(NULL), wait_s);
}
