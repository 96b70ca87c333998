/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LMTP_LHLO_H
#define ROOST_LMTP_LHLO_H

#include "lib/buf.h"
#include "lib/conf.h"

/*
 * The answer to LHLO (RFC 2033 section 4.1), the same from roost-proxy, where a connection over TCP
 * begins, and from roost-lmtp.
 *
 * DSN (RFC 3461) is not among it: what a client that finds no DSN here has to do is to report the
 * delivery itself (section 5.2.2), which Postfix, Exim and roost-qmgr do, and they know more of the
 * message's way than the last server.
 */
struct lmtp_lhlo_options {
	int tls_available; /* STARTTLS */
	int xclient; /* the client may say XCLIENT */
};

void lmtp_lhlo_write(
	struct buf *out, const struct config *conf, const struct lmtp_lhlo_options *options);
/* Whether this client may say XCLIENT: its address is in lmtp_xclient_networks. */
struct net_addr;
int lmtp_xclient_allowed(const struct config *conf, const struct net_addr *peer);

#endif
