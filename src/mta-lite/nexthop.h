/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_NEXTHOP_H
#define ROOST_MTA_NEXTHOP_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/net.h"
#include "lib/str.h"

/* Where a delivery goes, and the order of a domain's mail exchangers. No look-ups here. */

enum { DNS_NAME_SIZE = 256 };

struct nexthop {
	char name[DNS_NAME_SIZE]; /* lower case, no dot at its end */
	uint16_t port;
	int no_mx; /* written in brackets: the host itself */
	int literal; /* an address, in addr */
	struct net_addr addr;
};

/*
 * "example.com", "[host]", "[host]:port", "host:port", "[192.0.2.1]", "[::1]:port",
 * "[IPv6:::1]". E_PARSE, E_TOOBIG.
 */
enum err nexthop_parse(struct str text, uint16_t default_port, struct nexthop *out);

struct mx_host {
	char name[DNS_NAME_SIZE];
	uint16_t preference;
};
enum { MX_MAX = 50 };

/*
 * A name in wire form without compression (RFC 1035 section 3.1), as libunbound gives it. The
 * result is lower case, without a dot at its end; "" is the root. E_PARSE: cut short, too long, or
 * with bytes that no host name has.
 */
enum err dns_name_parse(const unsigned char *p, size_t len, char out[DNS_NAME_SIZE]);
/* One MX record's data. */
enum err mx_record_parse(const unsigned char *p, size_t len, struct mx_host *out);
/* By preference; equal ones shuffled with next_random() (RFC 5321 section 5.1). */
void mx_order(struct mx_host *v, size_t n, uint32_t (*next_random)(void));
/*
 * An ordered list without ourselves and what is not preferred over us (RFC 5321 section 5.1);
 * returns the new length. 0: mail for this domain would loop.
 */
size_t mx_drop_self(struct mx_host *v, size_t n, const char *hostname);
/* "." as the only one says: no mail here (RFC 7505). */
int mx_is_null(const struct mx_host *v, size_t n);

#endif
