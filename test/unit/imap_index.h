/* SPDX-License-Identifier: MIT */
#ifndef ROOST_TEST_IMAP_INDEX_H
#define ROOST_TEST_IMAP_INDEX_H

#include <stdint.h>

#include "index/index_client.h"

/* The index's client interface over mailboxes in memory, for tests of whole IMAP dialogues. */

/* Empties it: INBOX alone (UIDVALIDITY 1000). */
void memory_index_reset(void);
/* Adds a mailbox. */
void memory_index_mailbox(const char *name, unsigned special_use);
/* Adds a message with the next UID; keyword may be NULL. */
void memory_index_message(const char *mailbox, unsigned flags, const char *keyword);
/* As another session would: a message arrives, loses its \Seen, is gone. */
void memory_index_flag(const char *mailbox, uint32_t uid, unsigned flags);
void memory_index_remove(const char *mailbox, uint32_t uid);
void memory_index_drop_mailbox(const char *name);
/* Bytes of the last message that was appended, without a NUL. */
struct str memory_index_text(const char *mailbox, uint32_t uid);
/* From now on all changes fail like this; OK: no longer. */
void memory_index_fail(enum err e);
/* Called once, at the next index_watch: what happens while a client is in IDLE. */
void memory_index_on_watch(void (*call)(void));

struct index_user *memory_index_user(void);

#endif
