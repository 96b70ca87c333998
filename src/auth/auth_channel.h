/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_CHANNEL_H
#define ROOST_AUTH_CHANNEL_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/ipc.h"
#include "lib/str.h"

/*
 * One of roost-auth's sockets as a client sees it: a question, an answer. Opened at the first
 * question, and again after an error. Private to auth_client.c.
 */
struct auth_channel {
	const char *name;
	int fd; /* -1: not open */
	uint32_t request; /* of the last question */
	struct buf in; /* read and not yet taken */
	/* Questions that will be asked, in order: from next on without an answer so far. */
	struct auth_expected {
		uint16_t type;
		uint32_t request;
		struct buf body;
	} * expected;
	size_t expected_count, next;
	struct buf unsent; /* the frames of those that the other side does not have yet */
};

enum { AUTH_EXPECTED_MAX = 64 }; /* in one go; more is the caller's fault and left out */

/*
 * Asks and waits. *answer is set with OK, and the caller frees it then. The connection may end with
 * a process whose place another one takes, so that one failure is followed by one try on a new one:
 * no question changes anything, except that a token is used up; then the second try is in vain.
 * E_TEMPFAIL, and the connection is closed, lest a late answer is taken for that of the next
 * question.
 */
enum err auth_channel_ask(struct auth_channel *ch, const char *path, uint16_t type, struct str body,
	struct ipc_msg *answer, int timeout_ms);
/*
 * That this will be asked next, after those that were told before. They are sent together with the
 * first that is asked, and answered together. Another question in between, or auth_channel_close,
 * drops them.
 */
void auth_channel_expect(struct auth_channel *ch, uint16_t type, struct str body);
/* Whoever expected something and has not asked for it drops it, before its answer grows old. */
void auth_channel_expect_none(struct auth_channel *ch);
void auth_channel_close(struct auth_channel *ch);

#endif
