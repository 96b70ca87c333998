/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMAP_URL_H
#define ROOST_IMAP_URL_H

#include <stdint.h>

#include "lib/err.h"
#include "lib/str.h"
#include "mail/section.h"

/*
 * An IMAP URL (RFC 5092) that names a message or a part of one in this session's mail, as CATENATE
 * takes it (RFC 4469 section 3): "/Drafts;UIDVALIDITY=1/;UID=20/;SECTION=1.2/;PARTIAL=0.99", or
 * without a mailbox, ";UID=20", for the selected one.
 */
struct imap_url {
	char *mailbox; /* UTF-8; NULL: the selected one */
	uint32_t uidvalidity; /* 0: not said */
	uint32_t uid;
	struct section section;
	uint64_t off, count; /* of the octets; 0 and UINT64_MAX: all */
};

/*
 * E_PARSE: not such a URL; E_UNSUPPORTED: of another server, or with a search or an authorization.
 * The caller calls imap_url_fini also after an error.
 */
enum err imap_url_parse(struct str text, struct imap_url *out);
void imap_url_fini(struct imap_url *url);

#endif
