/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_GREYLIST_H
#define ROOST_MTA_GREYLIST_H

#include <stdint.h>

#include "lib/net.h"

/*
 * Greylisting (RFC 6647): mail of a client, sender and recipient not seen together before is put
 * off; who comes again later is let in. A client (its network, /24 or /64) that was let in several
 * times is known from then on and waits no more.
 *
 * What was seen lies in an LMDB environment that all sessions share. It is worth nothing else: it
 * may be removed at any time, and where it cannot be used nobody waits.
 */
struct greylist;

struct greylist_settings {
	int64_t delay_s; /* the first wait */
	int64_t retry_window_s; /* who has not come again by then starts anew */
	int64_t lifetime_s; /* since it was last seen */
	unsigned client_passes; /* so many times let in: the client is known; 0: never */
};

/* dir exists. In the process that asks: an environment must not be used over a fork. Logged. */
enum err greylist_open(const char *dir, const struct greylist_settings *set, struct greylist **out);
void greylist_close(struct greylist **g);

/*
 * now: Unix time. OK: let in. E_TEMPFAIL: put off, *wait_s is how long it still has to wait. Other
 * errors: the store cannot be used (logged): let in.
 */
enum err greylist_check(struct greylist *g, const struct net_addr *peer, struct str sender,
	struct str rcpt, int64_t now, int64_t *wait_s);

#endif
