/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMAP_METADATA_H
#define ROOST_IMAP_METADATA_H

#include "imap/imap.h"

/* What is asked for, by GETMETADATA and by LIST RETURN (METADATA ...) (RFC 9590). */
enum { IMAP_METADATA_ENTRIES_MAX = 100, IMAP_METADATA_DEPTH_ALL = -1 };

struct imap_metadata_request {
	struct str entries[IMAP_METADATA_ENTRIES_MAX];
	size_t count;
	int depth; /* 0, 1 or IMAP_METADATA_DEPTH_ALL below each entry */
	int has_max; /* MAXSIZE: */
	uint64_t max; /* longer values are left out, and */
	uint64_t longest; /* the longest of them is noted here */
};

/*
 * "entry" or "(entry entry)". E_PARSE, E_TOOBIG: names are checked only for "*" and "%". Slices
 * live as long as the parser's.
 */
enum err imap_metadata_entries_parse(struct imap_parser *p, struct imap_metadata_request *out);
/*
 * Sends "* METADATA name (...)" for the mailbox (INDEX_METADATA_SERVER and "": the server's), or
 * nothing when there is nothing to tell. An entry that was named and is not there is NIL.
 */
enum err imap_metadata_send(struct imap_session *s, uint32_t mailbox, struct str name,
	struct imap_metadata_request *request);

#endif
