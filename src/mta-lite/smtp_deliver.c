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

enum { ADDRESSES_PER_HOST = 4, ADDRESSES_MAX = 8 };

struct delivery {
	struct agent *a;
	struct dns *dns;
	SSL_CTX *tls;
	struct nexthop hop;
	unsigned tried;
	struct smtp_answer last; /* why the last host was of no use */
	char *mta;
	int done;
};

static uint32_t
next_random(void)
{
	uint32_t n;

	io_random(&n, sizeof(n));
	return n;
}

/* A connection with greeting and EHLO done; NULL: d->last says why not. */
static struct smtp_client *
open_host(struct delivery *d, const char *host, const struct net_addr *addr)
{
	const struct config *conf = d->a->conf;
	char text[NET_ADDR_TEXT];
	struct smtp_client *c;
	enum err e;
	int fd;

	net_addr_format(addr, text);
	e = net_connect(addr, (int)conf->smtp_connect_timeout, &fd);
	if (e) {
		smtp_answer_set(&d->last, QUEUE_PENDING, e == E_TIMEOUT ? "4.4.2" : "4.4.1",
			"connect to %s %s: %s", host, text, err_text(e));
		return NULL;
	}
	c = smtp_client_create(fd, smtp_hostname(conf), 0);
	if (smtp_client_hello(c, &d->last))
		smtp_client_free(&c);
	return c;
}

/* Encrypts as the settings want it. 0: the connection is gone, *plain_next asks for one without. */
static int
secure(struct delivery *d, struct smtp_client **c, const char *host, int *plain_next)
{
	const char *level = d->a->conf->smtp_tls_security_level;
	int must = strcmp(level, "encrypt") == 0;

	*plain_next = 0;
	if (strcmp(level, "none") == 0)
		return 1;
	if (!(smtp_client_extensions(*c) & SMTP_EXT_STARTTLS)) {
		if (!must)
			return 1;
		smtp_answer_set(&d->last, QUEUE_PENDING, "4.7.4",
			"TLS is required, and %s does not offer it", host);
		smtp_client_free(c);
		return 0;
	}
	if (smtp_client_starttls(*c, d->tls, host, &d->last) == OK)
		return 1;
	smtp_client_free(c);
	*plain_next = !must;
	log_event(LOGL_WARN, "smtp.tls failed", "relay", host, "status", d->last.text, "next",
		must ? "later" : "plaintext", NULL);
	return 0;
}

static void
log_sent(struct delivery *d, const struct smtp_client *c, const char *text)
{
	log_event(LOGL_INFO, "smtp.session", "relay", d->mta, "ip", text, "tls",
		smtp_client_tls_text(c)[0] ? smtp_client_tls_text(c) : NULL, "rcpts",
		log_u64(d->a->job.rcpt_count), NULL);
}

static void
try_address(struct delivery *d, const char *host, const struct net_addr *addr)
{
	struct smtp_client *c = open_host(d, host, addr);
	char text[NET_ADDR_TEXT];
	int plain, sent = 0;
	enum err e;

	d->tried++;
	(void)snprintf(d->mta, DNS_NAME_SIZE, "%s", host);
	if (c && !secure(d, &c, host, &plain) && plain)
		c = open_host(d, host, addr);
	if (c == NULL)
		return;
	net_addr_format_ip(addr, text);
	agent_forget_answers(d->a);
	e = smtp_client_send(c, &d->a->send, d->a->answers, &sent);
	log_sent(d, c, text);
	smtp_client_free(&c);
	if (e && !sent) {
		/* Nothing was handed over; another host may be better. */
		smtp_answer_set(&d->last, QUEUE_PENDING, "4.4.2", "connection to %s %s: %s", host,
			text, err_text(e));
		return;
	}
	d->done = 1;
}

static void
try_host(struct delivery *d, const char *host)
{
	struct net_addr v[ADDRESSES_PER_HOST];
	size_t n, i;

	switch (dns_addresses(d->dns, host, d->hop.port, v, ADDRESSES_PER_HOST, &n)) {
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
	for (i = 0; i < n && !d->done && d->tried < ADDRESSES_MAX; i++)
		try_address(d, host, &v[i]);
}

/* 0: d->last says why there are no hosts. */
static int
find_hosts(struct delivery *d, struct mx_host v[MX_MAX], size_t *n)
{
	const char *domain = d->hop.name;
	struct net_addr addr;
	size_t found;

	switch (dns_mx(d->dns, domain, v, n)) {
	case DNS_FOUND:
		break;
	case DNS_NO_DATA:
		/* RFC 5321 section 5.1: without MX the domain is its own host. */
		*n = 1;
		v[0].preference = 0;
		memcpy(v[0].name, domain, sizeof(v[0].name));
		if (dns_addresses(d->dns, domain, 25, &addr, 1, &found) == DNS_NO_DATA) {
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
	*n = mx_drop_self(v, *n, smtp_hostname(d->a->conf));
	if (*n == 0) {
		smtp_answer_set(&d->last, QUEUE_FAILED, "5.4.6",
			"mail for %s loops back to this server", domain);
		return 0;
	}
	return 1;
}

static void
try_hop(struct delivery *d)
{
	struct mx_host v[MX_MAX];
	size_t n, i;

	if (d->hop.literal) {
		try_address(d, d->hop.name, &d->hop.addr);
	} else if (d->hop.no_mx) {
		try_host(d, d->hop.name);
	} else if (find_hosts(d, v, &n)) {
		for (i = 0; i < n && !d->done && d->tried < ADDRESSES_MAX; i++)
			try_host(d, v[i].name);
	}
}

void
smtp_deliver(struct agent *a, struct dns *dns, SSL_CTX *tls, char *mta)
{
	struct delivery d = {.a = a, .dns = dns, .tls = tls, .mta = mta};

	mta[0] = '\0';
	if (nexthop_parse(str_of(a->job.nexthop), (uint16_t)a->conf->smtp_port, &d.hop))
		smtp_answer_set(&d.last, a->job.relayhost ? QUEUE_PENDING : QUEUE_FAILED, "5.4.4",
			"next hop %s cannot be understood", a->job.nexthop);
	else
		try_hop(&d);
	if (!d.done) {
		/* A relay of ours or a server that is unwell is no fault of the address. */
		if (d.last.status == QUEUE_FAILED && (a->job.relayhost || d.tried > 0))
			d.last.status = QUEUE_PENDING;
		if (d.last.text == NULL)
			smtp_answer_set(&d.last, QUEUE_PENDING, "4.4.1", "no server was reached");
		if (d.last.status == QUEUE_PENDING)
			d.last.dsn[0] = '4';
		agent_forget_answers(a);
		agent_answer_all(a, &d.last);
	}
	smtp_answer_free(&d.last);
}
