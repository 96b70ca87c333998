/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_TRANSCRIPT_H
#define ROOST_MTA_TRANSCRIPT_H

#include "lib/buf.h"
#include "lib/str.h"

/*
 * What a client and a server said to each other, as the lines of a message for the postmaster. It
 * is bounded: what comes later is left out. Zeroed at first.
 */
struct transcript {
	struct buf text;
	int cut; /* something was left out */
	int noted; /* for its owner: there is a reason to send it */
};

enum { TRANSCRIPT_MAX = 32 * 1024 };

/* who: " In:  " or " Out: ". Without the line's end; what is not printable becomes "?". */
void transcript_add(struct transcript *t, const char *who, struct str line);
/* A command; what stands behind AUTH may be a password. */
void transcript_add_command(struct transcript *t, const char *who, struct str line);
/* One line or several, with or without CRs. */
void transcript_add_lines(struct transcript *t, const char *who, struct str lines);
/* Appends what there is to a message. */
void transcript_write(const struct transcript *t, struct buf *out);
/* Empty again. */
void transcript_reset(struct transcript *t);

#endif
