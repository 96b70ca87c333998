/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_TICKET_H
#define ROOST_AUTH_TICKET_H

#include <stdint.h>
#include <time.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"

/*
 * A mailbox ticket: auth's word to the index service that its bearer may open one user's mail. It
 * is the user's data and an HMAC-SHA-256 over it with the key that the master gives to auth and
 * index alone (setting ticket_key), so that a session can reach no other user's mail and the index
 * needs no database. One with a guest is made by the index itself: its bearer gets of the user's
 * mail what the guest has rights to, each request anew.
 */
struct ticket {
	char *user;
	char *home;
	uint64_t quota_bytes, quota_messages; /* 0: no limit */
	char *quota_rules; /* lib/quota_rules.h; ticket_make takes NULL for none */
	char *acl_groups; /* the bearer's, auth/acl_groups.h; likewise */
	time_t expires;
	char *guest, *guest_home; /* NULL: the bearer is the user himself */
};
enum { TICKET_LIFETIME_S = 24 * 3600 };

/* key_hex: the setting. Appends printable text to *out. E_RANGE: the key is not 64 hex digits. */
enum err ticket_make(const char *key_hex, const struct ticket *t, struct buf *out);
/*
 * E_AUTH: forged or expired at now. E_RANGE: the key is not 64 hex digits. *out is zeroed first;
 * ticket_free in either case.
 */
enum err ticket_check(const char *key_hex, struct str text, time_t now, struct ticket *out);
void ticket_free(struct ticket *t);

#endif
