/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "mta-lite/restrict_private.h"

/* Names: whether they are well formed, complete, and known to the DNS. */

/* A host name (RFC 1123 section 2.1); "_" is taken as Postfix takes it. */
static int
is_host_name(const char *name)
{
	size_t len = strlen(name), label = 0, i;
	int letters = 0;

	if (len == 0 || len > 255)
		return 0;
	for (i = 0; i < len; i++) {
		char c = name[i];

		if (c == '.') {
			if (label == 0 || name[i - 1] == '-')
				return 0;
			label = 0;
			continue;
		}
		if (!str_is_alnum(c) && c != '_' && (c != '-' || label == 0))
			return 0;
		if (++label > 63)
			return 0;
		if (!str_is_digit(c))
			letters = 1;
	}
	return letters && name[len - 1] != '-';
}

static int
is_literal(const char *name)
{
	size_t len = strlen(name);
	struct net_cidr net;
	struct str inner;

	if (len < 3 || name[0] != '[' || name[len - 1] != ']')
		return 0;
	inner = str_make(name + 1, len - 2);
	if (str_starts_i(inner, "IPv6:"))
		inner = str_make(inner.p + 5, inner.len - 5);
	return str_find(inner, 0, '/') == inner.len && net_cidr_parse(inner, &net) == OK;
}

/* Complete: at least two labels, and none is empty. */
static int
is_complete(const char *name)
{
	const char *dot = strchr(name, '.');

	return is_host_name(name) && dot && dot[1];
}

static enum restrict_verdict
reject_invalid_helo(struct restrict_run *r, const struct check *c)
{
	const char *helo = r->facts->helo;

	(void)c;
	if (helo == NULL || is_host_name(helo) || is_literal(helo))
		return RESTRICT_DUNNO;
	return restrict_reject(r, 501, "5.5.2", helo, restrict_class_helo, "Invalid name");
}

static enum restrict_verdict
reject_non_fqdn_helo(struct restrict_run *r, const struct check *c)
{
	const char *helo = r->facts->helo;

	(void)c;
	if (helo == NULL || is_complete(helo) || is_literal(helo))
		return RESTRICT_DUNNO;
	return restrict_reject(
		r, 504, "5.5.2", helo, restrict_class_helo, "need fully-qualified hostname");
}

static enum restrict_verdict
need_complete(struct restrict_run *r, const char *address, const char *class)
{
	const char *domain = restrict_domain(address);

	if (address == NULL || address[0] == '\0')
		return RESTRICT_DUNNO;
	if (domain && (domain[0] == '[' || is_complete(domain)))
		return RESTRICT_DUNNO;
	/* RFC 5321 section 4.5.1. */
	if (domain == NULL && str_is_i(str_of(address), "postmaster"))
		return RESTRICT_DUNNO;
	return restrict_reject(r, 504, "5.5.2", address, class, "need fully-qualified address");
}

static enum restrict_verdict
reject_non_fqdn_sender(struct restrict_run *r, const struct check *c)
{
	(void)c;
	return need_complete(r, r->facts->sender, restrict_class_sender);
}

static enum restrict_verdict
reject_non_fqdn_recipient(struct restrict_run *r, const struct check *c)
{
	(void)c;
	return need_complete(r, r->facts->recipient, restrict_class_recipient);
}

/* ---- the client's names ---- */

static enum restrict_verdict
need_name(struct restrict_run *r, enum err found, const char *text)
{
	struct buf space = {0};
	const char *name;
	char *whole;
	enum restrict_verdict v = RESTRICT_DUNNO;

	if (found == OK)
		return RESTRICT_DUNNO;
	whole = mem_printf("%s, [%s]", text, r->facts->client_ip);
	if (found == E_NOTFOUND) {
		char *line = mem_printf("Client host rejected: %s", whole);

		v = restrict_reject_text(r, 450, "4.7.25", line);
		free(line);
	} else {
		name = restrict_client_text(r, &space);
		restrict_defer_if_permit(r, 450, "4.7.25", name, restrict_class_client, whole);
	}
	free(whole);
	buf_free(&space);
	return v;
}

static enum restrict_verdict
reject_unknown_client(struct restrict_run *r, const struct check *c)
{
	(void)c;
	return need_name(r, r->host->names(r->host->arg)->name_err, "cannot find your hostname");
}

static enum restrict_verdict
reject_unknown_reverse_client(struct restrict_run *r, const struct check *c)
{
	(void)c;
	return need_name(
		r, r->host->names(r->host->arg)->reverse_err, "cannot find your reverse hostname");
}

/* ---- names in the DNS ---- */

enum known { KNOWN_YES, KNOWN_NO, KNOWN_NULL_MX, KNOWN_LATER };

static enum dns_verdict
has_address(struct restrict_run *r, const char *name)
{
	const struct dns_source *dns = &r->host->dns;
	struct net_addr v[1];
	enum dns_verdict four, six;
	size_t n;

	four = dns->addresses(dns->arg, name, 0, v, 1, &n);
	if (four == DNS_FOUND)
		return DNS_FOUND;
	six = dns->addresses(dns->arg, name, 1, v, 1, &n);
	if (six == DNS_FOUND || (six == DNS_FAILED && four != DNS_FAILED))
		return six;
	return four;
}

