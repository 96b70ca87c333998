/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LIB_SESSION_CHILDREN_H
#define ROOST_LIB_SESSION_CHILDREN_H

#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>
#include <time.h>

#include <event2/event.h>

#include "lib/service.h"
#include "lib/session.h"
#include "lib/session_shared.h"
#include "lib/session_sleepers.h"

/* The processes of a warm parent, for session.c: those that serve and those that wait to. */

enum { CHILD_BUCKETS = 1024 };

enum child_state {
	CHILD_SERVING, /* a session is under way */
	CHILD_LEAVING, /* its client goes back to the proxy; it will be free in a moment */
	CHILD_WAITING, /* its session is over; it may get another client */
	CHILD_RETIRED, /* it was told to end */
};

/* A process, with the session under way for `who`, `kick` and the end. */
struct child {
	struct child *next; /* in its bucket */
	pid_t pid;
	enum child_state state;
	TAILQ_ENTRY(child) waiting; /* CHILD_WAITING */
	int64_t waiting_since_ms;
	int order; /* to hand it another client; -1: none yet, or retired */
	char *owner; /* whom it serves (owner_of), as its first client has it; NULL: one client only
		      */
	uint64_t generation; /* of the settings that it has */
	int kicked; /* it was told to end; it may not have noticed */
	time_t since;
	int tls;
	char *id, *service, *peer, *tls_text, *user, *detail;
	uint64_t in_before, out_before; /* bytes of the session before it slept */
	struct session_shared *shared; /* its process's; NULL: there was none left */
	struct ipc_conn *origin; /* who handed it over and is told of its end; or NULL */
	uint32_t request;
	struct session_sleeper *sleeper; /* it is giving its client away, or did */
};

struct session_trace; /* session_trace.h */

struct parent {
	const struct session_program *program;
	struct child *children[CHILD_BUCKETS]; /* by process id */
	unsigned count; /* processes */
	unsigned serving; /* those with a session */
	TAILQ_HEAD(, child) waiting; /* the longest first */
	unsigned waiting_count;
	struct session_sleepers sleepers;
	struct ipc_conn **links; /* on which clients are handed over */
	size_t link_count;
	uint64_t served;
	struct session_pool *pool;
	TAILQ_HEAD(session_traces, session_trace) traces; /* who looks at which sessions */
	struct event *trace_event; /* NULL before the first */
	int reports[2]; /* datagrams: [0] read by the parent, [1] written by all children */
	struct event *report_event, *child_event, *drain_event, *waiting_event, *retire_event,
		*rest_event;
};

/* By process id; *result is NULL when there is none. */
struct child **children_find(struct parent *p, pid_t pid);
/* One that was just forked for this session; shared is given back when it is removed. */
struct child *children_add(struct parent *p, pid_t pid, const struct session_info *info,
	uint64_t generation, struct session_shared *shared);
/* *at has ended: it is freed. */
void children_remove(struct parent *p, struct child **at);
void children_each(struct parent *p, void (*call)(struct child *, void *), void *arg);

/* The sleeper of c's client. *result is NULL when the keeper has handed it on meanwhile. */
struct session_sleeper **children_sleeper(struct parent *p, struct child *c);
/* c is about to give its client to the keeper; or, with asleep 0, could not. */
void children_sleeps(struct parent *p, struct child *c, int asleep);

/* c gives its client back to the proxy: its session is over, its process not yet free. */
void children_leaves(struct parent *p, struct child *c);
/* c says that it is free. order: its order socket if it was sent along, else -1; taken over. */
void children_is_free(struct service_run *run, struct child *c, int order);
/*
 * Gives the client to a process that served its user, and with same_host its host, before. Which
 * that is was said when the process was started; what the process says of itself does not count.
 * NULL: there is none.
 */
struct child *children_reuse(struct service_run *run, int fd, const struct session_info *info);
/* One that waits ends when its order socket is closed, which this does. */
void children_retire(struct parent *p, struct child *c);
/* The timer parent.waiting_event. */
void children_on_waiting(evutil_socket_t fd, short what, void *arg);

#endif
