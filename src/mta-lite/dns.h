/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_DNS_H
#define ROOST_MTA_DNS_H

#include "lib/conf.h"
#include "mta-lite/nexthop.h"

/*
 * Look-ups through libunbound, blocking; for processes that deliver. The resolver is made once,
 * before the sandbox (it reads resolv.conf and hosts), and used in children.
 */
struct dns;

/* E_IO: logged. */
enum err dns_open(const struct config *conf, struct dns **out);
void dns_close(struct dns **d);

enum dns_verdict {
	DNS_FOUND,
	DNS_NO_DATA, /* the name is there, such records are not */
	DNS_NO_NAME, /* there is no such name */
	DNS_FAILED, /* try again later */
};
/* The records in the order of the answer, *n at most MX_MAX; malformed ones are left out. */
enum dns_verdict dns_mx(struct dns *d, const char *name, struct mx_host v[MX_MAX], size_t *n);
/* IPv6 and IPv4 addresses with the port, *n at most max. */
enum dns_verdict dns_addresses(
	struct dns *d, const char *name, uint16_t port, struct net_addr *v, size_t max, size_t *n);

#endif
