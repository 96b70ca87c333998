/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "ctl/ctl_dns.h"
#include "ctl/ctl_doctor.h"
#include "lib/idn.h"
#include "lib/mem.h"
#include "lib/net.h"

/* What other servers find of us in DNS. */

struct dns_check {
	struct doctor *d;
	struct ctl_dns *dns;
	int dead; /* the resolver does not answer: no use in waiting for each name */
};

/* The records of a name; a failure is said once. */
static enum ctl_dns_verdict
look_up(struct dns_check *c, const char *name, enum ctl_dns_type type, struct ctl_dns_answer *out)
{
	enum ctl_dns_verdict verdict = CTL_DNS_FAILED;

	out->count = 0;
	if (c->dead)
		return verdict;
	verdict = ctl_dns_ask(c->dns, name, type, out);
	if (verdict == CTL_DNS_FAILED) {
		c->dead = 1;
		doctor_say(c->d, DOCTOR_ERROR, "dns",
			"look at the setting dns_resolvers, or at /etc/resolv.conf",
			"no answer about %s; the rest of DNS was not looked at", name);
	}
	return verdict;
}

static int
has_record(const struct ctl_dns_answer *a, const char *text)
{
	for (size_t i = 0; i < a->count; i++)
		if (strcasecmp(a->records[i], text) == 0)
			return 1;
	return 0;
}

/* ---- the host ---- */

static int
is_private(const char *address)
{
	static const char *const networks[] = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",
		"127.0.0.0/8", "169.254.0.0/16", "100.64.0.0/10", "fc00::/7", "fe80::/10", "::1"};
	char *text = mem_printf(strchr(address, ':') ? "[%s]" : "%s", address);
	struct net_addr a;
	int yes = 0;

	for (size_t i = 0; i < sizeof(networks) / sizeof(networks[0]); i++) {
		struct net_cidr network;

		if (net_addr_parse(str_of(text), 1, &a) == OK &&
			net_cidr_parse(str_of(networks[i]), &network) == OK)
			yes |= net_cidr_match(&network, &a);
	}
	free(text);
	return yes;
}

static void
check_reverse(struct dns_check *c, const char *host, const char *address)
{
	char *name = ctl_dns_reverse_name(address);
	struct ctl_dns_answer ptr;

	if (is_private(address))
		doctor_say(c->d, DOCTOR_WARNING, "dns",
			"give the name the address that the world reaches this host by",
			"%s has the address %s, which is a private one", host, address);
	if (name && look_up(c, name, CTL_DNS_PTR, &ptr) != CTL_DNS_FAILED) {
		if (ptr.count == 0)
			doctor_say(c->d, DOCTOR_ERROR, "dns",
				"have whoever gave you the address set its reverse name: many "
				"servers refuse mail from hosts without one",
				"%s has no reverse name (PTR)", address);
		else if (!has_record(&ptr, host))
			doctor_say(c->d, DOCTOR_WARNING, "dns",
				"set the reverse name to the setting hostname, or hostname to it",
				"the reverse name of %s is %s and not %s", address, ptr.records[0],
				host);
		else
			doctor_say(
				c->d, DOCTOR_OK, "dns", NULL, "%s is %s, and back", host, address);
		ctl_dns_answer_free(&ptr);
	}
	free(name);
}

static void
check_host_name(struct dns_check *c, const char *host)
{
	static const enum ctl_dns_type types[] = {CTL_DNS_A, CTL_DNS_AAAA};
	size_t found = 0;

	if (!*host) {
		doctor_say(c->d, DOCTOR_WARNING, "dns",
			"set hostname to the full name of this host",
			"the setting hostname is empty: the machine's own name is used");
		return;
	}
	for (size_t t = 0; t < 2; t++) {
		struct ctl_dns_answer a;

		if (look_up(c, host, types[t], &a) == CTL_DNS_FAILED)
			return;
		for (size_t i = 0; i < a.count; i++)
			check_reverse(c, host, a.records[i]);
		found += a.count;
		ctl_dns_answer_free(&a);
	}
	if (!found)
		doctor_say(c->d, DOCTOR_ERROR, "dns",
			"make an A and, if there is IPv6, an AAAA record",
			"the host name %s has no address", host);
}

/* ---- domains ---- */

static void
check_mx(struct dns_check *c, const char *domain)
{
	const char *host = c->d->conf->hostname;
	struct ctl_dns_answer mx;

	if (look_up(c, domain, CTL_DNS_MX, &mx) == CTL_DNS_FAILED)
		return;
	if (mx.count == 0)
		doctor_say(c->d, DOCTOR_ERROR, "dns", "make one: DOMAIN. IN MX 10 HOSTNAME.",
			"%s has no MX record: other servers do not find the way here", domain);
	else if (mx.count == 1 && !*mx.records[0])
		doctor_say(c->d, DOCTOR_ERROR, "dns", "replace its MX record \"0 .\"",
			"%s says that it takes no mail (RFC 7505)", domain);
	else if (*host && !has_record(&mx, host))
		doctor_say(c->d, DOCTOR_WARNING, "dns",
			"fine if a relay in front of this host takes the mail; else make an MX record "
			"with this host's name",
			"%s has MX %s, and none is %s", domain, mx.records[0], host);
	else
		doctor_say(c->d, DOCTOR_OK, "dns", NULL, "%s has MX %s", domain, host);
	ctl_dns_answer_free(&mx);
}

