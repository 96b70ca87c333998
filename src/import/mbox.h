/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMPORT_MBOX_H
#define ROOST_IMPORT_MBOX_H

#include <stddef.h>
#include <stdint.h>

#include "import/import.h"
#include "lib/err.h"
#include "lib/str.h"

/*
 * Files in mbox format (RFC 4155 and its relatives), taken apart as they are read.
 *
 * A message begins with a line "From SENDER DATE" at the start of the file or behind an empty line;
 * without a date in it a line is none. It ends before the next one, without the empty line between
 * them. What the formats do with such lines inside messages:
 *
 *   mboxo    ">From " stands for "From "
 *   mboxrd   one ">" of ">From ", ">>From " ... goes
 *   mboxcl2  Content-Length counts the body's bytes, nothing is quoted
 *   auto     as mboxcl2 where a Content-Length leads to the end of the file or to the next message,
 *            else as mboxrd
 *
 * The header fields in which programs keep what belongs to the mailbox (Status, X-Status,
 * X-Keywords, X-UID, X-IMAP, X-IMAPbase, Content-Length; X-Mozilla-Status, -Status2, -Keys) become
 * flags and keywords, and are left out. The message that UW IMAP keeps its own data in is skipped.
 */
enum mbox_format { MBOX_AUTO, MBOX_O, MBOX_RD, MBOX_CL2 };

enum {
	MBOX_FROM_MAX = 1000, /* bytes of a From_ line */
	MBOX_HEADER_MAX = 1 << 20, /* of what is searched for flags; the rest is a body */
};

struct mbox_message {
	uint64_t offset; /* of the From_ line */
	int64_t date; /* of it, else of the field Date, else 0 */
	struct import_flags flags; /* borrowed */
};

struct mbox_reader {
	/* Reads up to cap bytes at offset; *got 0 at the end. */
	enum err (*read)(void *arg, uint64_t offset, char *p, size_t cap, size_t *got);
	/* For each message start, then write, then end. An error stops and is returned. */
	enum err (*start)(const struct mbox_message *m, void *arg);
	void (*write)(const char *p, size_t len, void *arg);
	enum err (*end)(const struct mbox_message *m, void *arg);
	void *arg;
};

/* E_PARSE: the file does not begin with a From_ line; an empty file is OK. */
enum err mbox_read(const struct mbox_reader *r, enum mbox_format format);

/*
 * A From_ line without its line end, with its date (in the local zone unless it names one).
 * E_PARSE: it is none.
 */
enum err mbox_from_parse(struct str line, int64_t *date);

#endif
