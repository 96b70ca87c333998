/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LIB_SESSION_CHILD_H
#define ROOST_LIB_SESSION_CHILD_H

#include "lib/service.h"
#include "lib/session.h"
#include "lib/session_shared.h"

/* Between the parent (session.c) and the child of the skeleton. */

/*
 * On the datagram channel from children to the parent a single byte says that the child waits for
 * another client; the first time the parent's end of the child's order socket is attached. Anything
 * longer is a report: user, detail, each ended by NUL.
 */
enum { SESSION_WAITS_LEN = 1 };
/*
 * SESSION_SLEEPS, then what becomes of the session's client: the keeper has it, or not (see
 * session_sleeps), or the proxy gets it back. No user's name begins with this byte.
 */
enum { SESSION_SLEEPS = 1, SESSION_SLEEPS_LEN = 2 };
enum { SESSION_AWAKE, SESSION_ASLEEP, SESSION_LEAVES };

/*
 * SESSION_TRACE, 'C' for the client or 'S' for us, then a line of the dialogue: to who traces the
 * session.
 */
enum { SESSION_TRACE = 2, SESSION_TRACE_HEAD = 2, SESSION_TRACE_MAX = 1000 };

/*
 * The child's whole life: serves the client behind fd, and, when the program says SESSION_AGAIN,
 * those that the parent sends after it. Takes over fd and *info. channel: to the parent. shared:
 * what the parent looks at, or NULL.
 */
void session_child_main(struct service_run *run, const struct session_program *program, int channel,
	struct session_shared *shared, int fd, struct session_info *info) __attribute__((noreturn));

#endif
