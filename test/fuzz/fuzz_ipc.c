/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "lib/ipc.h"

/* Reads fields of all kinds, in an order that the input chooses, out of the rest of the input. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t kinds = size / 4;
	struct ipc_reader r = ipc_reader_of(str_make((const char *)data + kinds, size - kinds));

	for (size_t i = 0; i < kinds; i++) {
		switch (data[i] % 5) {
		case 0:
			ipc_get_u8(&r);
			break;
		case 1:
			ipc_get_u32(&r);
			break;
		case 2:
			ipc_get_u64(&r);
			break;
		case 3:
			ipc_get_str(&r);
			break;
		case 4:
			free(ipc_get_dup(&r));
			break;
		}
	}
	ipc_reader_end(&r);
	return 0;
}
