/* SPDX-License-Identifier: MIT */
#ifndef ROOST_PROXY_RELAY_H
#define ROOST_PROXY_RELAY_H

#include "lib/net.h"
#include "proxy/conn.h"

struct proxy;

/*
 * Carries bytes between a TLS client and the session that serves it, until either is done. What the
 * slower side has not taken is at most one TLS record; then the faster one is not read any more.
 */
struct relay;

/*
 * Takes over client (empty then) and session_fd. counted: limits_leave is due at the end. id:
 * copied.
 */
void relay_start(struct proxy *px, struct conn *client, int session_fd, const struct net_addr *peer,
	int counted, const char *id);
void relay_close_all(struct proxy *px);

#endif
