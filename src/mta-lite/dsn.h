/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_DSN_H
#define ROOST_MTA_DSN_H

#include <stdint.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"

/* The parameters of RFC 3461 (section 4) and their encoding. */

enum dsn_ret { DSN_RET_NONE, DSN_RET_FULL, DSN_RET_HDRS };

/* A set. Empty: not given, which means failures and delays. */
enum dsn_notify {
	DSN_NOTIFY_NEVER = 1,
	DSN_NOTIFY_SUCCESS = 2,
	DSN_NOTIFY_FAILURE = 4,
	DSN_NOTIFY_DELAY = 8,
};

enum { DSN_ENVID_MAX = 100, DSN_ORCPT_MAX = 500 };

/*
 * Decodes xtext (section 4) and appends it. E_PARSE: not xtext, or it hides a byte that is not
 * printable ASCII (an encoded NUL or line end must not get into an envelope).
 */
enum err dsn_xtext_decode(struct str text, struct buf *out);
/* Appends text as xtext. */
void dsn_xtext_encode(struct str text, struct buf *out);

/* "FULL", "HDRS". E_PARSE. */
enum err dsn_ret_parse(struct str text, enum dsn_ret *out);
/* "NEVER" or a list of "SUCCESS", "FAILURE", "DELAY". E_PARSE: also a mixture with NEVER. */
enum err dsn_notify_parse(struct str text, unsigned *out);
/* Appends the value of NOTIFY=; nothing for an empty set. */
void dsn_notify_format(unsigned notify, struct buf *out);
/*
 * "rfc822;xtext": appends "rfc822;" and the decoded address, which may be UTF-8; "utf-8;" and an
 * address in one of the forms of RFC 6533 section 3 the same. E_PARSE, E_TOOBIG.
 */
enum err dsn_orcpt_parse(struct str text, struct buf *out);
/*
 * Appends a decoded ORCPT as the parameter's value. utf8: the server has SMTPUTF8 and gets other
 * letters as they are; else it is ASCII.
 */
void dsn_orcpt_format(struct str orcpt, int utf8, struct buf *out);
/*
 * Appends text as RFC 6533 section 3 has it: the ASCII characters in special, and all beyond ASCII
 * unless utf8, become "\x{HEXPOINT}"; bytes that are not UTF-8 become "?".
 */
void dsn_unitext_encode(struct str text, const char *special, int utf8, struct buf *out);
/* Whether a failure for this recipient is to be reported. */
int dsn_wants_failure(unsigned notify);

/* Room for "5.123.456" and its NUL. */
enum { DSN_CODE_SIZE = 12 };
/*
 * Cuts an enhanced status code (RFC 3463 section 2) off the front of *s, with the blank behind it.
 * 0: there is none, *s and out are unchanged.
 */
int dsn_code_cut(struct str *s, char out[DSN_CODE_SIZE]);

#endif
