/* SPDX-License-Identifier: MIT */
#include "../unit/prelogin_drive.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct prelogin_protocol *proto = &prelogin_smtp;

	if (size > 0 && data[0] & 0x80)
		proto = data[0] & 0x40 ? &prelogin_pop3 : &prelogin_submission;
	prelogin_drive(proto, data, size);
	return 0;
}
