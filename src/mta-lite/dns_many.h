/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_DNS_MANY_H
#define ROOST_MTA_DNS_MANY_H

#include "mta-lite/dns.h"

/*
 * Many questions at once, with one time for all of them. Made once before the sandbox, as struct
 * dns; each process that was forked then asks for itself.
 */
struct dns_many;

enum { DNS_MANY_ADDRESSES_MAX = 16 };

struct dns_question {
	const char *name; /* borrowed */
	/* The answer; DNS_FAILED also when none came in time. */
	enum dns_verdict verdict;
	unsigned char v[DNS_MANY_ADDRESSES_MAX][4]; /* its A records */
	size_t count;
	/* Of dns_many.c. */
	int id, waiting;
	struct dns_many *owner;
};

/* E_IO: logged. */
enum err dns_many_open(const struct config *conf, struct dns_many **out);
void dns_many_close(struct dns_many **d);
void dns_many_ask(struct dns_many *d, struct dns_question *q, size_t n, int timeout_ms);

#endif
