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

/* What goes to a server without SMTPUTF8 is ASCII, and means the same. */
static void
check_orcpt(const char *orcpt)
{
	struct buf text = {0}, again = {0};

	ROOST_ASSERT(!str_has_control(str_of(orcpt)) && str_is_utf8(str_of(orcpt)));
	dsn_orcpt_format(str_of(orcpt), 0, &text);
	ROOST_ASSERT(str_is_ascii(buf_str(&text)));
	if (text.len > 0 && text.len <= DSN_ORCPT_MAX) {
		ROOST_ASSERT(dsn_orcpt_parse(buf_str(&text), &again) == OK);
		ROOST_ASSERT(str_is(buf_str(&again), orcpt));
	}
	buf_free(&text);
	buf_free(&again);
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
	if (smtp_rcpt_parse(s, 1, 1, &rcpt) == NULL) {
		check(&rcpt.to);
		check_orcpt(rcpt.orcpt);
	}
	if (smtp_path_cut(&s, &path) == OK)
		check(&path);
	return 0;
}
