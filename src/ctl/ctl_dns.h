/* SPDX-License-Identifier: MIT */
#ifndef ROOST_CTL_DNS_H
#define ROOST_CTL_DNS_H

#include "lib/buf.h"
#include "lib/conf.h"

/* Look-ups for `roostctl doctor`, through libunbound with the setting dns_resolvers. Blocking. */

enum ctl_dns_type {
	CTL_DNS_A = 1,
	CTL_DNS_PTR = 12,
	CTL_DNS_MX = 15,
	CTL_DNS_TXT = 16,
	CTL_DNS_AAAA = 28
};
enum ctl_dns_verdict { CTL_DNS_FOUND, CTL_DNS_NONE, CTL_DNS_FAILED };
enum { CTL_DNS_RECORDS_MAX = 32 };

/*
 * Records as text: an address, a name in lower case without its last dot (PTR, MX; the preference
 * is not told), or the strings of a TXT record, joined.
 */
struct ctl_dns_answer {
	char *records[CTL_DNS_RECORDS_MAX];
	size_t count;
};

struct ctl_dns;
/* NULL: the library cannot be set up. */
struct ctl_dns *ctl_dns_open(const struct config *conf);
void ctl_dns_close(struct ctl_dns **d);
/* Malformed records are left out. out is to be freed in any case. */
enum ctl_dns_verdict ctl_dns_ask(
	struct ctl_dns *d, const char *name, enum ctl_dns_type type, struct ctl_dns_answer *out);
void ctl_dns_answer_free(struct ctl_dns_answer *a);
/* The name under in-addr.arpa or ip6.arpa of an address, on the heap; NULL: it is none. */
char *ctl_dns_reverse_name(const char *address);

#endif
