/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <stdint.h>

#include "auth/addr.h"
#include "auth/frames.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The bodies that other processes send to roost-auth, and the addresses in them. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str body = {(const char *)data, size}, a, b;
	struct frame_start start;
	struct frame_redeem redeem;
	struct addr addr, base;
	char detail[ADDR_LOCAL_MAX + 1];

	frame_start_parse(body, &start);
	frame_continue_parse(body, &a);
	frame_redeem_parse(body, &redeem);
	frame_may_send_parse(body, &a, &b);
	if (!frame_address_parse(body, &a) && !addr_parse(a, &addr))
		addr_split_detail(&addr, "+-", &base, detail);
	if (!addr_parse(body, &addr)) {
		/* What was normalised once does not change again. */
		if (!addr_parse(str_of(addr.text), &base) &&
			!str_equal(str_of(addr.text), str_of(base.text)))
			__builtin_trap();
		addr_split_detail(&addr, "+-", &base, detail);
		addr_is_mailbox_name(&addr);
	}
	return 0;
}
