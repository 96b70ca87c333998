/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMAP_FETCH_H
#define ROOST_IMAP_FETCH_H

/* Private to fetch*.c: FETCH and UID FETCH (RFC 3501 sections 6.4.5, 6.4.8 and 7.4.2). */

#include <stddef.h>
#include <stdint.h>

#include "imap/imap.h"
#include "imap/parse.h"
#include "index/index_client.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "mail/section.h"

/* ---- the plan: what one command asks for (fetch_parse.c) ---- */

enum fetch_kind {
	FETCH_UID,
	FETCH_FLAGS,
	FETCH_INTERNALDATE,
	FETCH_RFC822_SIZE,
	FETCH_MODSEQ,
	FETCH_ENVELOPE,
	FETCH_BODY,
	FETCH_BODYSTRUCTURE,
	FETCH_SECTION, /* BODY[...], RFC822, RFC822.HEADER, RFC822.TEXT */
	FETCH_BINARY, /* BINARY[...] (RFC 9051 section 6.4.5) */
	FETCH_BINARY_SIZE,
	FETCH_PREVIEW, /* RFC 8970 */
	FETCH_SAVEDATE, /* RFC 8514 */
	FETCH_EMAILID, /* RFC 8474 */
	FETCH_THREADID,
};

/* What it takes to answer, the cheaper first. */
enum fetch_need {
	FETCH_NEED_RECORD, /* the message's record */
	FETCH_NEED_PEEK, /* its cache record if there is one: PREVIEW (LAZY) */
	FETCH_NEED_CACHE, /* its cache record too; rarely the file, for fields not cached */
	FETCH_NEED_CONTENT, /* bytes of the file go out */
};

enum { FETCH_ITEMS_MAX = 256 };

struct fetch_item {
	enum fetch_kind kind;
	int lazy; /* FETCH_PREVIEW: NIL rather than a look into the file */
	struct section section; /* FETCH_SECTION, FETCH_BINARY, FETCH_BINARY_SIZE */
	int partial;
	uint64_t off, count; /* octets wanted, when partial */
	struct buf label; /* of those with a section: as the response calls it, "BODY[1]<0>" */
};

struct fetch_plan {
	struct fetch_item *items; /* in the order asked for */
	size_t count;
	enum fetch_need need; /* the largest of all items */
	int marks_seen; /* \Seen is set implicitly */
	int has_flags; /* FLAGS is among the items */
	int has_facts; /* INTERNALDATE or RFC822.SIZE is */
	int has_ids; /* EMAILID or THREADID is */
	int has_uid, has_modseq;

	/* Modifiers (RFC 7162 section 3.1.4.1 and 3.2.6). */
	int is_changed_since;
	uint64_t changed_since;
	int vanished; /* UID FETCH only, to a QRESYNC client only: the caller has to look */
	/* PARTIAL (RFC 9394 section 3.3), UID FETCH only: of the messages named, those with these
	 * numbers. */
	int is_partial, from_end;
	uint32_t partial_from, partial_to;
};

/*
 * Parses what follows the sequence set, through the end of the command. with_uid: UID goes in
 * front unless it was asked for. Errors are the parser's; more than FETCH_ITEMS_MAX items are
 * E_TOOBIG. The caller calls fetch_plan_fini also after an error.
 */
enum err fetch_plan_parse(struct imap_parser *p, int with_uid, struct fetch_plan *out);
/*
 * "(UID FLAGS ...)" alone, for what is sent of messages that come (RFC 5465); UID as with with_uid.
 */
enum err fetch_plan_parse_list(struct imap_parser *p, struct fetch_plan *out);
void fetch_plan_fini(struct fetch_plan *plan);
/* The plan of "UID FETCH ... (FLAGS) (CHANGEDSINCE since VANISHED)". */
void fetch_plan_resync(uint64_t since, struct fetch_plan *out);

/* ---- one message of the answer (fetch_item.c) ---- */

/* Where bytes of the file stand in the text of a response: behind its first `at` bytes. */
struct fetch_hole {
	size_t at;
	size_t item; /* of the plan */
	uint64_t len; /* of the literal */
	int decode; /* its transfer encoding is undone on the way */
	struct section_data data;
};

/*
 * A message while it is being answered. The caller sets the first group; what fetch_item_write puts
 * into the second is freed with fetch_message_fini, after which the struct can be used again.
 */
