/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMAP_STATE_H
#define ROOST_IMAP_STATE_H

#include "imap/imap.h"

/* What only the commands that select a mailbox need of state.c. */

/* "* OK [HIGHESTMODSEQ n]" of the selected mailbox (RFC 7162 section 3.1.2.1). */
void imap_send_highest_modseq(struct imap_session *s);
/*
 * For the tagged reply: the mod-sequence that it has to tell with HIGHESTMODSEQ, 0: none. To be
 * asked once for each reply, which then has to tell it.
 */
uint64_t imap_state_due_modseq(struct imap_session *s);
/* Sends FLAGS and PERMANENTFLAGS. */
void imap_send_mailbox_flags(struct imap_session *s);
/*
 * Adds the messages from message number first_seq on that are \Recent to s->recent, and, in a
 * mailbox that is not read-only, takes the flag from later sessions (RFC 3501 section 2.3.2).
 */
void imap_state_claim_recent(struct imap_session *s, uint32_t first_seq);

#endif
