/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMAP_ESEARCH_H
#define ROOST_IMAP_ESEARCH_H

#include <stddef.h>
#include <stdint.h>

#include "imap/fetch.h"
#include "imap/imap.h"
#include "imap/search.h"

/*
 * Return options and the ESEARCH response (RFC 4731, RFC 9051 section 7.3.4) of SEARCH, SORT and
 * the ESEARCH command.
 */
enum esearch_item {
	ESEARCH_MIN = 1,
	ESEARCH_MAX = 2,
	ESEARCH_ALL = 4,
	ESEARCH_COUNT = 8,
	ESEARCH_SAVE = 16, /* RFC 5182 */
	ESEARCH_PARTIAL = 32, /* RFC 5267 section 4.4, RFC 9394 */
	ESEARCH_CONTEXT = 64, /* RFC 5267: a hint, which changes nothing */
	ESEARCH_UPDATE = 128,
	ESEARCH_RELEVANCY = 256, /* RFC 6203 section 4 */
};

struct esearch_return {
	int given; /* "RETURN (...)" is there: the answer is an ESEARCH response */
	unsigned items;
	/* PARTIAL: places in the result from 1, first <= last; from_end: counted from the last. */
	uint32_t partial_first, partial_last;
	uint32_t partial_from, partial_to; /* as the client wrote them */
	int from_end;
	/* UPDATE (fetch-att ...), RFC 5465 section 7: of messages that join when they come. */
	int has_fetch;
	struct fetch_plan fetch;
};

/*
 * "RETURN (...)" and the space behind it, if it is there. Errors are the parser's. The caller calls
 * _fini also after an error.
 */
enum err esearch_return_parse(struct imap_parser *p, struct esearch_return *out);
void esearch_return_fini(struct esearch_return *ret);

/* What an ESEARCH response tells besides the return items. */
struct esearch_reply {
	struct imap_session *s;
	const struct esearch_return *ret;
	const struct search_box *box;
	const struct search_plan *plan;
	/* The result in its order: rising message numbers, or SORT's. */
	const uint32_t *seqs;
	const unsigned char *scores; /* of each, for RELEVANCY; else NULL */
	size_t count;
	int uid; /* numbers are UIDs */
	const char *mailbox; /* MAILBOX and UIDVALIDITY (RFC 7377 section 2.1); NULL: none */
	uint32_t uidvalidity;
};
/*
 * Sends it. RELEVANCY tells the scores of the whole result in its order, or, with PARTIAL, of what
 * that names. Errors: of the index, for the highest mod-sequence.
 */
enum err esearch_send(const struct esearch_reply *reply);
/*
 * What SEARCH and SORT answer: as esearch_send, or without return options the older form, "* SEARCH
 * 2 84 882 (MODSEQ 917162500)" (RFC 5256 section 4, RFC 7162 section 7). word: SEARCH or SORT.
 */
enum err esearch_send_as(const struct esearch_reply *reply, const char *word);

/*
 * Sets the saved result to what the options say of "SAVE" (RFC 5182 section 2.4, RFC 9394
 * section 3.2); does nothing without it.
 */
void esearch_save(struct imap_session *s, const struct esearch_return *ret, const uint32_t *seqs,
	size_t count);
/* A search with SAVE that ended in NO leaves an empty result (RFC 5182 section 2.1). */
void esearch_save_failed(struct imap_session *s, const struct esearch_return *ret);

#endif
