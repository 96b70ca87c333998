/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_DNS_NAMES_H
#define ROOST_MTA_DNS_NAMES_H

#include "lib/buf.h"
#include "mta-lite/dns.h"

/* What checks of clients and addresses ask of the DNS. */

enum { DNS_NAMES_MAX = 20, DNS_TEXT_MAX = 8 * 1024 };

/*
 * Lists in a buf are texts with a NUL behind each, *n of them. Handed in, so that the checks can be
 * tried without a network.
 */
struct dns_source {
	void *arg;
	/* Addresses of one family. */
	enum dns_verdict (*addresses)(
		void *arg, const char *name, int six, struct net_addr *v, size_t max, size_t *n);
	/* By preference as they come; "" is the null MX (RFC 7505). */
	enum dns_verdict (*mx)(void *arg, const char *name, struct buf *out, size_t *n);
	enum dns_verdict (*ns)(void *arg, const char *name, struct buf *out, size_t *n);
	enum dns_verdict (*txt)(void *arg, const char *name, struct buf *out, size_t *n);
	enum dns_verdict (*ptr)(void *arg, const struct net_addr *a, struct buf *out, size_t *n);
};

/* The real one. d is borrowed. */
struct dns_source dns_source_of(struct dns *d);

/*
 * "1.2.0.192" or the nibbles of an IPv6 address, as they stand before ".in-addr.arpa" and in DNS
 * lists (RFC 5782). E_UNSUPPORTED: a UNIX socket.
 */
enum err dns_reverse_text(const struct net_addr *a, struct buf *out);

#endif
