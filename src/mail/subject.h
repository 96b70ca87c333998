/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MAIL_SUBJECT_H
#define ROOST_MAIL_SUBJECT_H

#include "lib/buf.h"
#include "lib/str.h"

/*
 * The base subject of a Subject field's value (RFC 5256 section 2.1), UTF-8, not case folded.
 * *is_reply (may be NULL): something was removed that marks a reply or forward. E_TOOBIG: out is
 * full.
 */
enum err subject_base(struct str value, struct buf *out, int *is_reply);

/*
 * The next message id in text (RFC 5322 section 3.6.4; RFC 5256 section 3 "normalized"): finds the
 * next
 * "<…>", appends what is inside without quoting, comments and blanks to out (emptied first) and
 * cuts *text off behind it. 1, or 0 when there is none.
 */
int message_id_next(struct str *text, struct buf *out);

#endif
