/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LIB_SESSION_SLEEPERS_H
#define ROOST_LIB_SESSION_SLEEPERS_H

#include <stddef.h>
#include <stdint.h>

#include "lib/ipc.h"

/*
 * What the parent of sessions knows of those that sleep: whoever handed the client over first still
 * counts it, and wants to hear SESSION_ENDED.
 */
enum { SESSION_SLEEPER_BUCKETS = 1024 };

struct session_sleeper {
	struct session_sleeper *next; /* in its bucket */
	char *id; /* of the session */
	struct ipc_conn *origin; /* NULL: it is gone */
	uint32_t request;
};
struct session_sleepers { /* zeroed: empty */
	struct session_sleeper *buckets[SESSION_SLEEPER_BUCKETS];
	unsigned count;
};

/* Where it is, or where it belongs. */
struct session_sleeper **session_sleeper_find(struct session_sleepers *l, const char *id);
/* One that is not there yet. */
struct session_sleeper *session_sleeper_add(
	struct session_sleepers *l, const char *id, struct ipc_conn *origin, uint32_t request);
void session_sleeper_remove(struct session_sleepers *l, struct session_sleeper **at);
/* The sleeper under this id, if there is one, is over: its origin hears of it. */
void session_sleeper_ended(struct session_sleepers *l, const char *id);
/* All of them are over; tell: their origins hear of it. */
void session_sleepers_end(struct session_sleepers *l, int tell);
/* origin is gone. */
void session_sleepers_forget(struct session_sleepers *l, const struct ipc_conn *origin);

/* SESSION_ENDED; origin may be NULL. */
void session_tell_ended(struct ipc_conn *origin, uint32_t request);

#endif
