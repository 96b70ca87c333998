/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMAP_PARSE_H
#define ROOST_IMAP_PARSE_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "lib/err.h"
#include "lib/numset.h"
#include "lib/str.h"
#include "mail/section.h"

/*
 * The one parser of command arguments (RFC 3501 section 9). It reads a command from its source as
 * it goes on: first a line, then, at a literal, the literal and the line behind it. So an error in
 * front of a synchronizing literal is answered before the client sends it.
 *
 * The first error sticks: every later call returns it, consumes nothing and leaves its outputs
 * empty (zeroed). A command may therefore call many functions and look once, at imap_parse_end.
 *
 *   E_PARSE   malformed: answer BAD; imap_parser_reason and imap_parser_position tell
 *   E_TOOBIG  over a bound (literal bytes, nesting, list length): the same
 *   others    of the source (E_CLOSED, E_TIMEOUT, E_IO, E_CANCELLED): the session ends
 *
 * Slices given out live until imap_parser_reset.
 */

enum {
	IMAP_TAG_MAX = 256, /* bytes of a tag */
	IMAP_LITERALS_MAX = 512 << 10, /* bytes of all literals of one command, APPEND's aside */
	IMAP_NEST_MAX = 64, /* open parentheses */
	IMAP_FLAGS_MAX = 256, /* flags in one list */
};

/* Where the bytes come from. Errors are passed on by the parser. */
struct imap_source {
	/* One line without CRLF; *line is borrowed until the next call. E_TOOBIG: too long. */
	enum err (*line)(void *ctx, struct str *line);
	/* size bytes of a literal to p. sync: asks the client for them first ("+ "). */
	enum err (*literal)(void *ctx, int sync, char *p, size_t size);
	/* Throws size bytes away: a non-synchronizing literal that nobody wants. */
	enum err (*skip)(void *ctx, uint64_t size);
	void *ctx;
};

struct imap_piece;

/* Fields are private but for those marked public. */
struct imap_parser {
	struct imap_source source;
	struct imap_piece *pieces;
	struct str line; /* the line being parsed */
	size_t at; /* in the line */
	uint64_t base; /* bytes of the command in front of the line */
	size_t literal_left;
	unsigned depth;
	enum err err; /* public, read only: the sticky error */
	const char *reason;
	const char *code; /* public, read only: a response code for the BAD, or NULL */
	/*
	 * Public, set by the dispatcher: the client has enabled UTF-8. Mailbox names are in UTF-8
	 * then (RFC 9051 section 5.1), and what is quoted must be well-formed UTF-8.
	 */
	int utf8;
	uint64_t position;
};

/* source is copied. The parser is ready for imap_parser_next. */
void imap_parser_init(struct imap_parser *p, const struct imap_source *source);
/* Frees what it gave out. */
void imap_parser_reset(struct imap_parser *p);
/* Resets it and reads the first line of the next command. */
enum err imap_parser_next(struct imap_parser *p);
/*
 * The rest of a command that failed: swallows what the client sends without being asked, that is
 * non-synchronizing literals not read yet and the lines behind them (RFC 7888 section 4), up to max
 * bytes. E_TOOBIG: more would come: the only way out is to close (BYE). To be called before the
 * tagged BAD or NO; a synchronizing literal is refused by that reply.
 */
enum err imap_parser_drain(struct imap_parser *p, uint64_t max);
/*
 * The command goes on with a line that is no literal's (DONE of IDLE): reads it. To be called at
 * the end of a line.
 */
enum err imap_parser_continue(struct imap_parser *p);
/* What was wrong, for "BAD Position N: reason"; "" when nothing was. */
const char *imap_parser_reason(const struct imap_parser *p);
/* The byte of the command where, from 1. */
uint64_t imap_parser_position(const struct imap_parser *p);
/* Makes e (E_PARSE, E_TOOBIG) the error, here, unless there is one. reason: a static text such as
 * "expected a mailbox name". Returns the sticky error. */
enum err imap_parser_fail(struct imap_parser *p, enum err e, const char *reason);

/* The same, with a response code for the BAD, such as "UIDREQUIRED". */
enum err imap_parser_fail_code(struct imap_parser *p, const char *code, const char *reason);

/* ---- looking ahead ---- */

/* The next byte of the line, -1 at its end or after an error. */
int imap_parse_peek(const struct imap_parser *p);
/* Whether the rest of the line begins with word, in any case, and no atom character follows. */
int imap_parse_peek_word(const struct imap_parser *p, const char *word);
/* 1 and consumed when the next byte is c. */
int imap_parse_try(struct imap_parser *p, char c);
/* 1 and consumed when imap_parse_peek_word. */
int imap_parse_try_word(struct imap_parser *p, const char *word);
/* Whether the rest of the line begins with text, in any case. */
int imap_parse_peek_text(const struct imap_parser *p, const char *text);
/* 1 and consumed when imap_parse_peek_text. */
int imap_parse_try_text(struct imap_parser *p, const char *text);
/* Whether the command ends here. */
int imap_parse_at_end(const struct imap_parser *p);

/* ---- punctuation ---- */

