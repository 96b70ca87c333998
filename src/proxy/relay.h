/* SPDX-License-Identifier: MIT */
#ifndef ROOST_PROXY_RELAY_H
#define ROOST_PROXY_RELAY_H

#include "lib/net.h"
#include "proxy/conn.h"
#include "proxy/limits.h"

struct proxy;

/*
 * Carries bytes between a TLS client and the session that serves it, until either is done. What the
 * slower side has not taken is at most one TLS record; then the faster one is not read any more.
 */
struct relay;

struct relay_client {
	struct net_addr peer;
	int counted; /* limits_leave is due at the end */
	struct limits_login login; /* so is limits_login_leave */
	const char *id; /* copied */
};
/* Takes over client (empty then) and session_fd. */
void relay_start(
	struct proxy *px, struct conn *client, int session_fd, const struct relay_client *who);
void relay_close_all(struct proxy *px);

#endif
