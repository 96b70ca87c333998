/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_LOCAL_COPY_H
#define ROOST_MTA_LOCAL_COPY_H

#include <stdint.h>

#include "lib/buf.h"

/* A queued message as files and commands get it: lines ended by LF, with a header of ours before.
 */

enum local_copy_how {
	LOCAL_COPY_FROM = 1, /* an mbox's "From sender date" line before it */
	LOCAL_COPY_QUOTE = 2, /* ">" before lines that begin with "From " */
	LOCAL_COPY_BLANK = 4, /* an empty line behind it */
	LOCAL_COPY_MBOX = LOCAL_COPY_FROM | LOCAL_COPY_QUOTE | LOCAL_COPY_BLANK,
};

struct local_copy {
	int fd; /* of the queue file; borrowed */
	uint64_t offset, end;
	unsigned how;
	int started, ended;
	int line_start; /* the next byte begins a line */
	int held_cr; /* a CR that may be half a line end */
	struct buf held; /* the start of a line that may be "From " */
	struct buf head;
};

/*
 * sender: "" for <>. recipient: for Delivered-To; original: for X-Original-To, "" for none. Free
 * with local_copy_free.
 */
void local_copy_init(struct local_copy *c, int fd, uint64_t offset, uint64_t len, unsigned how);
void local_copy_head(struct local_copy *c, const char *sender, const char *recipient,
	const char *original, int64_t now);
/* Or the head by its parts: a field, and the line of LOCAL_COPY_FROM, which comes first. */
void local_copy_from_line(struct local_copy *c, const char *sender, int64_t now);
void local_copy_field(struct local_copy *c, const char *name, const char *value);
/* Appends the next piece. E_CLOSED: that was all; E_IO. */
enum err local_copy_next(struct local_copy *c, struct buf *out);
void local_copy_free(struct local_copy *c);

#endif
