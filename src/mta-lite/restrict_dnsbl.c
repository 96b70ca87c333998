/* SPDX-License-Identifier: MIT */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "mta-lite/dnsbl.h"
#include "mta-lite/restrict_private.h"
#include "mta-lite/words.h"

/* DNS lists of addresses and of names, of the bad and of the good (RFC 5782). */

enum { DNSBL_ANSWERS_MAX = 32 };

/* OK: listed; E_NOTFOUND; E_TEMPFAIL. */
static enum err
ask_list(struct restrict_run *r, const struct check *c, const char *query)
{
	const struct dns_source *dns = &r->host->dns;
	struct net_addr v[DNSBL_ANSWERS_MAX];
	size_t n, i;

	switch (dns->addresses(dns->arg, query, 0, v, DNSBL_ANSWERS_MAX, &n)) {
	case DNS_FOUND:
		break;
	case DNS_FAILED:
		return E_TEMPFAIL;
	default:
		return E_NOTFOUND;
	}
	for (i = 0; i < n; i++) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)&v[i].sa;
		unsigned char ip[4];

		memcpy(ip, &in->sin_addr, 4);
		/* What answers from outside of 127/8 is a parked domain, and no list. */
		if (c->filter ? dnsbl_filter_matches(c->filter, ip) : ip[0] == 127)
			return OK;
	}
	return E_NOTFOUND;
}

static char *
reason_of(struct restrict_run *r, const char *query)
{
	const struct dns_source *dns = &r->host->dns;
	struct buf text = BUF_INIT(DNS_TEXT_MAX);
	char *reason = NULL;
	size_t n;

	if (dns->txt(dns->arg, query, &text, &n) == DNS_FOUND && n > 0)
		reason = mem_strndup(buf_cstr(&text), strnlen(buf_cstr(&text), 400));
	buf_free(&text);
	return reason;
}

/* Postfix's default_rbl_reply. */
static enum restrict_verdict
blocked(struct restrict_run *r, const struct check *c, const char *query, const char *what,
	const char *class)
{
	char *reason = reason_of(r, query);
	char *text = mem_printf("Service unavailable; %s [%s] blocked using %s%s%s", class, what,
		c->text, reason ? "; " : "", reason ? reason : "");
	enum restrict_verdict v = restrict_reject_text(r, 554, "5.7.1", text);

	free(reason);
	free(text);
	return v;
}

static char *
client_query(struct restrict_run *r, const char *zone)
{
	struct buf query = BUF_INIT(DNS_NAME_SIZE);

	if (dns_reverse_text(r->facts->client, &query) || buf_printf(&query, ".%s", zone)) {
		buf_free(&query);
		return NULL;
	}
	return buf_steal(&query);
}

/* A list that cannot be asked does not hold up mail. */
static enum restrict_verdict
reject_client(struct restrict_run *r, const struct check *c)
{
	char *query = client_query(r, c->text);
	enum restrict_verdict v = RESTRICT_DUNNO;

	if (query && ask_list(r, c, query) == OK)
		v = blocked(r, c, query, r->facts->client_ip, restrict_class_client);
	free(query);
	return v;
}

/* A list of the good that cannot be asked may not let others be refused for good. */
static enum restrict_verdict
permit_listed(struct restrict_run *r, const struct check *c, const char *query)
{
	switch (query ? ask_list(r, c, query) : E_NOTFOUND) {
	case OK:
		return RESTRICT_OK;
	case E_NOTFOUND:
		break;
	default:
		restrict_defer_if_reject(r, "4.7.1", r->facts->client_ip, restrict_class_client,
			"Temporary lookup failure");
		break;
	}
	return RESTRICT_DUNNO;
}

/*
 * Relaying is not given away by a list of strangers: a "yes" of it holds for our own destinations.
 */
static int
may_permit(struct restrict_run *r)
{
	enum auth_rcpt_kind kind;

	return r->facts->recipient &&
	       r->host->address_kind(r->host->arg, r->facts->recipient, &kind) == OK &&
	       (kind != AUTH_RCPT_REMOTE ||
		       restrict_relay_domain(r->set, r->facts->recipient) == OK);
}

static enum restrict_verdict
permit_client(struct restrict_run *r, const struct check *c)
{
	char *query = may_permit(r) ? client_query(r, c->text) : NULL;
	enum restrict_verdict v = permit_listed(r, c, query);

	free(query);
	return v;
}

/* ---- lists of names ---- */

/* An address literal and a bare label are in no such list. */
static char *
name_query(const char *name, const char *zone)
{
	size_t len = name ? strlen(name) : 0;
	char *query;

	if (len > 0 && name[len - 1] == '.')
		len--;
	if (len == 0 || name[0] == '[' || memchr(name, '.', len) == NULL ||
		strcmp(name, "unknown") == 0 || len + strlen(zone) + 2 > DNS_NAME_SIZE)
		return NULL;
	query = mem_printf("%.*s.%s", (int)len, name, zone);
	return query;
}

static enum restrict_verdict
reject_name(struct restrict_run *r, const struct check *c, const char *name, const char *class)
{
	char *query = name_query(name, c->text);
	enum restrict_verdict v = RESTRICT_DUNNO;

	if (query && ask_list(r, c, query) == OK)
		v = blocked(r, c, query, name, class);
	free(query);
	return v;
}

static enum restrict_verdict
rhsbl_client(struct restrict_run *r, const struct check *c)
{
	return reject_name(r, c, r->host->names(r->host->arg)->name, restrict_class_client);
}

static enum restrict_verdict
rhsbl_reverse_client(struct restrict_run *r, const struct check *c)
{
	return reject_name(r, c, r->host->names(r->host->arg)->reverse, restrict_class_client);
}

static enum restrict_verdict
rhsbl_helo(struct restrict_run *r, const struct check *c)
{
	return reject_name(r, c, r->facts->helo, restrict_class_helo);
}

static enum restrict_verdict
rhsbl_sender(struct restrict_run *r, const struct check *c)
{
	return reject_name(r, c, restrict_domain(r->facts->sender), restrict_class_sender);
}

static enum restrict_verdict
rhsbl_recipient(struct restrict_run *r, const struct check *c)
{
	return reject_name(r, c, restrict_domain(r->facts->recipient), restrict_class_recipient);
}

static enum restrict_verdict
rhswl_client(struct restrict_run *r, const struct check *c)
{
	char *query =
		may_permit(r) ? name_query(r->host->names(r->host->arg)->name, c->text) : NULL;
	enum restrict_verdict v = permit_listed(r, c, query);

	free(query);
	return v;
}

const struct check_type restrict_lists[] = {
	{"reject_rbl_client", ARG_ZONE, 1, reject_client},
	{"reject_rhsbl_client", ARG_ZONE, 1, rhsbl_client},
	{"reject_rhsbl_reverse_client", ARG_ZONE, 1, rhsbl_reverse_client},
	{"reject_rhsbl_helo", ARG_ZONE, 1, rhsbl_helo},
	{"reject_rhsbl_sender", ARG_ZONE, 1, rhsbl_sender},
	{"reject_rhsbl_recipient", ARG_ZONE, 1, rhsbl_recipient},
	{"permit_dnswl_client", ARG_ZONE, 1, permit_client},
	{"permit_rhswl_client", ARG_ZONE, 1, rhswl_client},
	{NULL, ARG_NONE, 0, NULL},
};
