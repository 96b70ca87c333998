/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMAP_SORT_H
#define ROOST_IMAP_SORT_H

#include <stddef.h>
#include <stdint.h>

#include "imap/search.h"

/* Sort programs of SORT (RFC 5256, RFC 5957) and of contexts that are sorted (sort_run.c). */

enum sort_key {
	SORT_ARRIVAL,
	SORT_CC,
	SORT_DATE,
	SORT_DISPLAYFROM,
	SORT_DISPLAYTO,
	SORT_FROM,
	SORT_RELEVANCY, /* RFC 6203 section 6: the highest first */
	SORT_SIZE,
	SORT_SUBJECT,
	SORT_TO,
	SORT_KEYS /* how many there are */
};

enum {
	SORT_CRITERIA_MAX = 64, /* that a command may list */
	SORT_TEXT_MAX = 256 << 20, /* bytes of all texts that are compared */
};

/* Each key once: a second time it could decide nothing. */
struct sort_program {
	struct {
		enum sort_key key;
		int reverse;
	} v[SORT_KEYS];
	size_t n;
};

/* "(REVERSE DATE SUBJECT)". Errors are the parser's. */
enum err sort_program_parse(struct imap_parser *p, struct sort_program *out);

/* Whether the program sorts by RELEVANCY. */
int sort_program_has_relevancy(const struct sort_program *program);

/*
 * Puts rising message numbers into the program's order; *count gets smaller when some of them are
 * gone. scores: of each its relevancy, put into the same order; or NULL, when the program has no
 * RELEVANCY. E_TOOBIG: over SORT_TEXT_MAX; others of the index and of progress (which may be NULL).
 */
enum err sort_run(const struct search_box *box, const struct sort_program *program,
	struct imap_progress *progress, uint32_t *seqs, unsigned char *scores, size_t *count);

#endif
