/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "mail/imap_url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* URLs as clients send them: what was split up is the text that it came from. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = str_make((const char *)data, size);
	struct imap_url url;

	if (imap_url_parse(text, &url) == OK)
		ROOST_ASSERT(url.uid > 0 && url.count > 0 && !url.user);
	imap_url_fini(&url);
	for (int rump = 0; rump < 2; rump++) {
		if (imap_url_parse_auth(text, rump, &url) == OK) {
			char *user = imap_url_user(url.user, "somebody@example.test");

			ROOST_ASSERT(url.uid > 0 && url.mailbox && url.rump.p == text.p);
			ROOST_ASSERT(strchr(user, '@'));
			free(user);
			if (rump)
				ROOST_ASSERT(url.rump.len == text.len && url.token.len == 0);
			else
				ROOST_ASSERT(url.rump.len + url.mechanism.len + url.token.len + 2 ==
					     text.len);
		}
		imap_url_fini(&url);
	}
	return 0;
}
