/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_LOOKUP_ANSWER_H
#define ROOST_AUTH_LOOKUP_ANSWER_H

#include "auth/addr.h"
#include "auth/auth_client.h"
#include "auth/auth_proto.h"
#include "auth/cache.h"
#include "auth/frames.h"
#include "auth/moved.h"
#include "lib/buf.h"
#include "lib/err.h"

/*
 * What came out of a question of auth-directory or auth-userdb, and the form in which it is
 * remembered (auth/answers.h). Nothing of it is secret: a ticket is made when it is sent.
 */
struct lookup_answer {
	enum err result;
	/* Mail may go there, or in that name: good to have where the database is away. */
	int is_good;
	struct buf rcpt; /* LOOKUP_RCPT: the body of AUTH_RCPT */
	struct cache_user mailbox; /* LOOKUP_USER, RESUME; its limits of connections are not set */
	char detail[ADDR_LOCAL_MAX + 1], moved_to[MOVED_HOST_MAX + 1];
};
void lookup_answer_fini(struct lookup_answer *a);

enum { LOOKUP_QUESTION_SIZE = 2 * FRAME_ADDRESS_MAX + 32 };

/*
 * The name under which the answer to a question is remembered, into text[LOOKUP_QUESTION_SIZE].
 * user, address: without a NUL, at most FRAME_ADDRESS_MAX. 0: answers to questions of this type
 * are not remembered.
 */
int lookup_question(enum auth_frame type, struct str user, struct str address, char *text);
/* Of a recipient: sets rcpt and is_good. */
void lookup_answer_set_rcpt(struct lookup_answer *a, const struct auth_rcpt *rcpt);
/* Whether it may be remembered: an answer of the directory, no failure. */
int lookup_answer_is_lasting(const struct lookup_answer *a);
/* Appends the remembered form to *out. */
void lookup_answer_pack(enum auth_frame type, const struct lookup_answer *a, struct buf *out);
/* From that; *a is zeroed first, the caller finishes it. E_PROTO. */
enum err lookup_answer_unpack(enum auth_frame type, struct str packed, struct lookup_answer *a);

#endif
