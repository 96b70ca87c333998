/* SPDX-License-Identifier: MIT */
#include "mail/cache_format.h"

/* What mail programs are known to ask for in HEADER.FIELDS. Received is left out: it is long. */
const char *const cache_header_names[] = {"Date", "Subject", "From", "Sender", "Reply-To", "To",
	"Cc", "Bcc", "Message-ID", "In-Reply-To", "References", "List-Id", "List-Unsubscribe",
	"List-Post", "X-Priority", "Importance", "Priority", "Content-Type",
	"Content-Transfer-Encoding", "MIME-Version", "Delivered-To", "Return-Path",
	"Disposition-Notification-To", "Newsgroups", "X-Mailer", "User-Agent"};

const unsigned cache_header_count = sizeof(cache_header_names) / sizeof(cache_header_names[0]);

int
cache_header_index(struct str name)
{
	for (unsigned i = 0; i < cache_header_count; i++)
		if (str_is_i(name, cache_header_names[i]))
			return (int)i;
	return -1;
}
