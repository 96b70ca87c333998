/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_SEAL_H
#define ROOST_AUTH_SEAL_H

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"

/*
 * Bytes that their keeper can neither read more out of nor change: an HMAC-SHA-256 in front of
 * them, with a key that the master makes (settings ticket_key, imap_sleep_key). label says what
 * they are for, so that one kind cannot pass for another; context is what they are bound to and
 * what opens them has to bring along (a session's id).
 */
enum { SEAL_BYTES = 32 };

/* Appends the seal and body to *out. E_RANGE: key_hex is not 64 hex digits. */
enum err seal_make(const char *key_hex, const char *label, struct str context, struct str body,
	struct buf *out);
/* *body: borrowed from sealed. E_AUTH: not made with this key, label and context. E_RANGE as above.
 */
enum err seal_open(const char *key_hex, const char *label, struct str context, struct str sealed,
	struct str *body);

#endif
