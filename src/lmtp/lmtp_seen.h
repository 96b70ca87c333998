/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LMTP_SEEN_H
#define ROOST_LMTP_SEEN_H

#include <stdint.h>

#include "lib/err.h"
#include "lib/str.h"

/*
 * Duplicate suppression (lmtp_duplicate_window): a file of each user, home/roost-delivered, with a
 * line "SECONDS HASH" for each message of the last while. A message counts as the same when its
 * Message-ID, sender and folder are. The file is a help and no promise: where it cannot be read or
 * written the message is delivered.
 */
struct lmtp_seen {
	int fd; /* locked, so that the same message by two connections is seen by the second; -1 */
	uint64_t now_s, window_s;
	char hash[33];
};

/* *out is to be closed in any case. E_EXISTS: it was delivered within window_ms. */
enum err lmtp_seen_open(const char *home, int64_t window_ms, struct str message_id,
	struct str sender, struct str folder, struct lmtp_seen *out);
/* delivered: it is remembered. */
void lmtp_seen_close(struct lmtp_seen *s, int delivered);

#endif