/* How many of the TXT records begin with a version, and the first of them. */
static size_t
count_version(const struct ctl_dns_answer *txt, const char *version, const char **first)
{
	size_t n = 0, len = strlen(version);

	for (size_t i = 0; i < txt->count; i++) {
		char next = strncasecmp(txt->records[i], version, len) == 0 ? txt->records[i][len]
									    : 'x';

		if (next != '\0' && next != ' ' && next != ';')
			continue;
		if (n++ == 0)
			*first = txt->records[i];
	}
	return n;
}

static void
check_spf(struct dns_check *c, const char *domain)
{
	struct ctl_dns_answer txt;
	const char *first = "";
	size_t n;

	if (look_up(c, domain, CTL_DNS_TXT, &txt) == CTL_DNS_FAILED)
		return;
	n = count_version(&txt, "v=spf1", &first);
	if (n == 0)
		doctor_say(c->d, DOCTOR_WARNING, "dns",
			"make a TXT record such as \"v=spf1 mx -all\"", "%s has no SPF record",
			domain);
	else if (n > 1)
		doctor_say(c->d, DOCTOR_ERROR, "dns",
			"leave one: with more, none counts (RFC 7208 4.5)",
			"%s has %zu SPF records", domain, n);
	else
		doctor_say(c->d, DOCTOR_OK, "dns", NULL, "%s has SPF: %s", domain, first);
	ctl_dns_answer_free(&txt);
}

static void
check_dmarc(struct dns_check *c, const char *domain)
{
	char *name = mem_printf("_dmarc.%s", domain);
	struct ctl_dns_answer txt;
	const char *first = "";

	if (look_up(c, name, CTL_DNS_TXT, &txt) != CTL_DNS_FAILED) {
		size_t n = count_version(&txt, "v=DMARC1", &first);

		if (n == 0)
			doctor_say(c->d, DOCTOR_WARNING, "dns",
				"make a TXT record there, such as \"v=DMARC1; p=none; "
				"rua=mailto:postmaster@DOMAIN\"",
				"%s: there is no DMARC record", name);
		else if (n > 1)
			doctor_say(c->d, DOCTOR_ERROR, "dns",
				"leave one: with more, none counts (RFC 7489 6.6.3)",
				"%s has %zu DMARC records", name, n);
		else
			doctor_say(c->d, DOCTOR_OK, "dns", NULL, "%s: %s", name, first);
		ctl_dns_answer_free(&txt);
	}
	free(name);
}

/* A key record needs no version (RFC 6376 section 3.6.1); an empty p= is a key that was revoked. */
static int
is_dkim_key(const char *text)
{
	const char *p = strstr(text, "p=");

	while (p && p != text && p[-1] != ';' && p[-1] != ' ')
		p = strstr(p + 2, "p=");
	return p && p[2] != '\0' && p[2] != ';' && p[2] != ' ';
}

static void
check_dkim(struct dns_check *c, const char *domain, const char *selector)
{
	char *name = mem_printf("%s._domainkey.%s", selector, domain);
	struct ctl_dns_answer txt;

	if (look_up(c, name, CTL_DNS_TXT, &txt) != CTL_DNS_FAILED) {
		int good = 0;

		for (size_t i = 0; i < txt.count; i++)
			good |= is_dkim_key(txt.records[i]);
		if (good)
			doctor_say(c->d, DOCTOR_OK, "dns", NULL, "%s has a key", name);
		else
			doctor_say(c->d, DOCTOR_ERROR, "dns",
				"publish the public key that belongs to the key mail is signed with",
				"%s has no DKIM key", name);
		ctl_dns_answer_free(&txt);
	}
	free(name);
}

/* Where the bounces of forwarded mail come, and what its senders are checked against. */
static void
check_srs(struct dns_check *c, const char *const *domains)
{
	char name[256];

	if (idn_to_ascii(str_of(c->d->conf->srs_domain), name, sizeof(name)) || !name[0])
		return;
	for (size_t i = 0; domains[i]; i++)
		if (strcasecmp(domains[i], name) == 0)
			return; /* looked at as one of ours */
	check_mx(c, name);
	check_spf(c, name);
}

void
doctor_check_dns(struct doctor *d, const char *const *domains, const char *const *selectors)
{
	struct dns_check c = {.d = d, .dns = ctl_dns_open(d->conf)};

	if (!c.dns) {
		doctor_say(d, DOCTOR_ERROR, "dns", "mend the setting dns_resolvers",
			"the resolver cannot be set up");
		return;
	}
	check_host_name(&c, d->conf->hostname);
	for (size_t i = 0; domains[i]; i++) {
		check_mx(&c, domains[i]);
		check_spf(&c, domains[i]);
		check_dmarc(&c, domains[i]);
		for (size_t k = 0; selectors[k]; k++)
			check_dkim(&c, domains[i], selectors[k]);
	}
	check_srs(&c, domains);
	if (domains[0] && !selectors[0])
		doctor_say(d, DOCTOR_NOTE, "dns",
			"name what your mail is signed with: --dkim-selector",
			"DKIM keys were not looked at");
	ctl_dns_close(&c.dns);
}
