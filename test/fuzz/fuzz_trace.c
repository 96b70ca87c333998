/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "trace/trace_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
count(void *arg, int from_client, struct str line)
{
	volatile char sum = 0;

	for (size_t i = 0; i < line.len; i++)
		sum = (char)(sum + line.p[i]);
	*(size_t *)arg += line.len + (size_t)from_client;
}

/* The first byte chooses the protocol; then pieces: a byte for the side and length, and its bytes.
 */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t shown = 0, at = 1;
	struct trace_text *t;

	if (size < 1)
		return 0;
	t = trace_text_create((enum trace_protocol)(data[0] % 3), count, &shown);
	trace_text_set_content(t, data[0] >> 2 & 1);
	while (at < size) {
		size_t len = data[at] >> 1;
		int side = data[at++] & 1;

		if (len > size - at)
			len = size - at;
		trace_text_feed(t, side, (const char *)data + at, len);
		at += len;
	}
	trace_text_free(&t);
	return 0;
}