/* Whether mail for the name can go anywhere: an MX or an address. */
static enum known
is_known(struct restrict_run *r, const char *name)
{
	const struct dns_source *dns = &r->host->dns;
	struct buf names = BUF_INIT(DNS_TEXT_MAX);
	enum dns_verdict v;
	enum known known = KNOWN_LATER;
	size_t n;

	v = dns->mx(dns->arg, name, &names, &n);
	if (v == DNS_FOUND)
		known = n == 1 && buf_cstr(&names)[0] == '\0' ? KNOWN_NULL_MX : KNOWN_YES;
	buf_free(&names);
	if (v == DNS_FOUND || v == DNS_FAILED)
		return known;
	v = v == DNS_NO_NAME ? v : has_address(r, name);
	if (v == DNS_FOUND)
		return KNOWN_YES;
	return v == DNS_FAILED ? KNOWN_LATER : KNOWN_NO;
}

static enum restrict_verdict
reject_unknown_helo(struct restrict_run *r, const struct check *c)
{
	const char *helo = r->facts->helo;

	(void)c;
	if (helo == NULL || helo[0] == '[')
		return RESTRICT_DUNNO;
	switch (is_host_name(helo) ? is_known(r, helo) : KNOWN_NO) {
	case KNOWN_YES:
	case KNOWN_NULL_MX: /* it need not take mail */
		return RESTRICT_DUNNO;
	case KNOWN_LATER:
		restrict_defer_if_permit(
			r, 450, "4.7.1", helo, restrict_class_helo, "Host not found");
		return RESTRICT_DUNNO;
	case KNOWN_NO:
		break;
	}
	return restrict_reject(r, 450, "4.7.1", helo, restrict_class_helo, "Host not found");
}

static enum restrict_verdict
need_known_domain(struct restrict_run *r, const char *address, const char *class, const char *dsn,
	int null_code, const char *null_dsn)
{
	const char *domain = restrict_domain(address);
	enum auth_rcpt_kind kind;
	enum restrict_verdict v;
	char *text;

	/* What is ours need not be in the DNS. */
	if (domain == NULL || domain[0] == '[' ||
		(r->host->address_kind(r->host->arg, address, &kind) == OK &&
			kind != AUTH_RCPT_REMOTE))
		return RESTRICT_DUNNO;
	switch (is_known(r, domain)) {
	case KNOWN_YES:
		return RESTRICT_DUNNO;
	case KNOWN_LATER:
		restrict_defer_if_permit(r, 450, dsn, address, class, "Domain not found");
		return RESTRICT_DUNNO;
	case KNOWN_NULL_MX:
		text = mem_printf("Domain %s does not accept mail (nullMX)", domain);
		v = restrict_reject(r, null_code, null_dsn, address, class, text);
		free(text);
		return v;
	case KNOWN_NO:
		break;
	}
	return restrict_reject(r, 450, dsn, address, class, "Domain not found");
}

static enum restrict_verdict
reject_unknown_sender_domain(struct restrict_run *r, const struct check *c)
{
	(void)c;
	return need_known_domain(
		r, r->facts->sender, restrict_class_sender, "4.1.8", 550, "5.7.27");
}

static enum restrict_verdict
reject_unknown_recipient_domain(struct restrict_run *r, const struct check *c)
{
	(void)c;
	return need_known_domain(
		r, r->facts->recipient, restrict_class_recipient, "4.1.2", 556, "5.1.10");
}

const struct check_type restrict_names_checks[] = {
	{"reject_invalid_helo_hostname", ARG_NONE, 0, reject_invalid_helo},
	{"reject_invalid_hostname", ARG_NONE, 0, reject_invalid_helo},
	{"reject_non_fqdn_helo_hostname", ARG_NONE, 0, reject_non_fqdn_helo},
	{"reject_non_fqdn_hostname", ARG_NONE, 0, reject_non_fqdn_helo},
	{"reject_non_fqdn_sender", ARG_NONE, 0, reject_non_fqdn_sender},
	{"reject_non_fqdn_recipient", ARG_NONE, 0, reject_non_fqdn_recipient},
	{"reject_unknown_client_hostname", ARG_NONE, 1, reject_unknown_client},
	{"reject_unknown_client", ARG_NONE, 1, reject_unknown_client},
	{"reject_unknown_reverse_client_hostname", ARG_NONE, 1, reject_unknown_reverse_client},
	{"reject_unknown_helo_hostname", ARG_NONE, 1, reject_unknown_helo},
	{"reject_unknown_hostname", ARG_NONE, 1, reject_unknown_helo},
	{"reject_unknown_sender_domain", ARG_NONE, 1, reject_unknown_sender_domain},
	{"reject_unknown_recipient_domain", ARG_NONE, 1, reject_unknown_recipient_domain},
	{NULL, ARG_NONE, 0, NULL},
};
