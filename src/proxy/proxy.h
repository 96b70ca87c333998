/* SPDX-License-Identifier: MIT */
#ifndef ROOST_PROXY_PROXY_H
#define ROOST_PROXY_PROXY_H

#include <stddef.h>

#include "lib/net.h"
#include "lib/service.h"
#include "proxy/known.h"
#include "proxy/limits.h"
#include "lib/link.h"
#include "proxy/prelogin.h"
#include "proxy/tls.h"
#include "proxy/trace.h"

enum { PROXY_ID_SIZE = 17, PROXY_REFUSED_MAX = 64 };

/* What a listener's name means. */
struct proxy_listener {
	const char *name; /* "imaps" */
	const struct prelogin_protocol *proto;
	enum tls_protocol tls;
	int implicit_tls;
};

/* Daemons that take clients. */
enum proxy_target { TARGET_IMAP, TARGET_POP3, TARGET_SMTPD, TARGET_LMTP, TARGETS };

struct mechanism_request {
	struct link_request request; /* first */
	struct proxy *px;
};

/* One roost-proxy process. */
struct proxy {
	struct service_run *run;
	struct event_base *base;
	struct limits *limits;
	struct known *known;
	struct tls *tls; /* NULL: no certificate */
	struct net_cidr *trusted; /* proxy_protocol_networks */
	size_t trusted_count;
	struct link *auth;
	struct link *targets[TARGETS];
	struct proxy_traces traces[TARGETS];
	char *mechanisms[PRELOGIN_CHANNELS]; /* as auth lists them */
	struct mechanism_request mechanism_request;
	struct event *auth_retry;

	struct client *clients;
	struct relay *relays;
	size_t client_count, relay_count, refused_count;
	size_t absent_count; /* handed over without TLS, not ended */
	uint64_t accepted, refused, handed_over, logins, failed_logins;
};

const struct config *proxy_conf(const struct proxy *px);
/* Which daemon serves this protocol, and the link to it. */
enum proxy_target proxy_target_of(const struct prelogin_protocol *proto);
struct link *proxy_target_link(struct proxy *px, const struct prelogin_protocol *proto);
/* Ends the process if it is draining and nothing is left. */
void proxy_maybe_done(struct proxy *px);
/* A connection that was counted (limits_enter) is over. */
void proxy_leave(struct proxy *px, const struct net_addr *peer);
int proxy_is_trusted(const struct proxy *px, const struct net_addr *peer);

/* ---- traces.c: what is traced (trace.h) ---- */

/* Hears of it from this daemon from now on. Once more is nothing. */
void traces_start(struct proxy *px, enum proxy_target target);

/* ---- client.c: a client until it is handed over ---- */

/* Owns fd. */
void client_start(struct proxy *px, const struct proxy_listener *listener, int fd,
	const struct net_addr *peer);
/* ---- returned.c: clients that a session gives back (session_return) ---- */

/* Owns fd, a connection on run/proxy-return. */
void returned_accept(
	struct proxy *px, int fd, const struct proxy_listener *kinds, size_t kind_count);

/* ---- client.c again ---- */

/* The service ends: says so to everybody who is not yet being handed over. */
void client_shutdown_all(struct proxy *px);
/* Mechanisms or settings changed. */
void client_refresh_all(struct proxy *px);
void client_close_all(struct proxy *px);

#endif
