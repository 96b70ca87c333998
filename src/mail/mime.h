/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MAIL_MIME_H
#define ROOST_MAIL_MIME_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/str.h"
#include "mail/decode.h"

/*
 * A streaming parser of Internet messages (RFC 5322, RFC 2045, RFC 2046, RFC 2183, RFC 2231). Every
 * sequence of bytes is a message: nothing fails, what is over a bound is the body of the part it
 * stands in. Lines end in LF or CRLF, also mixed. Time is linear in the input, memory bounded by
 * the limits.
 */

/* A zero takes the default. */
struct mime_limits {
	unsigned depth; /* nested multiparts and messages, default and at most 64 */
	unsigned parts; /* parts in all, the root counted, default 1000 */
	unsigned fields; /* header fields kept in all messages together, default 2000 */
	unsigned params; /* parameters of one field, default 100 */
	size_t header_bytes; /* looked at in one header, default 256 KiB */
	size_t header_total; /* looked at in all headers together, default 1 MiB */
	size_t preview_bytes; /* text gathered for the preview, UTF-8, default 4 KiB */
};

/* A parameter, RFC 2231 continuations joined. */
struct mime_param {
	struct str name; /* without "*0*" */
	struct str value; /* decoded, well-formed UTF-8 */
	/*
	 * As it goes to a client in BODYSTRUCTURE: the joined value as it stood. extended: it is in
	 * the form charset'language'percent-encoded, and its name there is name followed by "*".
	 */
	struct str raw;
	int extended;
};

struct mime_params {
	struct mime_param *v;
	size_t n;
};

/* One header field of a message, as stored. */
struct mime_field {
	struct str name; /* as written, without the colon */
	struct str value; /* as header_field.value in header.h: folding kept */
	struct str whole; /* the field as stored, its last line end included */
	uint64_t off; /* of the field in the input */
	uint64_t len; /* with its last line end */
};

enum mime_kind {
	MIME_LEAF,
	MIME_MULTIPART, /* children: the parts; none when no boundary line came */
	MIME_MESSAGE, /* message/rfc822 or message/global: one child, the message inside */
};

/*
 * Slices with p NULL: the field is not there. Text is as in the message, unfolded, comments kept,
 * but where something else is said. Everything belongs to the mime_message.
 */
struct mime_part {
	struct mime_part *parent, *next, *child;
	unsigned number; /* among the children of the parent, from 1; the root 1 */
	unsigned depth; /* 0 for the root */
	enum mime_kind kind;

	/*
	 * Where it stands in the input. The header includes the empty line behind it; the body
	 * excludes the line end before a boundary. body_off == header_off + header_len.
	 */
	uint64_t header_off, header_len;
	uint64_t body_off, body_len;
	uint64_t header_bare_lf, body_bare_lf; /* line ends that are LF alone */
	uint64_t body_lines; /* line ends in the body */

	struct str type, subtype; /* never NULL; text/plain, or message/rfc822 inside a digest */
	struct mime_params params;
	int has_type; /* a valid Content-Type was there */
	enum mail_encoding encoding;
	struct str encoding_name; /* as written, or NULL */
	struct str content_id, description, md5, location;
	struct str disposition; /* the type alone: "attachment" */
	struct mime_params disposition_params;
	struct str *languages;
	size_t language_count;

	/* The header fields of a message (the root, and the child of MIME_MESSAGE); else empty. */
	struct mime_field *fields;
	size_t field_count;
	int fields_cut; /* a limit kept some out */
};

/* Sizes as on the wire, with every line end CRLF. */
static inline uint64_t
mime_header_size(const struct mime_part *p)
{
	return p->header_len + p->header_bare_lf;
}

static inline uint64_t
mime_body_size(const struct mime_part *p)
{
	return p->body_len + p->body_bare_lf;
}

struct mime_message {
	struct mime_part *root;
	unsigned part_count;
	uint64_t size; /* bytes as fed */
	uint64_t size_crlf; /* with every line end CRLF */
	struct str
		preview; /* start of the text (plain, else out of HTML), UTF-8, not yet shortened */
	int has_nul, has_8bit; /* such bytes are somewhere in the input */
	struct mime_arena *arena;
};

struct mime_parser;

/* limits may be NULL: all defaults. */
struct mime_parser *mime_parser_create(const struct mime_limits *limits);
/* Bytes in pieces cut anywhere. Not after mime_parser_finish. */
void mime_parser_feed(struct mime_parser *p, const void *bytes, size_t len);
/* The end of the message. *out is the caller's, freed with mime_message_free; never NULL. */
void mime_parser_finish(struct mime_parser *p, struct mime_message **out);
/* Before or after finish. */
void mime_parser_free(struct mime_parser **p);
void mime_message_free(struct mime_message **m);

/* All at once: bytes need not outlive the call. */
void mime_parse(struct str bytes, const struct mime_limits *limits, struct mime_message **out);

/* The next part in the order of the message (a part before its children), or NULL. */
struct mime_part *mime_part_next(const struct mime_part *part);
/* A parameter by name, case does not count; NULL when not there. */
const struct mime_param *mime_param_find(const struct mime_params *params, const char *name);
/* The first field of a message's header by name, case does not count; NULL when not there. */
const struct mime_field *mime_field_find(const struct mime_part *part, const char *name);

#endif
