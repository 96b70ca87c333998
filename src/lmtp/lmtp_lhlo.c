/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "lmtp/lmtp_lhlo.h"

#include <inttypes.h>

#include "lib/net.h"
#include "lib/str.h"

void
lmtp_lhlo_write(struct buf *out, const struct config *conf, const struct lmtp_lhlo_options *options)
{
	buf_printf(out,
		"250-%s\r\n250-PIPELINING\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n"
		"250-SMTPUTF8\r\n250-CHUNKING\r\n",
		conf->hostname);
	if (options->tls_available)
		buf_add_cstr(out, "250-STARTTLS\r\n");
	if (options->xclient)
		buf_add_cstr(out, "250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN\r\n");
	buf_printf(out, "250 SIZE %" PRIu64 "\r\n", conf->max_message_size);
}

int
lmtp_xclient_allowed(const struct config *conf, const struct net_addr *peer)
{
	for (size_t i = 0; i < conf->lmtp_xclient_networks.count; i++) {
		struct net_cidr network;

		if (net_cidr_parse(str_of(conf->lmtp_xclient_networks.items[i]), &network) == OK &&
			net_cidr_match(&network, peer))
			return 1;
	}
	return 0;
}
