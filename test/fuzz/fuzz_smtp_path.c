/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "mta-lite/smtp_args.h"

/* MAIL and RCPT arguments: an accepted address is clean text and parses to itself. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(const struct smtp_path *p)
{
	struct smtp_path again;

	ROOST_ASSERT(!str_has_control(str_of(p->address)));
	if (p->address[0] == '\0')
		return;
	ROOST_ASSERT(smtp_mailbox_parse(str_of(p->address), &again) == OK);
	ROOST_ASSERT(strcmp(again.address, p->address) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str s = str_make((const char *)data, size);
	struct smtp_mail mail;
	struct smtp_rcpt rcpt;
	struct smtp_path path;

	if (smtp_mail_parse(s, 1, 1, &mail) == NULL) {
		check(&mail.from);
		ROOST_ASSERT(!str_has_control(str_of(mail.envid)));
	}
	if (smtp_rcpt_parse(s, 1, &rcpt) == NULL) {
		check(&rcpt.to);
		ROOST_ASSERT(!str_has_control(str_of(rcpt.orcpt)));
	}
	if (smtp_path_cut(&s, &path) == OK)
		check(&path);
	return 0;
}
