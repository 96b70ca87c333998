/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMAP_SEARCH_H
#define ROOST_IMAP_SEARCH_H

/* Private to search*.c: SEARCH and UID SEARCH (RFC 3501 section 6.4.4). */

#include <stddef.h>
#include <stdint.h>

#include "imap/imap.h"
#include "imap/parse.h"
#include "index/index_client.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/numset.h"
#include "lib/str.h"

/* ---- the tree of keys (search_parse.c) ---- */

enum search_kind {
	SEARCH_ALL,
	SEARCH_AND, /* children */
	SEARCH_OR, /* children */
	SEARCH_SEQ, /* message numbers; UIDs are turned into these */
	SEARCH_FLAG,
	SEARCH_RECENT,
	SEARCH_NEW,
	SEARCH_KEYWORD,
	SEARCH_LARGER,
	SEARCH_SMALLER,
	SEARCH_BEFORE,
	SEARCH_ON,
	SEARCH_SINCE,
	SEARCH_SENTBEFORE,
	SEARCH_SENTON,
	SEARCH_SENTSINCE,
	SEARCH_HEADER,
	SEARCH_BODY,
	SEARCH_TEXT,
};

/* What it takes to decide a key, the cheaper first. */
enum search_need { SEARCH_NEED_RECORD, SEARCH_NEED_CACHE, SEARCH_NEED_CONTENT };

enum {
	SEARCH_DEPTH_MAX = 64, /* of NOT, OR and parentheses within each other */
	SEARCH_KEYS_MAX = 1024,
	SEARCH_TEXTS_MAX = 64, /* BODY and TEXT: each is looked for in every message */
};

struct search_key {
	enum search_kind kind;
	int negated; /* NOT, and the UN... keys */
	enum search_need need; /* the largest of it and its children */
	struct search_key *child, *next; /* children cheapest first */

	struct numset seqs; /* SEQ */
	unsigned flag; /* FLAG: enum index_flag */
	struct str word; /* KEYWORD: its name; HEADER: the field's; borrowed from the parser */
	int bit; /* KEYWORD: in the mailbox's table, -1: no message has it */
	uint32_t number; /* LARGER, SMALLER */
	int day; /* dates: days since 1970-01-01 */
	struct buf needle; /* HEADER, BODY, TEXT: UTF-8, folded with casemap_fold */
	int found; /* BODY, TEXT: in the message at hand, see search_content_scan */
};

struct search_plan {
	struct search_key *root; /* AND of all */
	struct search_key *texts[SEARCH_TEXTS_MAX]; /* the BODY and TEXT keys */
	size_t text_count, key_count;
	int has_keywords;
	int has_facts; /* sizes or internal dates are asked for */
	int bad_charset; /* answer NO [BADCHARSET] */
};

/*
 * Parses "[CHARSET name] key key ..." through the end of the command. Numbers and UIDs are resolved
 * against the session's view. Errors are the parser's; E_TOOBIG over a bound above. The caller
 * calls search_plan_fini also after an error.
 */
enum err search_plan_parse(struct imap_session *s, struct imap_parser *p, struct search_plan *out);
void search_plan_fini(struct search_plan *plan);
/* Looks up the bits of the KEYWORD keys. */
void search_plan_bind(struct search_plan *plan, char *const *keywords, size_t count);

/* ---- deciding (search_eval.c) ---- */

enum search_answer { SEARCH_NO, SEARCH_YES, SEARCH_UNKNOWN };

/* What is known of a message so far. */
struct search_message {
	uint32_t seq;
	int recent;
	const struct index_message *m;
	int has_record, has_content;
	struct str record; /* mail/cache.h; empty: it has none, look into content */
	struct str content; /* with it search_content_scan must have been called */
	struct buf decoded, folded; /* scratch; freed by the caller */
};

/* SEARCH_UNKNOWN: more must be known (never when both has_record and has_content). */
enum search_answer search_eval(const struct search_plan *plan, struct search_message *msg);

/*
 * Whether a header field matches: value as stored, folding and encoded words still in. An empty
 * needle matches every field.
 */
int search_field_matches(struct search_message *msg, struct str value, struct str needle);

/* ---- text of a whole message (search_content.c) ---- */

/*
 * Reads the message once and sets found of every key in texts: TEXT looks at everything, BODY at
 * all but the header of the message itself. Bodies are decoded and converted; HTML is looked at as
 * it stands and as text. Parts that are neither text nor message are left out (RFC 3501 section
 * 6.4.4 allows it); their headers, with the file names, are not.
 */
void search_content_scan(struct search_key *const *texts, size_t count, struct str content);

#endif
