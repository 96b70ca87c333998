/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "idle/idle_client.h"
#include "imap/sleep_state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What a session remembered, as if the seal around it had been broken; and what roost-idle gets. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str body = {(const char *)data, size}, mailbox;
	struct imap_sleep_state state, again;
	struct idle_sleep sleep;
	struct buf copy = {0};

	(void)idle_sleep_get(body, &sleep, &mailbox);
	if (imap_sleep_state_get(body, &state) == OK) {
		/* What was understood is written and understood the same way. */
		imap_sleep_state_put(&copy, &state);
		if (imap_sleep_state_get(buf_str(&copy), &again) || again.errors != state.errors ||
			again.selected != state.selected ||
			again.recent.count != state.recent.count ||
			!str_equal(again.view, state.view) || !str_equal(again.tag, state.tag))
			__builtin_trap();
		imap_sleep_state_free(&again);
	}
	imap_sleep_state_free(&state);
	buf_free(&copy);
	return 0;
}
