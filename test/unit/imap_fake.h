/* SPDX-License-Identifier: MIT */
#ifndef ROOST_TEST_IMAP_FAKE_H
#define ROOST_TEST_IMAP_FAKE_H

#include <stddef.h>
#include <stdint.h>

#include "imap/imap.h"
#include "lib/buf.h"

/*
 * A mailbox in memory in place of the index's client library, and a session on one end of a socket
 * pair: for tests of commands that look at messages.
 */
struct fake_message {
	const char *text; /* as stored */
	size_t len; /* 0: strlen */
	unsigned flags;
	uint64_t keywords; /* the first 64 bits */
	int64_t internal_date, save_date;
	unsigned char email_id[16], thread_id[16];
	int recent;
	int gone; /* in the view, but expunged by somebody else */
	enum err unreadable; /* what opening its file gives; its cache record is fine */
	int no_cache; /* no cache record can hold it */
	int stale_cache; /* the cache record is of another text */
	int as_file; /* its content comes with a descriptor */
	size_t file_lacks; /* so many bytes at its end: somebody cut it short */

	/* Set by the fake. */
	uint32_t uid;
	uint64_t modseq;
};

struct fake {
	struct fake_message *messages;
	size_t count;
	const char *const *keywords; /* names; the client knows none of them at first */
	size_t keyword_count;
	enum err store_error;
	unsigned stores, contents_opened, read_depth;
	uint64_t modseq;

	struct imap_session session;
	struct session base;
	int peer; /* the client's end */
	struct buf said; /* the last answer */
};

/* UIDs are 10, 20, 30, ... */
void fake_init(struct fake *f, struct fake_message *messages, size_t count);
void fake_fini(struct fake *f);
/*
 * Runs one command, "a FETCH 1 FLAGS" (literals as "{3}\r\nabc"), and returns all the server said,
 * NUL-terminated behind its length; borrowed until the next call. A run that failed says "BAD" and
 * the parser's reason.
 */
struct str fake_run(struct fake *f, const char *command);
struct str fake_run_bytes(struct fake *f, struct str command);

#endif
