/* SPDX-License-Identifier: MIT */
#include "mta-lite/dns_many.h"

#include <arpa/nameser.h>
#include <event2/event.h>
#include <string.h>
#include <sys/types.h>
#include <unbound-event.h>
#include <unbound.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/dns_private.h"

struct dns_many {
	struct event_base *base; /* of the process pid */
	struct ub_ctx *ctx;
	pid_t pid;
	size_t waiting; /* questions without an answer */
};

enum err
dns_many_open(const struct config *conf, struct dns_many **out)
{
	struct dns_many *d = MEM_NEW(struct dns_many);

	*out = NULL;
	d->pid = getpid();
	d->base = event_base_new();
	d->ctx = d->base ? ub_ctx_create_event(d->base) : NULL;
	if (d->ctx == NULL || dns_configure(d->ctx, conf)) {
		log_event(LOGL_ERROR, "dns.setup failed", "what", "context", NULL);
		dns_many_close(&d);
		return E_IO;
	}
	*out = d;
	return OK;
}

void
dns_many_close(struct dns_many **d)
{
	if (*d == NULL)
		return;
	if ((*d)->ctx)
		ub_ctx_delete((*d)->ctx);
	if ((*d)->base)
		event_base_free((*d)->base);
	MEM_FREE(*d);
}

static void
take_addresses(struct dns_question *q, const unsigned char *packet, int len)
{
	ns_msg msg;
	ns_rr rr;
	int i;

	if (ns_initparse(packet, len, &msg) != 0)
		return;
	q->verdict = ns_msg_getflag(msg, ns_f_rcode) == ns_r_nxdomain ? DNS_NO_NAME : DNS_NO_DATA;
	for (i = 0; i < ns_msg_count(msg, ns_s_an) && q->count < DNS_MANY_ADDRESSES_MAX; i++) {
		if (ns_parserr(&msg, ns_s_an, i, &rr) != 0)
			return;
		if (ns_rr_type(rr) == ns_t_a && ns_rr_rdlen(rr) == 4)
			memcpy(q->v[q->count++], ns_rr_rdata(rr), 4);
	}
	if (q->count > 0)
		q->verdict = DNS_FOUND;
}

static void
on_answer(
	void *arg, int rcode, void *packet, int len, int sec, char *why_bogus, int was_ratelimited)
{
	struct dns_question *q = arg;

	(void)why_bogus;
	(void)was_ratelimited;
	q->waiting = 0;
	if (rcode == ns_r_nxdomain)
		q->verdict = DNS_NO_NAME;
	else if (rcode == ns_r_noerror && sec != 1)
		take_addresses(q, packet, len);
	if (--q->owner->waiting == 0)
		event_base_loopbreak(q->owner->base);
}

/* A child has closed the descriptors of its parent's loop, and must not touch it any more. */
static enum err
use_own_loop(struct dns_many *d)
{
	struct event_base *base;

	if (d->pid == getpid())
		return OK;
	base = event_base_new();
	if (base == NULL || ub_ctx_set_event(d->ctx, base) != 0) {
		log_event(LOGL_WARN, "dns.setup failed", "what", "loop", NULL);
		return E_IO;
	}
	d->base = base;
	d->pid = getpid();
	return OK;
}

static void
on_time(evutil_socket_t fd, short what, void *arg)
{
	struct dns_many *d = arg;

	(void)fd;
	(void)what;
	event_base_loopbreak(d->base);
}

void
dns_many_ask(struct dns_many *d, struct dns_question *q, size_t n, int timeout_ms)
{
	struct timeval tv = {timeout_ms / 1000, (suseconds_t)(timeout_ms % 1000) * 1000};
	struct event *timer;
	size_t i;

	for (i = 0; i < n; i++) {
		q[i] = (struct dns_question){
			.name = q[i].name, .verdict = DNS_FAILED, .owner = d, .waiting = 1};
	}
	if (use_own_loop(d))
		return;
	d->waiting = 0;
	for (i = 0; i < n; i++) {
		d->waiting++;
		if (ub_resolve_event(
			    d->ctx, q[i].name, ns_t_a, ns_c_in, &q[i], on_answer, &q[i].id) != 0) {
			q[i].waiting = 0;
			d->waiting--;
		}
	}
	timer = evtimer_new(d->base, on_time, d);
	if (d->waiting > 0 && timer) {
		event_add(timer, &tv);
		event_base_dispatch(d->base);
	}
	if (timer)
		event_free(timer);
	for (i = 0; i < n; i++) {
		if (q[i].waiting)
			(void)ub_cancel(d->ctx, q[i].id);
	}
}
