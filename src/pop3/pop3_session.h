/* SPDX-License-Identifier: MIT */
#ifndef ROOST_POP3_SESSION_H
#define ROOST_POP3_SESSION_H

#include "lib/session.h"
#include "pop3/pop3_maildrop.h"

/*
 * The TRANSACTION and UPDATE states of POP3 (RFC 1939, RFC 2449) for an open maildrop, behind the
 * answer to the log-in. Returns when the client has gone or is to go.
 */
struct pop3_totals {
	uint32_t retrieved, topped, removed;
	const char *reason; /* why it ended, for the log */
	int quit; /* the client said QUIT, and what it wanted was done */
};
void pop3_session_serve(struct session *s, struct pop3_maildrop *m, struct pop3_totals *totals);

#endif
