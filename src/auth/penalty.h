/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_PENALTY_H
#define ROOST_AUTH_PENALTY_H

#include <stddef.h>
#include <stdint.h>

#include "lib/net.h"
#include "lib/siphash.h"
#include "lib/str.h"

/*
 * How long the answer to a failed log-in waits. Failures are counted per address (an IPv6 network
 * of 64 bits counts as one; loopback addresses are not counted) and per user name, whether there is
 * such a user or not; the longer of the two delays holds:
 *
 *   first failure 250 ms, doubled with each further one, up to the setting login_delay_max
 *
 * A count is forgotten 15 minutes after its last failure. What spares the honest:
 *
 *   A wrong password that was tried for the same user before (a phone that has the old one) is not
 *   counted again: its answer waits as the first one did.
 *   A right password is never refused and, but for the following, never delayed, so that nobody
 *   can lock a user out. A log-in clears the user's count and halves the address's.
 *   From an address with PENALTY_HOLD_AFTER failures even the check waits, so that neither a
 *   client that does not wait for its answer nor the cost of hashing helps a guesser; but not for
 *   users who have logged in from there before (within 30 days).
 */
struct penalty;

enum {
	PENALTY_MAX = 50000,
	PENALTY_FIRST_MS = 250,
	PENALTY_FORGET_MS = 15 * 60 * 1000,
	PENALTY_HOLD_AFTER = 8,
	PENALTY_WRONG_MAX = 8, /* wrong passwords remembered of a user */
};

struct penalty *penalty_create(void);
void penalty_free(struct penalty **p);
/* What is remembered of a wrong password. From any thread. */
struct siphash penalty_wrong(const struct penalty *p, const char *user, struct str password);
/*
 * Counts a failure and returns the delay of its answer, 0..max_ms. addr, user: may be NULL; wrong:
 * NULL when the password is not known (mechanisms that do not show it).
 */
int64_t penalty_failure(struct penalty *p, const struct net_addr *addr, const char *user,
	const struct siphash *wrong, int64_t now_ms, int64_t max_ms);
void penalty_success(
	struct penalty *p, const struct net_addr *addr, const char *user, int64_t now_ms);
/* How long the check of an attempt waits, 0..max_ms. user: NULL when not yet known. */
int64_t penalty_hold(struct penalty *p, const struct net_addr *addr, const char *user,
	int64_t now_ms, int64_t max_ms);
/* Forgets one user's count, or with NULL everything. */
void penalty_flush(struct penalty *p, const char *user);
/* How many addresses and users are counted now. */
void penalty_counts(const struct penalty *p, size_t *addresses, size_t *users);

#endif
