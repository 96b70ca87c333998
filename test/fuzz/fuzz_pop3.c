/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "pop3/pop3_command.h"
#include "pop3/pop3_send.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum err
collect(void *arg, const char *p, size_t len)
{
	return buf_add(arg, p, len);
}

/* What a client makes of it must end in CRLF, hold no line of a single dot, no line end but CRLF.
 */
static void
check_output(struct str out)
{
	if (out.len > 0 && (out.len < 2 || memcmp(out.p + out.len - 2, "\r\n", 2) != 0)) {
		abort();
	}
	for (size_t i = 0; i < out.len; i++) {
		int bol = i == 0 || out.p[i - 1] == '\n';

		if (out.p[i] == '\n' && (i == 0 || out.p[i - 1] != '\r')) {
			abort();
		}
		if (bol && out.p[i] == '.' && (i + 1 == out.len || out.p[i + 1] != '.')) {
			abort();
		}
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = str_make((const char *)data, size);
	struct pop3_command c;
	struct buf out = {0};

	pop3_command_parse(text, &c);
	pop3_send_message(text, UINT64_MAX, collect, &out);
	check_output(buf_str(&out));
	if (pop3_is_plain(text) && memchr(data, '\n', size) == NULL) {
		abort();
	}
	buf_reset(&out);
	pop3_send_message(text, size > 0 ? data[0] % 8 : 0, collect, &out);
	check_output(buf_str(&out));
	buf_free(&out);
	return 0;
}
