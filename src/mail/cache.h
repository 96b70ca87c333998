/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MAIL_CACHE_H
#define ROOST_MAIL_CACHE_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "lib/buf.h"
#include "lib/str.h"
#include "mail/mime.h"
#include "mail/part.h"

/*
 * The cache record of a message: what clients ask for most, written once when the message is
 * parsed, so that FETCH, SORT, THREAD and SEARCH seldom open its file. Disposable: a reader that
 * gets E_CORRUPT or E_NOTFOUND parses the message instead. The layout is described in cache.c.
 */
enum { MAIL_CACHE_VERSION = 1, MAIL_CACHE_PREVIEW_CHARS = 200, MAIL_CACHE_RECORD_MAX = 16 << 20 };

enum mail_cache_field {
	MAIL_CACHE_ENVELOPE = 1, /* ready to be sent, without the "ENVELOPE " before it */
	MAIL_CACHE_BODY = 2, /* the same */
	MAIL_CACHE_BODYSTRUCTURE = 3, /* the same */
	MAIL_CACHE_SENT_DATE = 4, /* see mail_cache_sent_date; absent when there is none */
	MAIL_CACHE_BASE_SUBJECT =
		5, /* RFC 5256 section 2.1, folded with casemap_fold; may be empty */
	MAIL_CACHE_SUBJECT_FLAGS = 6, /* one byte, MAIL_CACHE_SUBJECT_… */
	MAIL_CACHE_MESSAGE_ID = 7, /* normalised, without < and >; absent when there is none */
	MAIL_CACHE_REFERENCES = 8, /* see mail_cache_reference_next */
	/* SORT keys: the mailbox (RFC 5256 section 3) of the first address, folded with
	   casemap_fold. */
	MAIL_CACHE_FROM = 9,
	MAIL_CACHE_TO = 10,
	MAIL_CACHE_CC = 11,
	/* SORT=DISPLAY keys (RFC 5957): the display name, or mailbox@host, folded. */
	MAIL_CACHE_FROM_DISPLAY = 12,
	MAIL_CACHE_TO_DISPLAY = 13,
	MAIL_CACHE_PREVIEW =
		14, /* UTF-8, at most MAIL_CACHE_PREVIEW_CHARS characters; may be empty */
	MAIL_CACHE_HEADERS = 15, /* see mail_cache_header */
	MAIL_CACHE_SIZES = 16, /* see mail_cache_sizes */
	MAIL_CACHE_PARTS = 17, /* see mail_cache_parts */
	MAIL_CACHE_FIELDS = 18, /* one more than the last */
};

enum {
	MAIL_CACHE_SUBJECT_IS_REPLY = 1, /* RFC 5256: a reply or a forward */
};

struct mail_cache_sizes {
	uint64_t size; /* of the message as stored */
	uint64_t header_stored; /* header as stored, empty line included */
	uint64_t header_crlf; /* with CRLF line ends */
	uint64_t body_crlf; /* RFC822.SIZE is header_crlf + body_crlf */
	int has_nul, has_8bit;
};

/*
 * Appends the record of m, usually two to four kilobytes. The parser's default limits, and those on
 * addresses in envelope.h, keep it below MAIL_CACHE_RECORD_MAX for every message. E_TOOBIG: out is
 * full (or other limits were set), and is as it was but for out->err.
 */
enum err mail_cache_build(const struct mime_message *m, struct buf *out);

/* OK when it is a record of this version whose directory holds together; else E_CORRUPT. */
enum err mail_cache_check(struct str record);

/* Borrowed from the record. E_NOTFOUND: not in it. E_CORRUPT. */
enum err mail_cache_get(struct str record, enum mail_cache_field field, struct str *out);

/*
 * All fields in one look: out[field], with p NULL for those that are not there. E_CORRUPT: all are
 * absent.
 */
enum err mail_cache_fields(struct str record, struct str out[MAIL_CACHE_FIELDS]);

/* E_NOTFOUND: the message has no Date that can be read. */
enum err mail_cache_sent_date(struct str record, time_t *when, int *zone_minutes);
/* The same from a field SENT_DATE that was looked up already; an absent one is E_NOTFOUND. */
enum err mail_cache_sent_date_read(struct str field, time_t *when, int *zone_minutes);
enum err mail_cache_sizes(struct str record, struct mail_cache_sizes *out);
/* *out is the caller's, freed with part_table_free. */
enum err mail_cache_parts(struct str record, struct part_table *out);

/*
 * The next id of a MAIL_CACHE_REFERENCES field, oldest first: those of References or, when it has
 * none, the first of In-Reply-To (RFC 5256 section 3, REFERENCES step 1). A very long list keeps
 * its first and its last ones. *list is the field and is cut shorter. Ids are normalised like
 * MESSAGE_ID. 1, or 0 at the end.
 */
int mail_cache_reference_next(struct str *list, struct str *id);

enum mail_cache_found {
	MAIL_CACHE_HEADER_FOUND, /* *out: all fields of the name, as stored, "Name: value\n" each */
	MAIL_CACHE_HEADER_ABSENT, /* the message surely has no such field */
	MAIL_CACHE_HEADER_NOT_CACHED, /* read the message */
};

/*
 * The fields of a name, in their order, line ends as stored, borrowed from the record. A damaged
 * record answers NOT_CACHED.
 */
enum mail_cache_found mail_cache_header(struct str record, struct str name, struct str *out);

#endif
