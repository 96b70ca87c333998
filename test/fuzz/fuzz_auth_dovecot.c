/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "auth/base64.h"
#include "auth/dovecot_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What other programs send in Dovecot's protocol: a line's parameters. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str line = {(const char *)data, size}, rest;
	struct buf decoded = {0}, written = {0};
	struct dovecot_auth a;
	uint32_t id;

	dovecot_version_parse(line);
	dovecot_id_parse(line, &id, &rest);
	if (!dovecot_auth_parse(line, &a)) {
		dovecot_is_service(a.service);
		sasl_base64_decode(a.resp, &decoded);
	}
	dovecot_put(&written, "user", line);
	/* One parameter, whatever the value. */
	if (written.len && (memchr(written.p + 1, '\t', written.len - 1) ||
				   memchr(written.p, '\n', written.len)))
		__builtin_trap();
	buf_free(&decoded);
	buf_free(&written);
	return 0;
}
