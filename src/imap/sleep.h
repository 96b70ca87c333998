/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMAP_SLEEP_H
#define ROOST_IMAP_SLEEP_H

#include <stdint.h>

#include "imap/imap.h"

/*
 * A silent session gives its client to roost-idle and ends; another process goes on with it, from
 * what it had sealed. See doc/architecture.md, "Sleep".
 */

/* When a client that is silent since since_ms should be put to sleep; INT64_MAX: never. */
int64_t imap_sleep_due_ms(const struct imap_session *s, int64_t since_ms);

struct imap_sleep_idle {
	int64_t deadline_ms, still_here_ms; /* of io_now_ms */
};
/*
 * Puts it to sleep. idle: IDLE is under way (s->tag is still to be answered), and all that is known
 * of the mailbox was told; else NULL, and the next command is awaited until deadline_ms. 1: it
 * sleeps, or it is lost: s->end is set, and nothing may be said to the client any more. 0: not now,
 * or not at all; the session goes on.
 */
int imap_sleep(struct imap_session *s, const struct imap_sleep_idle *idle, int64_t deadline_ms);

/* Whether the session that begins is one that slept. */
int imap_sleep_is_wake(const struct session *base);
/* BYE to a session that slept and cannot go on, before anything of it was restored. */
void imap_sleep_refuse(struct session *base, const char *text);
/*
 * For that one, when the user is known: goes on where the session was. IDLE that was under way is
 * in s->woken then. If it cannot go on: BYE.
 */
void imap_sleep_wake(struct imap_session *s);

/* Goes on with an IDLE that was under way: as imap_command_idle.run, behind the "+". */
enum err imap_idle_go_on(struct imap_session *s, struct imap_parser *p);

#endif
