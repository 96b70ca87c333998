/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LMTP_USERS_H
#define ROOST_LMTP_USERS_H

#include "auth/auth_client.h"
#include "index/index_client.h"
#include "lib/conf.h"
#include "lib/err.h"
#include "lib/str.h"

/*
 * The recipients' mail, kept open within a session: an MTA sends message after message through one
 * connection, mostly to the same people, and opening is the dearest part of a delivery.
 */
enum {
	LMTP_USERS_OPEN_MAX = 32, /* indexes open at once */
	LMTP_USER_AGE_MS = 12 * 3600 * 1000, /* well below TICKET_LIFETIME_S: then asked for anew */
};

struct lmtp_user {
	struct auth_user auth;
	struct index_user *index; /* NULL while closed; see lmtp_user_open */
	int64_t since_ms; /* when the ticket was given */
	uint64_t used;
	unsigned refs, pins; /* pinned: stays open */
};

struct lmtp_users;
struct lmtp_users *lmtp_users_create(const struct config *conf);
void lmtp_users_free(struct lmtp_users **us);

/*
 * Asks auth for the user of an address. Auth is asked each time, so that a switched-off user or a
 * new quota counts at once. *detail: the part behind the delimiter, "" if none; the caller frees
 * it. *out is good until lmtp_user_put. E_NOTFOUND, E_ACCESS (switched off), E_TEMPFAIL.
 */
enum err lmtp_user_get(
	struct lmtp_users *us, struct str address, char **detail, struct lmtp_user **out);
/* As auth_expect_user and auth_expect_none. */
void lmtp_user_expect(struct lmtp_users *us, struct str address);
void lmtp_user_expect_none(struct lmtp_users *us);
void lmtp_user_put(struct lmtp_users *us, struct lmtp_user *user);
/* Opens user->index; good until the next call for another user, longer when pinned. As index_open.
 */
enum err lmtp_user_open(struct lmtp_users *us, struct lmtp_user *user);

#endif
