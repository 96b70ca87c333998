/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_RESOLVE_H
#define ROOST_AUTH_RESOLVE_H

#include "auth/auth_client.h"
#include "auth/directory.h"

/*
 * Who gets what is sent to an address; the one place that knows. In this order:
 *
 *   1. The domain: ours; an alias of one of ours (then that one, up to 16 times); else remote.
 *   2. An alias of exactly this address. A target equal to the alias is the mailbox of that name.
 *   3. A mailbox of exactly this address.
 *   4. With a delimiter in the local part: 2 and 3 for what stands before it. The detail goes with
 * a mailbox and is dropped by an alias.
 *   5. The catch-all, an alias "@domain".
 *   6. postmaster and abuse: the server's postmaster (see auth_lookup_rcpt).
 *
 * Aliases nest up to 16 deep. A target that does not exist (any more) stays among the targets as
 * long as one other is good, so that its delivery fails and is reported, and not that of the
 * others.
 */
enum { RESOLVE_DEPTH_MAX = 16 };

/* As auth_lookup_rcpt says. */
enum err resolve_rcpt(struct directory *d, struct str address, struct auth_rcpt *out);
/* As auth_may_send_as says. */
enum err resolve_may_send_as(struct directory *d, const char *user, struct str address);
/*
 * The mailbox that this address logs in to: without aliases and details, but with domain aliases.
 * *out is zeroed first; the caller frees it. active is 0 when the domain is switched off, too.
 * E_NOTFOUND, E_TEMPFAIL.
 */
enum err resolve_login(struct directory *d, const struct addr *a, struct directory_user *out);
/* As auth_lookup_user says, without the ticket. detail[ADDR_LOCAL_MAX + 1]. */
enum err resolve_user(
	struct directory *d, struct str address, struct directory_user *out, char *detail);
/* Where a user's mail lies, on the heap: <mail_dir>/<domain>/<local>. */
char *resolve_home(const struct auth_settings *s, const struct addr *a);

#endif