struct fetch_message {
	uint32_t seq;
	int recent;
	/* \Seen was just set: FLAGS goes in although not asked for, and UID and MODSEQ if
	 * condstore. */
	int tell_flags;
	const struct index_message *m; /* borrowed */
	struct str record; /* cache record, borrowed; empty when not needed, or none can be had */

	struct index_content content;
	int has_content;
	struct part_table parts;
	int has_parts;
	int has_nul; /* the message holds NULs: never send the file as it is */
	struct fetch_hole *holes; /* FETCH_ITEMS_MAX, allocated when first needed */
	size_t hole_count;
};

/* "\Seen \Draft" for every union of flags, + 32 with \Recent. */
struct fetch_flags_text {
	unsigned char len[64];
	char text[64][64];
};
void fetch_flags_text_init(struct fetch_flags_text *t);

struct fetch_context {
	const struct fetch_plan *plan;
	struct fetch_flags_text flags;
	char *const *keywords; /* borrowed from the session */
	size_t keyword_count;
	struct index_user *index;
	uint32_t mailbox;
	struct imap_fetch_place *place; /* of the session; borrowed */
	int condstore; /* the client is CONDSTORE-aware */
	int rev2, uid_only; /* it enabled IMAP4rev2, UIDONLY */
};

/*
 * Appends "* N FETCH (...)" CRLF to out. Literals of the file are left out and noted as holes, for
 * fetch_body_send. After an error out is as it was.
 * E_NOTFOUND: the message or its file is gone; E_TOOBIG: the response would be over 64 MiB,
 * literals of the file not counted; others: it cannot be read now.
 */
enum err fetch_item_write(struct fetch_context *c, struct fetch_message *msg, struct buf *out);
void fetch_message_fini(struct fetch_message *msg);

/* ---- decoded parts (fetch_binary.c) ---- */

/*
 * How many there are of count decoded bytes from off on, and whether a NUL is among them.
 * E_UNSUPPORTED: the part's encoding is none that we know (RFC 9051 section 6.4.5, UNKNOWN-CTE).
 */
enum err fetch_binary_measure(
	struct section_data *data, uint64_t off, uint64_t count, uint64_t *len, int *has_nul);
/* Sends len decoded bytes from off on. E_CORRUPT: there were fewer; others: of the stream. */
enum err fetch_binary_send(
	struct section_data *data, uint64_t off, uint64_t len, struct stream *client);

/* ---- a client that comes back (fetch.c) ---- */

/* What it knows of the mailbox that was just selected (RFC 7162 section 3.2.5). */
struct fetch_resync {
	uint64_t since; /* mod-sequence */
	int has_uids;
	struct numset uids; /* the UIDs it knows; without them: all up to now */
	/* Message numbers and their UIDs, the same number of both; may be empty. */
	struct numset known_seqs, known_seq_uids;
};
/*
 * Sends VANISHED (EARLIER), then the changed messages, of the selected mailbox. Errors of the index
 * and the stream.
 */
enum err imap_fetch_resync(struct imap_session *s, const struct fetch_resync *r);

/* Sends what plan says of those of uids that the view of the selected mailbox has. plan is kept. */
enum err imap_fetch_unasked(
	struct imap_session *s, const struct fetch_plan *plan, const struct numset *uids);

/* ---- bytes of a file (fetch_body.c) ---- */

/*
 * Finds the section of an item in the message, opening its file when the cache record cannot
 * answer: *data is to be freed with section_data_fini in any case. *nil: there is no such part.
 * Errors as fetch_item_write.
 */
enum err fetch_body_find(struct fetch_context *c, struct fetch_message *msg,
	const struct fetch_item *item, struct section_data *data, int *nil);
/*
 * Appends ENVELOPE, BODY or BODYSTRUCTURE, as kind says, when no cache record has it: the message
 * is parsed. Errors as fetch_item_write.
 */
enum err fetch_body_describe(
	struct fetch_context *c, struct fetch_message *msg, enum fetch_kind kind, struct buf *out);
/*
 * Sends the octets of a hole, exactly hole->len of them. E_CORRUPT: the file did not hold them: the
 * client must not get anything more. Others: of the stream.
 */
enum err fetch_body_send(struct fetch_context *c, const struct fetch_message *msg,
	struct fetch_hole *hole, struct stream *client);

#endif
