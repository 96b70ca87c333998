/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMPORT_IMAP_IN_H
#define ROOST_IMPORT_IMAP_IN_H

#include <stddef.h>
#include <stdint.h>

#include "import/import.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"

/*
 * What an IMAP server says (RFC 9051 section 9, "response"), read in tokens as it arrives. Memory
 * is bounded whatever it sends: a token has at most IMAP_IN_TEXT_MAX bytes, a response
 * IMAP_IN_TOKENS_MAX tokens; literals are passed through in pieces.
 */
enum {
	IMAP_IN_BUFFER = 32 * 1024,
	IMAP_IN_TEXT_MAX = 64 * 1024,
	IMAP_IN_TOKENS_MAX = 100 * 1000,
	IMAP_IN_DEPTH_MAX = 64,
};

struct imap_in {
	/* Reads at least one byte, at most cap. E_CLOSED, E_TIMEOUT, E_IO. */
	enum err (*fill)(void *arg, char *p, size_t cap, size_t *got);
	void *arg;
	char *bytes; /* IMAP_IN_BUFFER */
	size_t pos, len;
	struct buf text;
	unsigned tokens, depth; /* of this response */
	enum err err; /* sticks */
};
void imap_in_init(
	struct imap_in *in, enum err (*fill)(void *, char *, size_t, size_t *), void *arg);
void imap_in_fini(struct imap_in *in);

enum imap_token_kind {
	IMAP_ATOM, /* also flags, numbers, NIL and "BODY[...]" */
	IMAP_QUOTED,
	IMAP_LITERAL, /* size bytes follow, which imap_in_literal must take */
	IMAP_OPEN,
	IMAP_CLOSE,
	IMAP_EOL,
};
struct imap_token {
	enum imap_token_kind kind;
	struct str text; /* ATOM, QUOTED: borrowed until the next call */
	uint64_t size;
};
/* E_PROTO: no response; E_TOOBIG: over a bound; or what fill returned. */
enum err imap_in_token(struct imap_in *in, struct imap_token *out);
/* The bytes of a literal; write NULL: dropped. */
enum err imap_in_literal(struct imap_in *in, uint64_t size,
	void (*write)(const char *p, size_t len, void *arg), void *arg);
/* Forgets the tokens of the last response: at the start of each. */
void imap_in_start(struct imap_in *in);
/* The rest of the line as text, cut at IMAP_IN_TEXT_MAX bytes; borrowed until the next call. */
enum err imap_in_line(struct imap_in *in, struct str *out);
/* The rest of a response that is made of tokens, through its EOL. */
enum err imap_in_skip(struct imap_in *in);
/*
 * An astring or nstring of at most IMAP_IN_TEXT_MAX bytes, appended to *out. *is_nil may be NULL.
 * E_PROTO: the next token is none.
 */
enum err imap_in_string(struct imap_in *in, struct buf *out, int *is_nil);

/* ---- FETCH (RFC 9051 section 7.5.2) ---- */

struct imap_fetch {
	uint32_t uid; /* 0: not said */
	int has_flags, has_body;
	struct import_flags flags;
	int64_t date; /* INTERNALDATE; 0: not said, or no date */
	/* The body as it comes; may be NULL. size is what the server announced. */
	void (*body_start)(uint64_t size, void *arg);
	void (*body_write)(const char *p, size_t len, void *arg);
	void *arg;
};
/* Behind "* N FETCH", through the EOL. The caller calls import_flags_free in either case. */
enum err imap_fetch_read(struct imap_in *in, struct imap_fetch *f);

/* ---- LIST and LSUB (RFC 9051 section 7.3.1) ---- */

struct imap_list {
	struct buf name; /* as the server writes it */
	char separator; /* 0: NIL, a flat name */
	unsigned special_use; /* enum index_special_use */
	int no_select, no_inferiors;
};
/* Behind "* LIST". The caller frees name in either case. */
enum err imap_list_read(struct imap_in *in, struct imap_list *out);

/* ---- NAMESPACE (RFC 2342 section 5) ---- */

enum { IMAP_NAMESPACES_MAX = 64 };
struct imap_namespace {
	char *prefix;
	char separator;
	int personal;
};
struct imap_namespaces {
	struct imap_namespace all[IMAP_NAMESPACES_MAX];
	size_t count;
};
/* Behind "* NAMESPACE". Further ones than IMAP_NAMESPACES_MAX are left out. */
enum err imap_namespaces_read(struct imap_in *in, struct imap_namespaces *out);
void imap_namespaces_free(struct imap_namespaces *n);

#endif
