/* SPDX-License-Identifier: MIT */
#ifndef ROOST_PROXY_PROXY_HEADER_H
#define ROOST_PROXY_PROXY_HEADER_H

#include <stddef.h>

#include "lib/net.h"
#include "lib/str.h"

/*
 * The PROXY protocol header, versions 1 and 2 (HAProxy's "The PROXY protocol", revision
 * 2020/03/05), with which a load balancer says who its client is. Accepted from
 * proxy_protocol_networks only.
 */
enum {
	PROXY_HEADER_V1_MAX = 107, /* with CRLF */
	PROXY_HEADER_V2_MAX = 2048, /* ours: 16 bytes and what follows, TLVs included */
};

struct proxy_header {
	int known; /* 0: UNKNOWN or LOCAL, keep the addresses of the connection */
	struct net_addr peer, local;
};

enum proxy_header_result {
	PROXY_HEADER_MORE, /* a good beginning: all bytes given belong to the header */
	PROXY_HEADER_DONE, /* *out and *used are set; TLVs were skipped */
	PROXY_HEADER_BAD,
};
enum proxy_header_result proxy_header_parse(
	struct str bytes, struct proxy_header *out, size_t *used);

#endif
