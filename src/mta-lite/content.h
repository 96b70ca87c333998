/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_CONTENT_H
#define ROOST_MTA_CONTENT_H

#include <stdint.h>

#include "lib/err.h"
#include "lib/str.h"
#include "mta-lite/spool.h"

/*
 * A message being taken, for what looks into it and changes it (milters, header checks, rewriting):
 * the header as a list of fields in memory; the body where it lies, in the spool, or in a spool of
 * its own once it was replaced. Lines end with CRLF.
 *
 * The header ends at an empty line or before the first line that is no field (RFC 5322 section
 * 2.2); the message as it is read back always has the empty line.
 */
struct content;

enum { CONTENT_HEADER_MAX = 1 << 20, CONTENT_FIELDS_MAX = 20000 };

/*
 * spool: borrowed until content_free, not to be added to. dir: where a replaced body is spooled,
 * borrowed. E_TOOBIG: the header is over CONTENT_HEADER_MAX bytes or CONTENT_FIELDS_MAX fields;
 * E_IO. Else the caller frees *out.
 */
enum err content_load(struct spool *spool, const char *dir, struct content **out);
void content_free(struct content **c);

size_t content_field_count(const struct content *c);
/* Of field i < count, borrowed until the next change of a field. */
struct str content_field_name(const struct content *c, size_t i);
/* Behind the colon, folding kept, without the last line end. */
struct str content_field_value(const struct content *c, size_t i);
/* The whole field without the last line end. */
struct str content_field_text(const struct content *c, size_t i);
/* The nth (from 1) field of this name, ASCII case does not count. E_NOTFOUND. */
enum err content_find(const struct content *c, struct str name, size_t nth, size_t *i);

/*
 * Puts a field before field i; i >= count: behind all. Line ends in value (LF or CRLF) become
 * folds: a line that does not begin with a blank is given one, an empty line is left out, so that
 * no value can end the header. NUL, CR and other control bytes become "?". E_PARSE: not a field
 * name; E_TOOBIG.
 */
enum err content_insert(struct content *c, size_t i, struct str name, struct str value);
/* Gives field i this value, under the same rules. */
enum err content_set_value(struct content *c, size_t i, struct str value);
void content_remove(struct content *c, size_t i);

/* Whether anything was changed since it was loaded. */
int content_changed(const struct content *c);

/* The body, without the empty line before it. */
uint64_t content_body_size(const struct content *c);
/* As spool_read. */
enum err content_body_read(
	struct content *c, uint64_t offset, void *p, size_t size, struct str *out);
/* Replaces it by nothing; content_body_add makes the new one. */
void content_body_replace(struct content *c);
/* Bytes with any line ends; they become CRLF, also over the seam of two pieces. E_NOSPACE, E_IO. */
enum err content_body_add(struct content *c, struct str bytes);

/* A stretch of the body and what shall stand in its place; text may be empty. */
struct content_edit {
	uint64_t offset, len;
	struct str text;
};
/* edits: in rising order, not overlapping, within the body. E_NOSPACE, E_IO: nothing is changed. */
enum err content_body_edit(struct content *c, const struct content_edit *edits, size_t n);

/* The whole message as it is now, into an empty spool. E_NOSPACE, E_IO. */
enum err content_store(struct content *c, struct spool *out);

/* The whole message. */
uint64_t content_size(struct content *c);
/* As spool_read: at most size bytes at offset, empty at the end; borrowed until the next change. */
enum err content_read(struct content *c, uint64_t offset, void *p, size_t size, struct str *out);

#endif
