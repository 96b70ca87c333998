/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LIB_LINK_H
#define ROOST_LIB_LINK_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/ipc.h"
#include "lib/str.h"

struct event_base;

/*
 * A lasting connection to another daemon's socket with any number of requests under way. It is
 * opened when something is to be sent and again after it broke. The master holds the listening
 * socket, so connecting works (and waits in the backlog) while the daemon is being restarted.
 */
struct link;
struct link_conn;

/*
 * A frame with the request id 0, from a daemon that another one is to replace: what is asked next
 * goes over a new connection, to its successor; what is under way is still answered. The old
 * connection is closed when nothing is. Such a daemon waits for that before it ends, so that
 * nothing is lost that was sent before this arrived.
 */
enum { LINK_MOVED = 0xffff };

/* One request; embedded in its owner, who keeps it where it is until link_forget. Zero it first. */
struct link_request {
	uint32_t id; /* 0: not under way */
	struct link_request *next;
	struct link_conn *via;
	/*
	 * An answer; the request stays under way until link_forget. m NULL: the connection broke
	 * and the request is forgotten already.
	 */
	void (*on_answer)(struct link_request *r, struct ipc_msg *m);
};

/* path: copied. Nothing is connected yet. */
struct link *link_create(struct event_base *base, const char *path);
void link_free(struct link **l); /* answers NULL to all that is under way */
/* Called after each connecting, to ask what has to be asked first. */
void link_on_open(struct link *l, void (*fn)(struct link *l, void *arg), void *arg);
/*
 * Called when there is no connection any more for what is asked next: it broke and all requests
 * were told, or the peer sent LINK_MOVED.
 */
void link_on_lost(struct link *l, void (*fn)(struct link *l, void *arg), void *arg);
/* Called with each frame that answers nothing: its request id is 0. *m is freed after the call. */
void link_on_notice(
	struct link *l, void (*fn)(struct link *l, struct ipc_msg *m, void *arg), void *arg);
/* Connects if it is not. E_TEMPFAIL: nobody can be reached there. */
enum err link_open(struct link *l);
/*
 * Sends a frame with a new id and enters r. fds are duplicated. E_TEMPFAIL: could not connect; r is
 * not entered.
 */
enum err link_ask(struct link *l, struct link_request *r, uint16_t type, struct str body,
	const int *fds, size_t nfds);
/* A further frame for a request under way. */
void link_tell(const struct link_request *r, uint16_t type, struct str body);
/* A frame that belongs to no request; dropped while there is no connection. */
void link_notify(struct link *l, uint16_t type, struct str body);
/* to, zeroed but for on_answer, goes on for from, which is not under way any more. */
void link_hand_on(struct link *l, struct link_request *from, struct link_request *to);
/* Later answers are dropped. A request that is not under way may be given too. */
void link_forget(struct link *l, struct link_request *r);
int link_is_open(const struct link *l);
/* The peer has closed and the loop has not come round to it: what is sent now reaches nobody. */
int link_is_stale(const struct link *l);
size_t link_pending(const struct link *l);

#endif
