/* SPDX-License-Identifier: MIT */
#include "proxy/proxy_header.h"

#include "lib/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proxy_header h;
	size_t used, more;
	struct str in = str_make((const char *)data, size);
	enum proxy_header_result r = proxy_header_parse(in, &h, &used);

	if (r == PROXY_HEADER_DONE) {
		char text[NET_ADDR_TEXT];
		ROOST_ASSERT(used > 0 && used <= size);
		if (h.known)
			net_addr_format(&h.peer, text);
		/* What follows does not change it, and without its last byte it is not whole. */
		ROOST_ASSERT(
			proxy_header_parse(str_make(in.p, used), &h, &more) == r && more == used);
		ROOST_ASSERT(proxy_header_parse(str_make(in.p, used - 1), &h, &more) ==
			     PROXY_HEADER_MORE);
	} else if (r == PROXY_HEADER_MORE) {
		ROOST_ASSERT(size < PROXY_HEADER_V2_MAX);
	}
	return 0;
}
