/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_SMTP_ARGS_H
#define ROOST_MTA_SMTP_ARGS_H

#include <stdint.h>

#include "lib/buf.h"
#include "lib/str.h"
#include "mta-lite/dsn.h"
#include "mta-lite/smtp_path.h"

/* The arguments of MAIL and RCPT, without touching any state. */

enum { SMTP_ENVID_SIZE = DSN_ENVID_MAX + 1, SMTP_ORCPT_SIZE = DSN_ORCPT_MAX + 1 };

struct smtp_mail {
	struct smtp_path from;
	uint64_t size; /* SIZE= (RFC 1870); 0: not given */
	enum dsn_ret ret;
	char envid[SMTP_ENVID_SIZE]; /* decoded */
	int binary; /* BODY=BINARYMIME (RFC 3030): the content comes by BDAT */
	int smtputf8; /* SMTPUTF8 (RFC 6531) */
	int require_tls; /* REQUIRETLS (RFC 8689) */
	int has_priority, priority; /* MT-PRIORITY (RFC 6710), -9 to 9 */
	/* FUTURERELEASE (RFC 4865): one of them at most; 0: not given. */
	int64_t hold_for; /* seconds */
	int64_t hold_until; /* Unix time */
};

struct smtp_rcpt {
	struct smtp_path to;
	unsigned notify; /* enum dsn_notify */
	char orcpt[SMTP_ORCPT_SIZE]; /* "rfc822;address", decoded */
};

/*
 * args: what stands behind "MAIL" or "RCPT". esmtp: parameters are allowed; auth: AUTH= too; utf8:
 * MAIL had SMTPUTF8, without which an address beyond ASCII is refused (RFC 6531 section 3.5).
 * NULL: parsed. Otherwise the reply line to be sent, without its CRLF.
 */
const char *smtp_mail_parse(struct str args, int esmtp, int auth, struct smtp_mail *out);
const char *smtp_rcpt_parse(struct str args, int esmtp, int utf8, struct smtp_rcpt *out);

/*
 * For clients that leave out the angle brackets (strict_rfc821_envelopes = no): puts them around
 * the address. *space holds the result, which is args itself where nothing is to be done.
 */
struct str smtp_args_add_brackets(struct str args, struct buf *space);

#endif
