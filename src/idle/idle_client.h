/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IDLE_IDLE_CLIENT_H
#define ROOST_IDLE_IDLE_CLIENT_H

#include <stdint.h>

#include "lib/buf.h"
#include "lib/conf.h"
#include "lib/err.h"
#include "lib/str.h"

/* The fields of IDLE_SLEEP in idle_proto.h. */
struct idle_sleep {
	int idling, deflated;
	int64_t bye_ms, still_here_ms;
	struct str watch;
	uint64_t modseq;
	const char *mailbox;
	struct str handover;
};

void idle_sleep_put(struct buf *body, const struct idle_sleep *s);
/* The strings are borrowed from body; mailbox is left NULL and given as *mailbox. E_PROTO. */
enum err idle_sleep_get(struct str body, struct idle_sleep *out, struct str *mailbox);

/*
 * Appends text as it goes to the client. deflated: as a block of its own that is stored as it is
 * (RFC 1951 section 3.2.4), which can stand between what any two compressors made. At most 65535
 * bytes.
 */
void idle_text_put(struct buf *out, int deflated, const char *text);

/*
 * Gives the client behind fd to roost-idle. OK: it is asleep and fd, which stays open here, is to
 * be closed without a word to the client. E_TEMPFAIL: it was not taken; the caller has the client
 * still. E_STATE: nobody knows whose it is: the connection must be ended.
 */
enum err idle_sleep(const struct config *conf, int fd, const struct idle_sleep *s);

#endif
