/* SPDX-License-Identifier: MIT */
#ifndef ROOST_INDEX_MAILDIR_NAME_H
#define ROOST_INDEX_MAILDIR_NAME_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/str.h"

/*
 * Names of message files:
 *
 *   <time>.M<usec>P<pid>Q<n>.<host>,S=<bytes>,W=<crlf bytes>,U=<uid>:2,<flags>
 *
 * S and W as Dovecot and Courier write them, U as mbsync and OfflineIMAP do. The base is what
 * stands before the colon; the info part is the colon and what follows. Info flags are D(raft)
 * F(lagged) R(eplied) S(een) T(rashed), a..z for the folder's first 26 keywords, and letters of
 * other programs (P for passed), which are kept. A bit of enum index_flag is used for each of ours.
 */

enum {
	MAILDIR_NAME_MAX = 255,
	/* Of a base, so that every info part fits behind it. */
	MAILDIR_BASE_MAX = 190,
};

struct maildir_name {
	struct str base; /* borrowed from the name */
	int has_info; /* ":2," and maybe flags follow the base */
	unsigned flags; /* enum index_flag */
	uint32_t letters; /* bit 0 is a */
	uint32_t others; /* capital letters that are none of ours; bit 0 is A */
	int has_size, has_crlf_size, has_uid;
	uint64_t size, crlf_size; /* S=, W= */
	uint32_t uid; /* U=; not 0 */
	int64_t time; /* the leading number, 0 if there is none */
};

/*
 * Takes any file name apart. E_RANGE: no message's name (empty, begins with '.', has '/', control
 * bytes or NUL, is longer than MAILDIR_NAME_MAX). Fields that are not well formed count as absent.
 * *out borrows.
 */
enum err maildir_name_parse(struct str name, struct maildir_name *out);

/* What makes a new base unique. */
struct maildir_unique {
	int64_t time_s;
	uint32_t usec;
	uint32_t pid;
	uint64_t counter;
	const char *host; /* any text; '/', ':', ',' and odd bytes are replaced; cut at 64 bytes */
};
/* Appends a unique name without fields: for files in tmp/. */
void maildir_unique_build(const struct maildir_unique *u, struct buf *out);
/* Appends ",S=..,W=..,U=.."; a size of UINT64_MAX or a uid of 0 is left out. */
void maildir_fields_build(uint64_t size, uint64_t crlf_size, uint32_t uid, struct buf *out);
/*
 * Appends the base of n with these fields instead of its own: other fields stay, in their order.
 * E_TOOBIG: longer than MAILDIR_BASE_MAX; nothing is appended.
 */
enum err maildir_base_rebuild(const struct maildir_name *n, uint64_t size, uint64_t crlf_size,
	uint32_t uid, struct buf *out);
/* Appends ":2," and the flags in ASCII order. */
void maildir_info_build(unsigned flags, uint32_t letters, uint32_t others, struct buf *out);

#endif
