/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMAP_NOTIFY_H
#define ROOST_IMAP_NOTIFY_H

#include "imap/imap.h"

/*
 * NOTIFY (RFC 5465): a client says what it wants to be told without asking, of the selected mailbox
 * and of others. Until it does so (imap_session.notify is NULL) all is as in RFC 3501. With NOTIFY
 * NONE, or without SELECTED, the selected mailbox stands still for the client until it says
 * otherwise: nothing of what others do is told, and no message number changes.
 */

enum imap_notify_event {
	IMAP_NOTIFY_MESSAGES = 1, /* MessageNew and MessageExpunge, which go together */
	IMAP_NOTIFY_FLAGS = 2, /* FlagChange */
	IMAP_NOTIFY_NAME = 4, /* MailboxName */
	IMAP_NOTIFY_SUBSCRIPTION = 8, /* SubscriptionChange */
	IMAP_NOTIFY_METADATA = 16, /* MailboxMetadataChange */
	IMAP_NOTIFY_SERVER_METADATA = 32, /* ServerMetadataChange */
};

/* How often a service that is away is asked again, or a client that takes nothing is looked at. */
enum { IMAP_NOTIFY_RETRY_MS = 1000 };

/* Whether anything is to be told between commands. */
int imap_notify_is_on(const struct imap_session *s);
/*
 * For who waits for the client while it is on: tells what happened, and asks to be woken by what
 * will. with_expunges: those of the selected mailbox too, as in IDLE; else as the client wants
 * them. Returns the descriptor to wait for, or -1; *again: come back after IMAP_NOTIFY_RETRY_MS in
 * any case.
 */
int imap_notify_turn(struct imap_session *s, int with_expunges, int *again);
/* What may be told of the selected mailbox: a union of enum imap_notify_event. */
unsigned imap_notify_selected(const struct imap_session *s);
/* imap_state_sync told of messages behind this UID: sends what the client wants to have of them. */
void imap_notify_fetch_new(struct imap_session *s, uint32_t behind_uid);
/*
 * Flags that changed behind this mod-sequence were not told (FlagChange is not wanted): the client
 * must not take a later one for its own. imap_notify_flags_missed: the lowest, 0: none.
 */
void imap_notify_miss_flags(struct imap_session *s, uint64_t modseq);
uint64_t imap_notify_flags_missed(const struct imap_session *s);
/* They were told after all, or the mailbox was left. */
void imap_notify_forget_flags(struct imap_session *s);
void imap_notify_unselected(struct imap_session *s);
void imap_notify_free(struct imap_session *s);

/* What this client did itself it is not told of (RFC 5465 section 5). */

/* Made, removed, renamed, subscribed to: this name, those above and below it. */
void imap_notify_own_name(struct imap_session *s, struct str name);
void imap_notify_own_messages(struct imap_session *s, uint32_t mailbox, const struct numset *uids);
void imap_notify_own_metadata(
	struct imap_session *s, uint32_t mailbox, const struct index_metadata *list, size_t count);

#endif
