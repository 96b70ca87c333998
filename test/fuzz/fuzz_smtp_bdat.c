/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "lib/log.h"
#include "mta-lite/smtp_bdat.h"

/* BDAT: arguments up to the first line end; of what follows the same is found in any chunks. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct smtp_data
look(struct str content, size_t step)
{
	struct smtp_data d = SMTP_DATA_INIT;
	size_t at;

	for (at = 0; at < content.len; at += step) {
		size_t len = content.len - at < step ? content.len - at : step;

		smtp_bdat_look(&d, str_make(content.p + at, len));
	}
	smtp_bdat_end(&d);
	return d;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str content = str_make((const char *)data, size), args = str_split(&content, '\n');
	struct smtp_data whole = look(content, content.len + 1), bytes = look(content, 1);
	uint64_t n = 0;
	int last = 0;

	if (smtp_bdat_parse(args, &n, &last) == OK)
		ROOST_ASSERT(args.len > 0 && str_is_digit(args.p[0]));
	ROOST_ASSERT(whole.bare_lf == bytes.bare_lf && whole.bare_cr == bytes.bare_cr);
	ROOST_ASSERT(whole.has_nul == bytes.has_nul && whole.longest == bytes.longest);
	ROOST_ASSERT(whole.has_8bit == bytes.has_8bit);
	ROOST_ASSERT(whole.has_nul == (content.p && memchr(content.p, 0, content.len) != NULL));
	return 0;
}
