/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IDLE_IDLE_PROTO_H
#define ROOST_IDLE_IDLE_PROTO_H

/*
 * Frames (lib/ipc.h) spoken on run/idle: an IMAP session gives its client to roost-idle. A
 * connection serves one exchange.
 */
enum idle_frame {
	/*
	 * SLEEP, with the client's descriptor:
	 *   u8 idling: IDLE is under way: the client gets IDLE_STILL_HERE now and then, and news of
	 *      the mailbox wakes it
	 *   u8 deflated: what is said to the client has to be compressed (RFC 4978)
	 *   u64 bye_ms: silence up to here ends the connection; u64 still_here_ms: when the next
	 *      IDLE_STILL_HERE is due; both of the monotonic clock (io_now_ms)
	 *   str watch: token for run/index-sleep, empty: no news wakes it; u64 modseq that goes
	 *      with it
	 *   str mailbox: for `who`
	 *   str handover: the body of the SESSION_HANDOVER (lib/session.h) that wakes it. What is
	 *      sealed in there roost-idle can neither read nor change.
	 * -> SLEPT: u8 1: it is asleep, and watched; 0: not taken, the session must go on.
	 */
	IDLE_SLEEP = 1,
	IDLE_SLEPT = 2,
};

/* The handover of a sleeper, with all that the session remembers. */
enum { IDLE_BODY_MAX = 128 * 1024 };

/* What the client of a session hears in IDLE, awake or asleep, and how often. */
#define IDLE_STILL_HERE "* OK Still here\r\n"
enum { IDLE_STILL_HERE_MS = 2 * 60 * 1000 };
/* And its last words. */
#define IDLE_BYE_TIMEOUT "Too long without a command"
#define IDLE_BYE_SHUTDOWN "Server is going down"

#endif
