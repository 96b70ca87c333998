/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_DNSBL_H
#define ROOST_MTA_DNSBL_H

#include "lib/conf.h"
#include "lib/net.h"

/*
 * DNS lists of the bad and the good with weights (postscreen_dnsbl_sites): all of them are asked
 * about a client at once, and the weights of those that have it make its score.
 */
struct dnsbl;

/* "127.0.0.[2..11]" of postconf(5): what answers of a list count. */
int dnsbl_filter_matches(const char *filter, const unsigned char ip[4]);

/*
 * Before the sandbox. OK: *out is NULL when no sites are set; it keeps nothing of conf. Else
 * logged: E_PARSE, E_IO.
 */
enum err dnsbl_open(const struct config *conf, struct dnsbl **out);
void dnsbl_close(struct dnsbl **d);

struct dnsbl_score {
	int64_t score;
	const char *
		zone; /* of the bad ones that have it the one with most weight; or NULL. Borrowed */
	unsigned unanswered; /* lists that said nothing in time: they count as not having it */
};
/*
 * Asks, in a process that was forked after dnsbl_open, and waits until all have answered or the
 * time is over.
 */
void dnsbl_ask(
	struct dnsbl *d, const struct net_addr *client, int timeout_ms, struct dnsbl_score *out);

#endif
