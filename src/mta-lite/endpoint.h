/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_ENDPOINT_H
#define ROOST_MTA_ENDPOINT_H

#include "lib/net.h"

/*
 * Where a filter or policy server listens, as Postfix and Sendmail write it: "inet:127.0.0.1:8891",
 * "inet6:[::1]:8891", "inet:8891@127.0.0.1", "unix:/run/x.sock", "local:/run/x.sock". "localhost"
 * is 127.0.0.1; other names are not looked up, since the process that connects reads no files.
 * E_PARSE.
 */
enum err endpoint_parse(struct str text, struct net_addr *out);

#endif
