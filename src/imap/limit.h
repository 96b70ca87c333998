/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMAP_LIMIT_H
#define ROOST_IMAP_LIMIT_H

#include "imap/imap.h"

/*
 * How many messages a command works on (RFC 9738): settings imap_message_limit and imap_save_limit.
 * What is over it is left for the client to ask for again, the oldest messages being left.
 */
struct imap_limit {
	uint32_t messages; /* that were allowed; 0: the limit was not met */
	uint32_t last_uid; /* the lowest that was worked on */
};

/* Appends " MESSAGELIMIT=n" or " SAVELIMIT=n", or nothing. */
void imap_limit_capability(const struct config *conf, struct buf *out);
/* What COPY and APPEND may do at once; UINT32_MAX: anything. */
uint32_t imap_limit_of_saving(const struct config *conf);
/* What the other commands may; UINT32_MAX: anything. */
uint32_t imap_limit_of_messages(const struct config *conf);

/* Leaves in seqs (numbers of view) the highest, at most max of them; *out says whether it had to.
 */
void imap_limit_cut(
	const struct index_view *view, struct numset *seqs, uint32_t max, struct imap_limit *out);

/*
 * The tagged OK. Where the limit was met it has MESSAGELIMIT; with another code, that goes there
 * and MESSAGELIMIT into an untagged NO (section 3.1).
 */
enum err imap_limit_reply_ok(
	struct imap_session *s, const struct imap_limit *limit, const char *code, const char *text);
/* NO [MESSAGELIMIT n uid], without uid where last_uid is 0: nothing was done. */
enum err imap_limit_reply_no(struct imap_session *s, const struct imap_limit *limit);

#endif
