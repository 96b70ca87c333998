/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_DNS_PRIVATE_H
#define ROOST_MTA_DNS_PRIVATE_H

#include <unbound.h>

#include "mta-lite/dns.h"

/* Between dns.c and dns_many.c: a fresh context gets the resolvers and anchors. E_IO: logged. */
enum err dns_configure(struct ub_ctx *ctx, const struct config *conf);

#endif
