/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_DNS_H
#define ROOST_MTA_DNS_H

#include "lib/conf.h"
#include "lib/str.h"
#include "mta-lite/nexthop.h"
#include "mta-lite/tlsa.h"

/*
 * Look-ups through libunbound, blocking; for processes that deliver. The resolver is made once,
 * before the sandbox (it reads resolv.conf and hosts), and used in children.
 */
struct dns;

enum { DNS_RECORDS_MAX = 32 };

/* E_IO: logged. A trust anchor that cannot be read is one. */
enum err dns_open(const struct config *conf, struct dns **out);
void dns_close(struct dns **d);

enum dns_verdict {
	DNS_FOUND,
	DNS_NO_DATA, /* the name is there, such records are not */
	DNS_NO_NAME, /* there is no such name */
	DNS_FAILED, /* try again later */
};

/* Whether an answer can be believed, and where its CNAMEs led. */
struct dns_trust {
	int secure; /* DNSSEC vouches for all of it */
	char canonical[DNS_NAME_SIZE]; /* where the records are; the name asked for without CNAMEs
					*/
};

/* The records in the order of the answer, *n at most MX_MAX; malformed ones are left out. */
enum dns_verdict dns_mx(
	struct dns *d, const char *name, struct mx_host v[MX_MAX], size_t *n, int *secure);
/*
 * IPv6 and IPv4 addresses with the port, *n at most max. trust: of all that was found; may be NULL.
 */
enum dns_verdict dns_addresses(struct dns *d, const char *name, uint16_t port, struct net_addr *v,
	size_t max, size_t *n, struct dns_trust *trust);
/*
 * The TLSA records of a server (RFC 7672 section 2.2), whose addresses were found with this trust.
 * The caller frees *out with tlsa_set_free.
 */
void dns_tlsa(struct dns *d, const char *host, const struct dns_trust *trust, uint16_t port,
	struct tlsa_set *out);
/* Whether there is a trust anchor, without which nothing is secure. */
int dns_validates(const struct dns *d);

/* Any records of a name, as bytes; the names of their types are in RFC 1035 and others. */
struct dns_records {
	struct str v[DNS_RECORDS_MAX];
	size_t count;
	void *result;
};
/* *out is zeroed first; dns_records_free is due in every case. */
enum dns_verdict dns_records(struct dns *d, const char *name, int type, struct dns_records *out);
void dns_records_free(struct dns_records *r);

#endif
