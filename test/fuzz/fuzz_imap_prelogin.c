/* SPDX-License-Identifier: MIT */
#include "../unit/prelogin_drive.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	prelogin_drive(&prelogin_imap, data, size);
	return 0;
}
