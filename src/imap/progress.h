/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMAP_PROGRESS_H
#define ROOST_IMAP_PROGRESS_H

#include <stdint.h>

#include "imap/imap.h"
#include "lib/err.h"

/*
 * Long commands say that they live: "* OK [INPROGRESS ("tag" done goal)]" (RFC 9585), and find out
 * that nobody waits for them any more.
 */
struct imap_progress {
	struct imap_session *s;
	uint64_t goal; /* items; 0: not known */
	uint64_t done;
	int64_t looked_ms, told_ms; /* monotonic */
};

void imap_progress_begin(struct imap_progress *p, struct imap_session *s, uint64_t goal);
/*
 * To be called between two items, outside of read transactions; costs next to nothing. Errors end
 * the command: E_CANCELLED when the server is going down, those of the connection when the client
 * is gone.
 */
enum err imap_progress_tick(struct imap_progress *p, uint64_t done);

#endif
