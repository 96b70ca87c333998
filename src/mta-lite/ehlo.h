/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_EHLO_H
#define ROOST_MTA_EHLO_H

#include <stdint.h>

#include "lib/buf.h"
#include "lib/conf.h"

/*
 * The one answer to EHLO (RFC 5321 section 4.1.1.1), given by roost-proxy before the hand-over and
 * by roost-smtpd after it: both must offer the same.
 */
struct smtp_ehlo_options {
	const char *hostname; /* NULL or "": smtp_hostname() */
	int tls_available; /* STARTTLS can be said now */
	int tls; /* the session is encrypted */
	int submission; /* a port for users */
	int etrn; /* ETRN can be asked for: port 25 */
	int xclient; /* XCLIENT is for this peer */
	int xforward; /* XFORWARD is */
	const char *auth; /* "PLAIN LOGIN"; NULL or "": AUTH is not offered */
};

/* The longest that a message may be held back for its sender (RFC 4865), in seconds. */
enum { SMTP_HOLD_MAX = 30 * 24 * 3600 };

/* Appends a Unix time as HOLDUNTIL has it: "2026-12-24T18:00:00Z". */
void smtp_hold_date_write(struct buf *out, int64_t when);

/* Appends the whole reply, "250-..." lines and the last "250 " line, each with CRLF. */
void smtp_ehlo_write(
	struct buf *out, const struct config *conf, const struct smtp_ehlo_options *opt);

/*
 * The name of this server: the setting hostname, else the machine's fully qualified name, looked up
 * once per process. Never NULL, borrowed for ever.
 */
const char *smtp_hostname(const struct config *conf);

#endif