enum err imap_parse_char(struct imap_parser *p, char c);
/* One space. */
enum err imap_parse_space(struct imap_parser *p);
/* The end of the command. */
enum err imap_parse_end(struct imap_parser *p);
/* "(": counts the depth. E_TOOBIG at more than IMAP_NEST_MAX. */
enum err imap_parse_open(struct imap_parser *p);
/* ")" */
enum err imap_parse_close(struct imap_parser *p);
/*
 * Inside a list: goes to the next item. 1: there is one (the space was consumed); 0: the ")" was
 * consumed, or an error. *n counts the items and begins with 0: the first call consumes no space,
 * and "()" gives 0 at once. For loops: imap_parse_open(p); while (imap_parse_item(p, &n)) ...
 */
int imap_parse_item(struct imap_parser *p, size_t *n);

/* ---- words ---- */

/* <tag>: ASTRING-CHARs without "+". */
enum err imap_parse_tag(struct imap_parser *p, struct str *out);
/* <atom>; what: the reason if there is none, "expected a command". */
enum err imap_parse_atom(struct imap_parser *p, const char *what, struct str *out);
/*
 * The longest run of letters, digits, "." and "-": names of FETCH items, SEARCH keys and so on,
 * which a "[" or "<" may follow.
 */
enum err imap_parse_word(struct imap_parser *p, const char *what, struct str *out);
/* <quoted>, or <literal>, held in memory. No NUL in it. */
enum err imap_parse_string(struct imap_parser *p, struct str *out);
/* <astring> */
enum err imap_parse_astring(struct imap_parser *p, struct str *out);
/* <nstring>: *is_nil, and out empty. */
enum err imap_parse_nstring(struct imap_parser *p, struct str *out, int *is_nil);
/* The same, or a <literal8> (RFC 3516), which may have NULs in it. */
enum err imap_parse_nstring8(struct imap_parser *p, struct str *out, int *is_nil);
/* <list-mailbox>: a pattern with "%" and "*", still as on the wire: in UTF-8 if utf8. */
enum err imap_parse_list_mailbox(struct imap_parser *p, struct str *out);
/*
 * <mailbox>: an astring, from modified UTF-7 to UTF-8 (RFC 3501 section 5.1.3) unless utf8, INBOX
 * in any case as "INBOX". A name with bytes over 0x7f is in UTF-8 in either case (RFC 9755 section
 * 3). Malformed UTF-7 or UTF-8 is E_PARSE. Whether such a name is allowed is the index's
 * matter.
 */
enum err imap_parse_mailbox(struct imap_parser *p, struct str *out);

/*
 * The head of a <literal> that the command streams by itself (APPEND): "{N}" or "{N+}" at the end
 * of the line. *size < 2^63; *sync: the client waits for "+". Neither NUL nor size is checked.
 */
enum err imap_parse_literal_start(struct imap_parser *p, uint64_t *size, int *sync);
/* The command has taken the bytes itself: reads the line behind them. */
enum err imap_parse_literal_done(struct imap_parser *p, uint64_t size);

/* ---- numbers and sets ---- */

enum err imap_parse_number(struct imap_parser *p, uint32_t *out);
enum err imap_parse_nz_number(struct imap_parser *p, uint32_t *out);
enum err imap_parse_number64(struct imap_parser *p, uint64_t *out);
/*
 * <sequence-set>: see imap/seqset.h; largest is what "*" stands for, 0 when the mailbox is empty.
 * *out is freed first; the caller frees it also after an error.
 */
enum err imap_parse_sequence_set(struct imap_parser *p, uint32_t largest, struct numset *out);
/*
 * <partial-range> (RFC 9394 section 4): "1:500", or "-1:-500", counted from the end. The two
 * numbers as they are written.
 */
enum err imap_parse_partial_range(
	struct imap_parser *p, int *from_end, uint32_t *from, uint32_t *to);

/* ---- flags and dates ---- */

/* Flags as a client gives them. A zeroed one is empty. */
struct imap_flags {
	unsigned system; /* union of enum index_flag */
	const char *
		*keywords; /* NUL-terminated, no two the same in any case; they live as slices do */
	size_t count;
};
void imap_flags_free(struct imap_flags *f);
/*
 * <flag-list>: "(\Seen $Label1)". \Recent is ignored (a client cannot set it: RFC 3501
 * section 2.3.2), an unknown "\Word" and "\*" are E_PARSE. E_TOOBIG: over IMAP_FLAGS_MAX, or a
 * keyword longer than INDEX_KEYWORD_LEN_MAX. The caller frees *out also after an error.
 */
enum err imap_parse_flag_list(struct imap_parser *p, struct imap_flags *out);
/* The same, also without parentheses, as STORE allows it: "\Seen $Label1". */
enum err imap_parse_store_flags(struct imap_parser *p, struct imap_flags *out);

/* <date>, quoted or not: days since 1970-01-01 (mail/date.h, date_day). */
enum err imap_parse_date(struct imap_parser *p, int *days);
/* <date-time>, quoted. */
enum err imap_parse_date_time(struct imap_parser *p, time_t *when, int *zone_minutes);

/* ---- FETCH ---- */

/* <section>, from "[" to "]" with both. The caller calls section_fini also after an error. */
enum err imap_parse_section(struct imap_parser *p, struct section *out);
/* "<off.count>": 1 in *given if there is one; else nothing is consumed. count >= 1. */
enum err imap_parse_partial(struct imap_parser *p, int *given, uint64_t *off, uint64_t *count);

#endif
