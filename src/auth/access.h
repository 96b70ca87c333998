/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_ACCESS_H
#define ROOST_AUTH_ACCESS_H

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/net.h"
#include "lib/str.h"

/*
 * Where a password is good: lists of services ("imap", "pop3", "smtp") and of networks
 * (10.0.0.0/8, 2001:db8::/32, one address), with blanks or commas between. An empty list, or NULL,
 * is everywhere. What nobody can read in a list matches nothing.
 */
enum { ACCESS_LIST_MAX = 1000 };

int access_service_allowed(const char *list, const char *service);
/* An address that is not known (len 0) is in no network. */
int access_network_allowed(const char *list, const struct net_addr *addr);
/*
 * The list as it is stored: lower case, one blank between. E_PARSE: *bad is what is no service or
 * network; E_TOOBIG.
 */
enum err access_services_normalise(const char *list, struct buf *out, struct str *bad);
enum err access_networks_normalise(const char *list, struct buf *out, struct str *bad);

#endif
