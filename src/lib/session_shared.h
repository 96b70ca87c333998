/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LIB_SESSION_SHARED_H
#define ROOST_LIB_SESSION_SHARED_H

#include "lib/stream.h"

/*
 * What the warm parent sees of a session's process while it runs: memory that both share, a piece
 * for each process. Nothing in it is believed: a broken process can write other sessions' numbers.
 */
struct session_shared {
	struct stream_traffic traffic; /* of the session under way */
	_Atomic unsigned trace; /* enum session_trace_level, written by the parent */
};

/* What the process is to report of its dialogue. */
enum session_trace_level { SESSION_TRACE_OFF, SESSION_TRACE_LINES, SESSION_TRACE_CONTENT };

struct session_pool;
struct session_pool *session_pool_create(void);
void session_pool_free(struct session_pool **pool);
/* An empty piece; NULL: there is none left. */
struct session_shared *session_pool_get(struct session_pool *pool);
/* Its process has ended. s may be NULL. */
void session_pool_put(struct session_pool *pool, struct session_shared *s);

/* Another session begins. All of these take NULL. */
void session_shared_reset(struct session_shared *s);
uint64_t session_shared_in(const struct session_shared *s);
uint64_t session_shared_out(const struct session_shared *s);

#endif
