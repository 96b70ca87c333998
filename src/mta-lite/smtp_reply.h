/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_SMTP_REPLY_H
#define ROOST_MTA_SMTP_REPLY_H

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"
#include "mta-lite/dsn.h"

/*
 * A reply of another server (RFC 5321 section 4.2), fed line by line. Tolerant where that is
 * harmless (a bare code, a code that changes within a reply), bounded everywhere.
 */
enum { SMTP_REPLY_LINES_MAX = 200, SMTP_REPLY_LINE_MAX = 4096, SMTP_REPLY_TEXT_MAX = 8192 };

struct smtp_reply {
	int code; /* 200..599; 0: nothing yet */
	char dsn[DSN_CODE_SIZE]; /* enhanced code of the last line that had one, "" without */
	/*
	 * The texts behind code and enhanced code, lines separated by LF; other control bytes and
	 * 8-bit ones are replaced by "?". Cut at SMTP_REPLY_TEXT_MAX.
	 */
	struct buf text;
	unsigned lines;
	int done;
};

void smtp_reply_reset(struct smtp_reply *r);
void smtp_reply_free(struct smtp_reply *r);
/*
 * line: without its end. OK: taken, r->done tells whether it was the last. E_PROTO: not a reply;
 * E_TOOBIG: too many lines.
 */
enum err smtp_reply_line(struct smtp_reply *r, struct str line);
/* 2, 3, 4 or 5. */
int smtp_reply_class(const struct smtp_reply *r);
/*
 * "550 5.1.1 text", one line. The enhanced code is left out when the class of it and of the code
 * differ. Appends at most max bytes.
 */
void smtp_reply_format(const struct smtp_reply *r, size_t max, struct buf *out);
/* The enhanced code, or a general one for the reply's class ("5.0.0"). */
const char *smtp_reply_dsn(const struct smtp_reply *r);

#endif
