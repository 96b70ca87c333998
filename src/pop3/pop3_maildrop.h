/* SPDX-License-Identifier: MIT */
#ifndef ROOST_POP3_MAILDROP_H
#define ROOST_POP3_MAILDROP_H

#include <stddef.h>
#include <stdint.h>

#include "index/index_client.h"
#include "lib/err.h"
#include "pop3/pop3_uidl.h"

/*
 * INBOX as it was at log-in (RFC 1939 section 3: numbers do not change during a session), with what
 * the client wants deleted. Exclusive: nobody else opens the same maildrop meanwhile.
 */
struct pop3_message {
	uint32_t uid;
	uint64_t size; /* with CRLF line ends */
	unsigned char deleted, retrieved, seen;
};

struct pop3_maildrop {
	struct index_user *user; /* borrowed */
	uint32_t mailbox, uidvalidity;
	struct pop3_message *v;
	uint32_t count;
	uint32_t left; /* not marked as deleted, and their size */
	uint64_t left_size;
	int can_delete, can_see; /* rights of the owner (mail/rights.h): t and e; s */
	int lock;
	const char *uidl_format; /* see pop3_uidl.h; borrowed, NULL: the default */
	struct pop3_uidls uidls; /* of the server before; freed by pop3_maildrop_close */
};

/*
 * E_CONFLICT: another session has it. E_STATE: the owner took the right to read INBOX from himself.
 * Others as in index_client.h. pop3_maildrop_close in any case.
 * A message whose file cannot be read, for good, is left out and logged.
 */
enum err pop3_maildrop_open(struct index_user *u, struct pop3_maildrop *out);
/*
 * Notes a log-in, to whom the maildrop was opened. E_RANGE: the one before was less than delay_ms
 * ago (0: does not matter).
 */
enum err pop3_maildrop_log_in(struct pop3_maildrop *m, int64_t delay_ms);
void pop3_maildrop_close(struct pop3_maildrop *m);
/* A message by its number that is not marked as deleted, or NULL. */
struct pop3_message *pop3_maildrop_get(struct pop3_maildrop *m, uint32_t number);
/*
 * Appends the name of the message's file as the %f of pop3_uidl_format has it: without flags and
 * UID, with the fields S and W whether the file's name has them yet or not; so it never changes.
 * E_NOTFOUND: the message is gone.
 */
enum err pop3_maildrop_file(
	struct pop3_maildrop *m, const struct pop3_message *msg, struct buf *out);
void pop3_maildrop_delete(struct pop3_maildrop *m, struct pop3_message *msg);
void pop3_maildrop_reset(struct pop3_maildrop *m);
/*
 * The UPDATE state (RFC 1939 section 6): removes what is marked; sets \Seen on the retrieved ones
 * that stay. *removed: how many went. An error: some or all of them are still there.
 */
enum err pop3_maildrop_update(struct pop3_maildrop *m, uint32_t *removed);

#endif
