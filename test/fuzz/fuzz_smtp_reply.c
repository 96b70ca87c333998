/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <stdint.h>

#include "lib/log.h"
#include "mta-lite/nexthop.h"
#include "mta-lite/smtp_reply.h"

/* Lines of another server, and the same bytes as DNS data. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str rest = str_make((const char *)data, size);
	struct smtp_reply r = {0};
	struct buf text = {0};
	struct mx_host mx;

	while (rest.p && smtp_reply_line(&r, str_split(&rest, '\n')) == OK) {
		buf_reset(&text);
		smtp_reply_format(&r, 500, &text);
		ROOST_ASSERT(text.len <= 500 && !str_has_control(buf_str(&text)));
		ROOST_ASSERT(smtp_reply_dsn(&r)[1] == '.');
	}
	smtp_reply_free(&r);
	buf_free(&text);
	(void)mx_record_parse(data, size, &mx);
	return 0;
}
