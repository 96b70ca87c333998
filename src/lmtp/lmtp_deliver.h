/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LMTP_DELIVER_H
#define ROOST_LMTP_DELIVER_H

#include "lib/session.h"
#include "lmtp/lmtp_session.h"

/*
 * Delivery into the recipients' mailboxes.
 *
 * The message is written once, into the folder of the first recipient that can take it, and linked
 * into those of the others, who all share one file. So Delivered-To, which names one recipient, is
 * added only when there is just one; several recipients of a transaction find Return-Path and
 * Received on top. Addresses that end in the same folder of the same user get one copy and the same
 * reply.
 *
 * user+detail@ goes to the folder "detail" (case does not count); if there is none it is made,
 * with lmtp_create_mailbox, else the message goes to INBOX. There it goes too when "p" (RFC 4314)
 * is taken from anyone for that folder, or with lmtp_detail_needs_post not given: mail to an
 * address of the user's is never refused for that.
 */
struct lmtp_deliver;
struct lmtp_deliver *lmtp_deliver_create(struct session *s, const char *hostname);
void lmtp_deliver_free(struct lmtp_deliver **d);

/* To be used with a struct lmtp_deliver * as its arg. */
extern const struct lmtp_store lmtp_deliver_store;

#endif
