/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_LOGIN_H
#define ROOST_AUTH_LOGIN_H

#include "auth/service.h"

/*
 * SASL exchanges (RFC 4422) of whoever asks: each way to ask is a front end, which translates its
 * own protocol to these calls and is told of the outcome. Checks, penalties and the line in the log
 * are the same for all.
 */

/* How well what the client sends is hidden. */
enum login_channel {
	CHANNEL_TLS,
	CHANNEL_PRIVATE, /* passwords may be sent all the same */
	CHANNEL_OPEN,
	CHANNEL_CERTIFICATE, /* TLS, and the client's certificate names a user */
	CHANNELS
};

/* Whether a mechanism (upper case) may be used over such a channel. */
int login_is_offered(const struct config *conf, const char *mechanism, enum login_channel channel);
/* addr: the client's; len 0: unknown. */
enum login_channel login_channel_without_tls(
	const struct config *conf, const struct net_addr *addr);

/* Slices are copied. */
struct login_start {
	uint32_t request; /* not in use on this peer */
	struct str service; /* SASL's name of it; empty: refused */
	struct str mechanism; /* in any case */
	struct str session; /* for the log and the token */
	struct str exporter, unique; /* channel bindings, or empty */
	struct str certificate_user; /* whom the client's certificate names, or empty */
	struct net_addr addr; /* of the client; len 0: unknown */
	enum login_channel channel;
	int plain_always; /* PLAIN also where it is not listed */
	int has_initial;
	struct str initial;
};
/* The outcome may be told before the call returns. */
void login_start(struct peer *p, const struct login_start *start);
/* The answer to a challenge; bad: it could not be read. An exchange that is over is ignored. */
void login_continue(struct peer *p, uint32_t request, enum err bad, struct str data);
/* Nothing more will be told of it. */
void login_cancel(struct peer *p, uint32_t request);
int login_is_known(struct peer *p, uint32_t request);

/* All borrowed for the time of the call. */
struct login_success {
	uint32_t request;
	const char *service, *session;
	const struct cache_user *user;
	struct str data;
};
struct login_failure {
	uint32_t request;
	/* E_AUTH, E_ACCESS (switched off, or moved), E_PARSE, E_UNSUPPORTED, E_TIMEOUT, E_TEMPFAIL
	 */
	enum err error;
	const char *user; /* who tried, as written; may be empty */
	const char *reason; /* a word for machines, or NULL */
	/* E_ACCESS: the server that has his mail (auth/moved.h) and his name there; else NULL */
	const char *moved_to, *moved_user;
};

struct login_front {
	void (*challenge)(struct peer *p, uint32_t request, struct str data);
	/* The request id is free again. */
	void (*done)(struct peer *p, const struct login_success *s);
	void (*failed)(struct peer *p, const struct login_failure *f);
	void (*job_done)(struct peer *p); /* p->jobs has become less; may be NULL */
	int64_t delay_max_ms; /* bounds login_delay_max; 0: does not */
	int64_t wait_max_ms; /* for the answer to a challenge; 0: the peer sees to that */
};

extern const struct login_front login_frames_front;

#endif
