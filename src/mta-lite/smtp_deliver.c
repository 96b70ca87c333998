/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/smtp_deliver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/ehlo.h"

enum { ADDRESSES_PER_HOST = 4, ADDRESSES_MAX = 8, SESSIONS_MAX = 3, NOTICE_WAIT_MS = 10000 };

struct delivery {
	struct smtp_session *s;
	struct agent *a;
	struct str text; /* the hop that is being tried, as it is written */
	struct nexthop hop;
	struct tls_policy policy;
	int mx_secure;
	unsigned tried; /* addresses */
	unsigned sessions; /* in which mail was offered */
	struct smtp_answer last; /* why the last host was of no use */
	int done;
};

static uint32_t
next_random(void)
{
	uint32_t n;

	io_random(&n, sizeof(n));
	return n;
}

void
smtp_session_close(struct smtp_session *s)
{
	smtp_client_free(&s->client);
	free(s->hop);
	s->hop = NULL;
	/* What one server said is told even if another one took the mail. */
	if (!s->transcript.noted)
		transcript_reset(&s->transcript);
}

void
smtp_session_notice(struct smtp_session *s, struct agent *a)
{
	struct buf subject = {0}, text = {0}, body = {0};

	if (!s->transcript.noted)
		return;
	buf_printf(&subject, "SMTP client: errors from %s[%s]", s->host, s->ip);
	buf_printf(&text,
		"This is what %s and a server said to each other, since one of them did not\r\n"
		"understand the other (protocol in notify_classes).\r\n\r\n"
		"Server:  %s[%s]\r\nMessage: %s\r\n\r\n",
		smtp_hostname(s->out->conf), s->host, s->ip, a->job.id);
	transcript_write(&s->transcript, &text);
	ipc_put_str(&body, buf_str(&subject));
	ipc_put_str(&body, buf_str(&text));
	(void)ipc_send(a->channel, JOB_NOTICE, 0, buf_str(&body), NULL, 0, NOTICE_WAIT_MS);
	transcript_reset(&s->transcript);
	buf_free(&subject);
	buf_free(&text);
	buf_free(&body);
}

/*
 * Offers the recipients without a final answer on the open connection. Afterwards d->done, unless
 * another server may do better for some of them.
 */
static void
offer(struct delivery *d)
{
	struct smtp_session *s = d->s;
	int sent = 0;
	enum err e;

	d->sessions++;
	agent_forget_pending(d->a);
	e = smtp_client_send(s->client, &d->a->send, d->a->answers, &sent);
	agent_note_mta(d->a, s->host);
	log_event(LOGL_INFO, "smtp.session", "queue_id", d->a->job.id, "relay", s->host, "ip",
		s->ip, "tls",
		smtp_client_tls_text(s->client)[0] ? smtp_client_tls_text(s->client) : NULL,
		"rcpts", log_u64(d->a->job.rcpt_count), NULL);
	if (e || !smtp_client_is_usable(s->client))
		smtp_session_close(s);
	if (e && !sent) {
		/* Nothing was handed over; another host may be better. */
		smtp_answer_set(&d->last, QUEUE_PENDING, "4.4.2", "connection to %s %s: %s",
			s->host, s->ip, err_text(e));
		return;
	}
	/* What was sent and not answered may have arrived: no second copy by another way. */
	d->done = e != OK || !agent_has_pending(d->a) || d->sessions >= SESSIONS_MAX;
}

static void
try_address(struct delivery *d, const char *host, const struct net_addr *addr,
	const struct tlsa_set *tlsa)
{
	struct smtp_session *s = d->s;
	char *hop = str_dup(d->text);
	struct smtp_target target = {
		.hop = hop,
		.name = d->hop.name,
		.host = host,
		.addr = addr,
		.tlsa = tlsa,
		.mx_secure = d->mx_secure,
		.by_mx = !d->hop.no_mx && !d->a->job.relayhost,
		.lmtp = d->a->job.lmtp,
		.flags = d->a->job.flags,
		.policy = d->policy,
		.transcript = conf_list_has(&s->out->conf->notify_classes, STR("protocol"))
				      ? &s->transcript
				      : NULL,
	};

	d->tried++;
	smtp_session_close(s);
	(void)snprintf(s->host, sizeof(s->host), "%s", host);
	net_addr_format_ip(addr, s->ip);
	s->client = smtp_connect(s->out, &target, &d->last);
	if (s->client) {
		s->hop = mem_strdup(d->a->job.nexthop);
		s->flags = d->a->job.flags & SMTP_SESSION_FLAGS;
		offer(d);
	}
	free(hop);
}

