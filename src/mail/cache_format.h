/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MAIL_CACHE_FORMAT_H
#define ROOST_MAIL_CACHE_FORMAT_H

/*
 * Private to src/mail: the layout of the cache record.
 *
 *	'R' 'C' version count
 *	count times: tag (1 byte), length of the field (4 bytes, lowest first)
 *	the fields, in that order, without gaps, up to the end of the record
 *
 * Tags rise. A reader passes over tags that it does not know.
 */

#include <stdint.h>

#include "lib/str.h"

enum { CACHE_HEAD_LEN = 4, CACHE_ENTRY_LEN = 5, CACHE_FIELDS_MAX = 32 };

/*
 * The field HEADERS: the mask of names that could not be taken in (varint; bit CACHE_CUT_BIT: the
 * message had more fields than the parser keeps, so absence proves nothing), then for each name
 * that is there its index, its length (varints) and its fields as stored.
 */
enum { CACHE_CUT_BIT = 63, CACHE_HEADERS_MAX = 16 * 1024 };

/* The names; the index is stored, so only append, and raise MAIL_CACHE_VERSION for all else. */
extern const char *const cache_header_names[];
extern const unsigned cache_header_count;

/* The index, or -1 when no record ever holds this name. */
int cache_header_index(struct str name);

#endif
