/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <zlib.h>

#include "lib/buf.h"
#include "lib/log.h"
#include "mta-lite/queue_file.h"

/*
 * A queue file of any bytes. The first byte chooses: the file as it is, or with right checksums
 * around the bytes, so that the parsers behind them are reached.
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct queue_entry q;
	struct str bytes;

	if (size < 2)
		return 0;
	bytes = str_make((const char *)data + 2, size - 2);
	if (data[0] & 1) {
		if (queue_file_parse(bytes, &q) == OK)
			ROOST_ASSERT(q.end <= bytes.len);
		queue_entry_free(&q);
		return 0;
	}
	if (queue_header_parse(bytes,
		    (uint32_t)crc32_z(0, (const unsigned char *)bytes.p, bytes.len), &q) == OK) {
		struct buf again = {0};
		struct str tail = bytes;

		ROOST_ASSERT(queue_header_write(&q, 0, &again) == OK);
		ROOST_ASSERT(queue_status_apply(&q, tail) <= tail.len);
		buf_free(&again);
	}
	queue_entry_free(&q);
	return 0;
}