static int
wants_tlsa(const struct delivery *d)
{
	int dane = d->policy.level == TLS_LEVEL_DANE || d->policy.level == TLS_LEVEL_DANE_ONLY;

	return dns_validates(d->s->out->dns) && (dane || (d->a->job.flags & QUEUE_REQUIRETLS)) &&
	       !d->a->job.lmtp;
}

static void
try_host(struct delivery *d, const char *host)
{
	struct net_addr v[ADDRESSES_PER_HOST];
	struct tlsa_set *tlsa = NULL;
	struct dns_trust trust;
	size_t n, i;

	switch (dns_addresses(
		d->s->out->dns, host, d->hop.port, v, ADDRESSES_PER_HOST, &n, &trust)) {
	case DNS_FOUND:
		break;
	case DNS_FAILED:
		smtp_answer_set(&d->last, QUEUE_PENDING, "4.4.3",
			"the address of %s could not be looked up", host);
		return;
	default:
		/* Another host of the list may do; if none does, it is final (5.4.4). */
		if (d->last.text == NULL)
			smtp_answer_set(
				&d->last, QUEUE_FAILED, "5.4.4", "host %s has no address", host);
		return;
	}
	if (wants_tlsa(d)) {
		tlsa = MEM_NEW(struct tlsa_set);
		dns_tlsa(d->s->out->dns, host, &trust, d->hop.port, tlsa);
	}
	for (i = 0; i < n && !d->done && d->tried < ADDRESSES_MAX; i++)
		try_address(d, host, &v[i], tlsa);
	if (tlsa)
		tlsa_set_free(tlsa);
	free(tlsa);
}

/* 0: d->last says why there are no hosts. */
static int
find_hosts(struct delivery *d, struct mx_host v[MX_MAX], size_t *n)
{
	const struct smtp_out *o = d->s->out;
	const char *domain = d->hop.name;
	struct net_addr addr;
	size_t found;

	switch (dns_mx(o->dns, domain, v, n, &d->mx_secure)) {
	case DNS_FOUND:
		break;
	case DNS_NO_DATA:
		/* RFC 5321 section 5.1: without MX the domain is its own host. */
		*n = 1;
		v[0].preference = 0;
		memcpy(v[0].name, domain, sizeof(v[0].name));
		if (dns_addresses(o->dns, domain, 25, &addr, 1, &found, NULL) == DNS_NO_DATA) {
			smtp_answer_set(&d->last, QUEUE_FAILED, "5.4.4",
				"domain %s has no mail server", domain);
			return 0;
		}
		break;
	case DNS_NO_NAME:
		smtp_answer_set(
			&d->last, QUEUE_FAILED, "5.1.2", "domain %s does not exist", domain);
		return 0;
	case DNS_FAILED:
		smtp_answer_set(&d->last, QUEUE_PENDING, "4.4.3",
			"the mail servers of %s could not be looked up", domain);
		return 0;
	}
	if (mx_is_null(v, *n)) {
		smtp_answer_set(&d->last, QUEUE_FAILED, "5.1.10",
			"domain %s accepts no mail (null MX)", domain);
		return 0;
	}
	mx_order(v, *n, next_random);
	*n = mx_drop_self(v, *n, smtp_hostname(o->conf));
	if (*n == 0) {
		smtp_answer_set(&d->last, QUEUE_FAILED, "5.4.6",
			"mail for %s loops back to this server", domain);
		return 0;
	}
	return 1;
}

