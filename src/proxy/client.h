/* SPDX-License-Identifier: MIT */
#ifndef ROOST_PROXY_CLIENT_H
#define ROOST_PROXY_CLIENT_H

#include "lib/session.h"
#include "proxy/client_cert.h"
#include "proxy/conn.h"
#include "proxy/proxy.h"
#include "proxy/trace.h"

/* Between client.c, client_auth.c and handover.c. */

enum client_phase {
	CLIENT_HEADER, /* a PROXY header is due */
	CLIENT_SCREEN, /* it waits for its greeting: screen.h */
	CLIENT_HANDSHAKE, /* TLS */
	CLIENT_DIALOGUE, /* the machine in prelogin.h speaks */
	CLIENT_HANDOVER, /* the session daemon has been asked */
	CLIENT_LINGER, /* the last words are sent; what still comes is thrown away */
};

/*
 * What is to be known of a client that a session gave back, and of one that may come back: the
 * session keeps it, sealed (returned.c). The client of a TLS connection comes back as one end of
 * the socketpair whose other end is still relayed.
 */
struct returned {
	char *tls_text;
	unsigned char exporter[CONN_BINDING_MAX], unique[CONN_BINDING_MAX];
	size_t exporter_len, unique_len;
	struct client_cert cert;
	struct buf input; /* to be read in front of what the socket has */
};

struct client {
	struct client *prev, *next;
	struct proxy *px;
	const struct proxy_listener *listener;
	enum client_phase phase;
	struct conn conn;
	struct prelogin prelogin;
	struct net_addr peer, local;
	char id[PROXY_ID_SIZE];
	struct buf header; /* of the PROXY protocol, so far */
	int counted; /* in the limits */
	struct limits_login login; /* the same, once logged in */
	int refused; /* there is no room: only a goodbye is said */
	enum prelogin_reply refusal;
	int tls_wanted, handover_wanted;
	enum err auth_error; /* to be told to the machine when it has returned */
	struct client_cert cert;
	struct event deadline; /* until logged in; then of the lingering */
	struct event wait; /* for auth or the session daemon */
	struct link_request auth, handover;
	int session_fd; /* our end of the socketpair while handing over; -1 */
	struct returned *returned; /* NULL: it came from the network */
	struct client_trace *trace; /* NULL: nobody looks */
};

/* One that has not said anything yet. Owns fd. */
struct client *client_create(struct proxy *px, const struct proxy_listener *listener, int fd,
	const struct net_addr *peer);

/* Does what can be done now. The client may be gone afterwards. */
void client_run(struct client *c);
void client_close(struct client *c, const char *reason);
void client_arm(struct event *timer, int64_t ms);
/* Sends what is in out. 1: it is empty. 0: not yet; or the client is gone: *gone. */
int client_flush(struct client *c, int *gone);
/* The machine begins; what it has to say first is in out. */
void client_begin_dialogue(struct client *c);

/* ---- client_auth.c ---- */
void client_auth_start(
	struct prelogin *p, struct str mechanism, int has_initial, struct str initial);
void client_auth_continue(struct prelogin *p, struct str response);
void client_auth_abort(struct prelogin *p);
void client_auth_timeout(struct client *c);

/* ---- returned.c ---- */
/* Appends what makes this client one before log-in again: session_info.back. */
void returned_seal(const struct client *c, const struct session_info *info, struct buf *out);
void returned_free(struct returned **r);
/* The channel bindings, CONN_BINDING_MAX bytes at most each. 0: there is none. */
size_t client_tls_exporter(const struct client *c, unsigned char *out);
size_t client_tls_unique(const struct client *c, unsigned char *out);

/* ---- handover.c ---- */
/* Gives the client away; out is empty. */
void client_handover(struct client *c);
void client_handover_timeout(struct client *c);

#endif
