/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/smtpd_proxy.h"

#include "mta-lite/smtpd_rewrite.h"

#include <stdlib.h>
#include <string.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/net.h"
#include "mta-lite/ehlo.h"
#include "mta-lite/endpoint.h"

int
smtpd_proxy_is_set(const struct smtpd *d)
{
	return d->conf->smtpd_proxy_filter[0] &&
	       (d->kind == SMTPD_MX || d->kind == SMTPD_SUBMISSION);
}

/* "127.0.0.1:10024", "inet:localhost:10024", "[::1]:10024" */
static enum err
parse_address(const struct smtpd *d, struct net_addr *out)
{
	struct str text = str_of(d->conf->smtpd_proxy_filter);
	char *endpoint;
	enum err e;

	if (str_starts_i(text, "inet:"))
		text = str_make(text.p + 5, text.len - 5);
	endpoint = mem_printf("inet:%.*s", STR_ARG(text));
	e = endpoint_parse(str_of(endpoint), out);
	free(endpoint);
	return e;
}

char *
smtpd_proxy_hop(const struct smtpd *d)
{
	struct net_addr addr;
	char ip[NET_ADDR_TEXT];

	if (parse_address(d, &addr))
		return mem_printf(
			"smtp:%s", d->conf->smtpd_proxy_filter); /* waits until it is mended */
	net_addr_format_ip(&addr, ip);
	return mem_printf("smtp:[%s]:%u", ip, (unsigned)net_addr_port(&addr));
}

/* Greeted. NULL: *why is set. */
static struct smtp_client *
open_filter(struct smtpd *d, int64_t deadline, struct smtp_answer *why)
{
	const char *ehlo =
		d->conf->smtpd_proxy_ehlo[0] ? d->conf->smtpd_proxy_ehlo : smtp_hostname(d->conf);
	struct smtp_client *c;
	struct net_addr addr;
	enum err e = parse_address(d, &addr);
	int fd;

	if (e == OK)
		e = net_connect(&addr, (int)d->conf->smtpd_proxy_timeout, &fd);
	if (e) {
		smtp_answer_set(why, QUEUE_PENDING, "4.3.0", "connect: %s", err_text(e));
		return NULL;
	}
	c = smtp_client_create(fd, ehlo, 0);
	smtp_client_set_deadline(c, deadline);
	if (smtp_client_hello(c, why))
		smtp_client_free(&c);
	return c;
}

static char *
unavailable(struct smtpd *d, const char *why)
{
	log_event(LOGL_WARN, "smtpd.proxy failed", "queue_id", d->t.entry.id, "server",
		d->conf->smtpd_proxy_filter, "error", why, NULL);
	return mem_strdup("451 4.3.0 The content filter is not available, try again later");
}

/* What the filter said of the message is the client's answer; what went wrong with it is not. */
static char *
reply_of(struct smtpd *d, const struct smtp_answer *a)
{
	int class = a->code / 100;

	/* It cannot go there as it is. */
	if (a->code == 0 && a->status == QUEUE_FAILED)
		return mem_printf("550 %s %s", a->dsn, a->text);
	/* 421 would end the client's session as well. */
	if (a->code == 421 || (class != 2 && class != 4 && class != 5))
		return unavailable(d, a->text);
	return mem_strdup(a->text);
}

/* Of all recipients there is one answer: the first that is no success, else the last. */
static const struct smtp_answer *
verdict_of(const struct smtp_answer *answers, size_t n)
{
	size_t i;

	for (i = 0; i + 1 < n; i++) {
		if (answers[i].status == QUEUE_PENDING || answers[i].status == QUEUE_FAILED)
			break;
	}
	return &answers[i];
}

static void
take_answers(
	struct queue_entry *q, const struct smtp_answer *answers, const size_t *index, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		queue_rcpt_set(&q->rcpts[index[i]], answers[i].status, str_of(answers[i].dsn),
			str_of(answers[i].text), STR("filter"));
}

/* A message on its way to the filter: its recipients that are pending. */
struct pending {
	struct smtp_send_rcpt *rcpts;
	struct smtp_answer *answers;
	size_t *index; /* in the entry */
	size_t count;
};

static void
collect(const struct queue_entry *q, struct pending *p)
{
	size_t i, room = q->rcpt_count + 1;

	p->rcpts = mem_zalloc(room * sizeof(*p->rcpts));
	p->answers = mem_zalloc(room * sizeof(*p->answers));
	p->index = mem_zalloc(room * sizeof(*p->index));
	p->count = 0;
	for (i = 0; i < q->rcpt_count; i++) {
		const struct queue_rcpt *r = &q->rcpts[i];

		if (r->status != QUEUE_PENDING)
			continue;
		p->rcpts[p->count] = (struct smtp_send_rcpt){r->address, r->orcpt, r->notify};
		p->index[p->count++] = i;
	}
}

static void
forget(struct pending *p)
{
	size_t i;

	for (i = 0; i < p->count; i++)
		smtp_answer_free(&p->answers[i]);
	free(p->answers);
	free(p->rcpts);
	free(p->index);
}

/* What it answered to the message, which has one or more recipients. */
static char *
offer(struct smtpd *d, struct smtp_client *c, const struct smtp_send *m, struct pending *p)
{
	int sent;

	(void)smtp_client_send(c, m, p->answers, &sent);
	take_answers(&d->t.entry, p->answers, p->index, p->count);
	return reply_of(d, verdict_of(p->answers, p->count));
}

char *
smtpd_proxy_send(struct smtpd *d, uint64_t size,
	enum err (*read)(void *arg, uint64_t offset, void *p, size_t size, struct str *out),
	void *arg)
{
	const struct queue_entry *q = &d->t.entry;
	char *xforward = mem_printf("%s IDENT=%s", q->xforward, q->id), *reply;
	char *sender = smtpd_srs_sender(d);
	struct smtp_answer why = {0};
	struct smtp_client *c;
	struct pending p;

	collect(q, &p);
	c = open_filter(d, io_now_ms() + d->conf->smtpd_proxy_timeout, &why);
	if (c) {
		const struct smtp_send m = {.sender = sender,
			.envid = q->envid,
			.ret = q->ret,
			.has_8bit = (q->flags & QUEUE_8BIT) != 0,
			.flags = q->flags,
			.priority = q->priority,
			.all_or_none = 1,
			.xforward = xforward,
			.size = size,
			.rcpts = p.rcpts,
			.rcpt_count = p.count,
			.read = read,
			.arg = arg};

		reply = offer(d, c, &m, &p);
	} else {
		reply = unavailable(d, why.text);
	}
	smtp_client_free(&c);
	smtp_answer_free(&why);
	forget(&p);
	free(sender);
	free(xforward);
	return reply;
}
