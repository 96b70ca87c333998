/* SPDX-License-Identifier: MIT */
#ifndef ROOST_FTS_CLIENT_H
#define ROOST_FTS_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include "auth/auth_client.h"
#include "index/fts/fts_proto.h"
#include "lib/conf.h"
#include "lib/err.h"
#include "lib/ipc.h"
#include "lib/numset.h"
#include "lib/str.h"

/*
 * A session's questions to roost-fts about its own user's mail. Whatever goes wrong there, the
 * caller searches the messages themselves: after a failure nothing is asked for a while.
 */
struct fts_client;

/* Connects at the first question. user: copied. */
struct fts_client *fts_client_create(const struct config *conf, const struct auth_user *user);
void fts_client_free(struct fts_client **c);
struct sandbox;
void fts_client_sandbox_allow(const struct config *conf, struct sandbox *sb);

struct fts_key {
	enum fts_where where;
	enum fts_how how;
	struct str needle; /* folded */
};
/* ids: 16 bytes each. */
struct fts_key_answer {
	int all_maybe;
	struct str yes, maybe;
	struct str scores; /* of FTS_FUZZY: the relevancy of each of yes, a byte; else empty */
};
struct fts_reply {
	struct numset uids; /* of the mailbox, that the index has */
	struct fts_key_answer keys[FTS_KEYS_MAX];
	struct ipc_msg msg; /* what the ids are borrowed from */
};

/* An empty one, which may be freed. */
void fts_reply_init(struct fts_reply *r);
/*
 * OK, or why there is no answer: the caller has to search by itself. The caller calls
 * fts_reply_free also after an error.
 */
enum err fts_client_ask(struct fts_client *c, const char *object_id, uint32_t uidvalidity,
	const struct fts_key *keys, size_t count, struct fts_reply *out);
void fts_reply_free(struct fts_reply *r);

/* Whether the setting fts_languages names any. */
int fts_client_has_languages(const struct fts_client *c);
/*
 * Whether two folded words are forms of one word in one of the languages (mail/word_match.h). OK,
 * or why there is no answer.
 */
enum err fts_client_same_stem(struct fts_client *c, struct str word, struct str other, int *same);

#endif
