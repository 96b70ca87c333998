/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_PENALTY_H
#define ROOST_AUTH_PENALTY_H

#include <stddef.h>
#include <stdint.h>

#include "lib/net.h"

/*
 * How long the answer to a failed log-in waits. Failures in a row are counted per address (an IPv6
 * network of 64 bits counts as one; loopback addresses are not counted) and per user name, whether
 * there is such a user or not; the longer of the two delays holds:
 *
 *   first failure 250 ms, doubled with each further one, up to the setting login_delay_max
 *
 * A log-in that succeeds is answered at once, so that nobody can lock a user out; it clears the
 * user's count and halves the address's. A count is forgotten 15 minutes after its last failure.
 */
struct penalty;

enum { PENALTY_MAX = 50000, PENALTY_FIRST_MS = 250, PENALTY_FORGET_MS = 15 * 60 * 1000 };

struct penalty *penalty_create(void);
void penalty_free(struct penalty **p);
/* Counts a failure and returns the delay of its answer, 0..max_ms. addr, user: may be NULL. */
int64_t penalty_failure(struct penalty *p, const struct net_addr *addr, const char *user,
	int64_t now_ms, int64_t max_ms);
void penalty_success(struct penalty *p, const struct net_addr *addr, const char *user);
/* Forgets one user's count, or with NULL everything. */
void penalty_flush(struct penalty *p, const char *user);
/* How many addresses and users are counted now. */
void penalty_counts(const struct penalty *p, size_t *addresses, size_t *users);

#endif