/* One next hop of what may be a list. */
static void
try_hop(struct delivery *d)
{
	uint16_t port = d->a->job.lmtp ? 24 : (uint16_t)d->s->out->conf->smtp_port;
	struct str text = d->text;
	char *hop = str_dup(text);
	struct mx_host v[MX_MAX];
	size_t n, i;

	if (d->a->job.lmtp && str_starts_i(text, "inet:"))
		text = str_make(text.p + 5, text.len - 5);
	if (nexthop_parse(text, port, &d->hop)) {
		smtp_answer_set(&d->last, d->a->job.relayhost ? QUEUE_PENDING : QUEUE_FAILED,
			"5.4.4", "next hop %s cannot be understood", hop);
	} else if (smtp_out_policy(d->s->out, hop, d->hop.name, &d->policy)) {
		smtp_answer_set(&d->last, QUEUE_PENDING, "4.3.0",
			"the TLS policy for %s is not to be had", hop);
	} else if (d->hop.literal || d->hop.no_mx || d->a->job.lmtp) {
		d->mx_secure = 1; /* the administrator's word */
		if (d->hop.literal)
			try_address(d, d->hop.name, &d->hop.addr, NULL);
		else
			try_host(d, d->hop.name);
	} else if (find_hosts(d, v, &n)) {
		for (i = 0; i < n && !d->done && d->tried < ADDRESSES_MAX; i++)
			try_host(d, v[i].name);
	}
	free(hop);
}

/* Separated by blanks or commas; the next is for when the one before cannot be reached. */
static void
try_list(struct delivery *d, struct str list)
{
	while (list.p && !d->done) {
		size_t end = 0;

		while (end < list.len && list.p[end] != ',' && !str_is_space(list.p[end]))
			end++;
		d->text = str_make(list.p, end);
		list = end < list.len ? str_make(list.p + end + 1, list.len - end - 1)
				      : str_make(NULL, 0);
		if (d->text.len > 0) {
			d->tried = 0;
			try_hop(d);
		}
	}
}

/* Whether this message may go over the connection that the one before left open. */
static int
can_reuse(const struct smtp_session *s, const struct job *j)
{
	return s->client && smtp_client_is_usable(s->client) && strcmp(s->hop, j->nexthop) == 0 &&
	       (j->flags & SMTP_SESSION_FLAGS) == s->flags;
}

static void
give_up(struct delivery *d)
{
	/* A relay of ours or a server that is unwell is no fault of the address. */
	if (d->last.status == QUEUE_FAILED && (d->a->job.relayhost || d->tried > 0) &&
		strcmp(d->last.dsn, "5.4.6") != 0)
		d->last.status = QUEUE_PENDING;
	if (d->last.text == NULL)
		smtp_answer_set(&d->last, QUEUE_PENDING, "4.4.1", "no server was reached");
	if (d->last.status == QUEUE_PENDING)
		d->last.dsn[0] = '4';
	agent_answer_rest(d->a, &d->last);
	/* Nobody there to talk to: others for this destination need not find that out as well. */
	d->a->site_failed = d->last.status == QUEUE_PENDING && d->sessions == 0;
}

void
smtp_deliver(struct smtp_session *s, struct agent *a)
{
	struct delivery d = {.s = s, .a = a};
	struct smtp_edited *edited;

	/* What goes to a mailbox is not forwarded; from a filter it comes back. */
	if (!a->job.lmtp || a->job.filter)
		agent_rewrite_sender(a, s->out->srs);
	if (smtp_edit_message(&s->out->edit, a, &edited, &d.last)) {
		agent_answer_rest(a, &d.last);
		d.done = 1;
	}
	if (!d.done && can_reuse(s, &a->job)) {
		transcript_reset(&s->transcript);
		offer(&d);
		d.sessions = d.done ? d.sessions : 0;
	}
	if (!d.done)
		try_list(&d, str_of(a->job.nexthop));
	/* Past a filter that is away no mail goes. */
	if (!d.done && !a->job.filter && s->out->conf->smtp_fallback_relay[0])
		try_list(&d, str_of(s->out->conf->smtp_fallback_relay));
	if (!d.done)
		give_up(&d);
	smtp_edited_free(&edited);
	smtp_answer_free(&d.last);
}
