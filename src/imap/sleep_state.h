/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMAP_SLEEP_STATE_H
#define ROOST_IMAP_SLEEP_STATE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/numset.h"
#include "lib/str.h"

/*
 * What a session remembers while it sleeps: all of struct imap_session that lasts from one command
 * to the next. It is sealed (sleep.c) before it leaves the session.
 */
struct imap_sleep_state {
	unsigned enabled, errors;
	uint64_t bytes_in, bytes_out;
	/* In IDLE: the tag that is to be answered, until when, of io_now_ms. Else empty and 0. */
	struct str tag;
	int64_t deadline_ms;
	int deflated; /* COMPRESS; with what imap_deflate_keep says */
	struct str inflate;
	int selected; /* the rest is of the selected mailbox */
	uint32_t mailbox, uidvalidity;
	struct str object_id; /* by which it is found when the index was rebuilt */
	int read_only;
	uint64_t modseq_held, modseq_sent;
	uint64_t keywords_told; /* imap_sleep_keywords of those in the last FLAGS */
	uint64_t url_key_told;
	struct str view; /* index_view_keep */
	struct numset recent, saved;
};

enum { IMAP_SLEEP_STATE_MAX = 120 * 1024 };

void imap_sleep_state_put(struct buf *out, const struct imap_sleep_state *s);
/* Strings are borrowed from body. E_PROTO. The caller frees *out in either case. */
enum err imap_sleep_state_get(struct str body, struct imap_sleep_state *out);
void imap_sleep_state_free(struct imap_sleep_state *s);

/* Stands for these names in this order. */
uint64_t imap_sleep_keywords(char *const *names, size_t count);

#endif
