/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_TOKEN_USED_H
#define ROOST_AUTH_TOKEN_USED_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

/*
 * Which log-in tokens (token.h) were redeemed, in memory that the master makes and that each
 * roost-auth shares with those whose place it takes: a token is good once, whoever redeems it and
 * however the process before ended. Of a token there is a mark of 39 bits of its seal, until it has
 * expired. Of more than TOKEN_USED_MAX, or of 32 that fall together, the oldest is forgotten.
 */
struct token_used;

enum { TOKEN_USED_MAX = 1 << 18, TOKEN_USED_SEAL_BYTES = 8 };

/* For the master. The size is sealed. E_IO and others: there is no such memory. */
enum err token_used_create(int *fd_out);
/* Borrows fd; -1: memory of its own. E_IO, E_RANGE: it is not of token_used_create. */
enum err token_used_open(int fd, struct token_used **out);
void token_used_close(struct token_used **t);
/*
 * 1: it was not marked, and is until expires_ms, which lies in the future, at most a minute. 0: it
 * was. Of several at the same time one at most gets 1. seal: TOKEN_USED_SEAL_BYTES that nobody
 * chooses.
 */
int token_used_mark(struct token_used *t, const void *seal, int64_t expires_ms, int64_t now_ms);

#endif
