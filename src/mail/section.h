/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MAIL_SECTION_H
#define ROOST_MAIL_SECTION_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/str.h"
#include "mail/part.h"

/* What FETCH BODY[…] asks for (RFC 9051 section 6.4.5 and section 9, "section-spec"). */
enum section_kind {
	SECTION_ALL, /* "": the message; "1.2": the body of a part */
	SECTION_HEADER,
	SECTION_HEADER_FIELDS,
	SECTION_HEADER_FIELDS_NOT,
	SECTION_TEXT,
	SECTION_MIME,
};

enum { SECTION_PATH_MAX = 64, SECTION_NAMES_MAX = 256 };

struct section {
	enum section_kind kind;
	uint32_t path[SECTION_PATH_MAX];
	size_t path_len;
	struct str *names; /* field names of HEADER.FIELDS; the array and their bytes are owned */
	size_t name_count;
};

/*
 * Parses what stands between the brackets: "1.2.HEADER", "HEADER.FIELDS (From \"To\")", "". The
 * names may also be left out and be added with section_add_name, when the caller has read the list
 * itself (a name can be a literal). *out is to be freed with section_fini, also after an error.
 * E_PARSE; E_TOOBIG: deeper than SECTION_PATH_MAX or more names than SECTION_NAMES_MAX.
 */
enum err section_parse(struct str text, struct section *out);
enum err section_add_name(struct section *s, struct str name);
void section_fini(struct section *s);
/* Appends the text between the brackets, as the answer to FETCH repeats it. */
enum err section_format(const struct section *s, struct buf *out);

/* The bytes of a section of one message, seen with every line end CRLF. */
struct section_data {
	struct str stored; /* as stored: borrowed from the message, or from built */
	uint64_t size; /* octets with CRLF line ends */
	uint64_t bare_lf; /* line ends to be widened */
	enum mail_encoding encoding; /* of the part, for BINARY */
	struct buf built; /* HEADER.FIELDS is put together here */
	/*
	 * The open file that stored is a mapping of, from file_off on, when reading it is to touch
	 * no page of the mapping: for a long section a page fault for each costs more than the
	 * copy. NULL: there is none.
	 */
	const int *file;
	uint64_t file_off;
	/*
	 * Where an earlier section_write ended: reading on from there costs nothing. May be
	 * carried over to a later section_open of the same section and message.
	 */
	uint64_t hint_off, hint_stored;
};

/*
 * Finds the section. message: all stored bytes (borrowed by *out). *out is to be freed with
 * section_data_fini, also after an error. E_NOTFOUND: no such part (FETCH answers NIL). E_CORRUPT:
 * the table does not fit the message (the cache record is stale: parse again).
 */
enum err section_open(const struct section *s, const struct part_table *parts, struct str message,
	struct section_data *out);
void section_data_fini(struct section_data *d);

/* Takes some bytes; an error ends the writing and is passed on. */
typedef enum err (*section_sink)(void *ctx, const char *p, size_t len);

enum { SECTION_KEEP_NUL = 1 }; /* for section_write: NUL goes out as it is, else as 0x80 */

/*
 * Octets off to off + count (or to the end) of the CRLF view, in pieces, nothing copied as a whole.
 * Off beyond the end writes nothing. section_range_len says beforehand how many octets there will
 * be, for the literal's count. E_CORRUPT: the stored bytes do not fit the table and fewer came: who
 * has announced the count must end the connection. Other errors are the sink's.
 */
enum err section_write(struct section_data *d, uint64_t off, uint64_t count, int flags,
	section_sink sink, void *ctx);
uint64_t section_range_len(const struct section_data *d, uint64_t off, uint64_t count);

/* The same for any bytes: all of them with CRLF line ends. */
enum err section_write_crlf(struct str bytes, int flags, section_sink sink, void *ctx);

/*
 * Appends the fields of a header block that are (or, inverted, are not) named, CRLF line ends, then
 * an empty line (RFC 9051 section 6.4.5). E_TOOBIG: out is full.
 */
enum err section_header_fields(struct str block, const struct str *names, size_t name_count,
	int inverted, struct buf *out);

#endif
