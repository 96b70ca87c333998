/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IDLE_SLEEPER_H
#define ROOST_IDLE_SLEEPER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "idle/idle_client.h"
#include "lib/ipc.h"
#include "lib/link.h"
#include "lib/service.h"

/*
 * roost-idle: holds the clients of IMAP sessions that sleep. It never reads what a client says and
 * knows nothing of mail. It watches the client's descriptor, and through roost-index the mailbox;
 * when either speaks it hands the client to roost-imap again, with what the session had sealed.
 *
 *   state      what goes on                                          ends by
 *   SETTLING   the index was asked to watch; the session waits       its answer, a time-out
 *   ASLEEP     nothing                                               client, mailbox, time, kick
 *   DUE        roost-imap cannot be reached, or is full              the next try
 *   WAKING     roost-imap was given the client and has not answered  its answer
 */
enum sleeper_state { SLEEPER_SETTLING, SLEEPER_ASLEEP, SLEEPER_DUE, SLEEPER_WAKING };

struct idle;

struct sleeper {
	struct link_request watch, wake; /* under way, or zero */
	TAILQ_ENTRY(sleeper) entry;
	struct idle *idle;
	struct ipc_conn *session; /* SETTLING: is told how it came out */
	uint32_t request;
	struct event event; /* the client's descriptor, and the next moment to do something */
	int64_t bye_ms, still_here_ms;
	int fd;
	enum sleeper_state state : 8;
	unsigned idling : 1;
	unsigned deflated : 1;
	unsigned unwatched : 1; /* the index went away: it will be woken to be on the safe side */
	uint32_t handover_len;
	char *handover; /* body of SESSION_HANDOVER; the mailbox's name follows it */
	const char *mailbox; /* in the same memory; "" */
};
TAILQ_HEAD(sleepers, sleeper);

struct idle {
	struct service_run *run;
	struct link *index, *imap;
	struct sleepers settling; /* SLEEPER_SETTLING */
	struct sleepers sleepers; /* all others */
	size_t count, bytes; /* of handovers */
	uint64_t slept, woken;
	struct event *reconnect; /* to roost-imap */
	struct event *wake_some; /* those that nobody watches */
};

/* m is an IDLE_SLEEP of a session; it is answered now or later. */
void sleeper_take(struct idle *idle, struct ipc_conn *session, struct ipc_msg *m);
/* The session went away: if it had not heard how it came out, the client goes, too. */
void sleeper_session_gone(struct idle *idle, const struct ipc_conn *session);
/* The client hears "* BYE text" and is gone. Not while WAKING. reason: for the log. */
void sleeper_say_bye(struct sleeper *s, const char *text, const char *reason);
/* Hands the client to roost-imap. */
void sleeper_wake(struct sleeper *s);
/* Closes our copy of the descriptor. */
void sleeper_free(struct sleeper *s);
/* Ends the process if it is draining and nobody is left. */
void idle_maybe_done(struct idle *idle);

#endif
