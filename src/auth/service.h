/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_SERVICE_H
#define ROOST_AUTH_SERVICE_H

#include <stddef.h>
#include <stdint.h>

#include "auth/answers.h"
#include "auth/cache.h"
#include "auth/directory.h"
#include "auth/directory_watch.h"
#include "auth/penalty.h"
#include "auth/settings.h"
#include "auth/token.h"
#include "auth/worker.h"
#include "lib/buf.h"
#include "lib/ctl.h"
#include "lib/ipc.h"
#include "lib/service.h"

/* The parts of roost-auth and what they share; private to it. All but what is remembered is the
 * loop's. */

struct event;
struct peer;
struct exchange;

struct auth_service {
	struct service_run *run;
	struct auth_settings *settings;
	struct directory_health *health;
	struct worker_pool *workers;
	struct directory_watch *watch;
	struct last_login *last_login;
	struct cache *cache; /* passwords */
	struct answers *answers; /* of the directory, lookup.c */
	struct penalty *penalty;
	struct token_used *tokens;
	struct peer *peers;
	/* What other programs have: connections, and the number of the last one. */
	size_t dovecot_conns;
	uint32_t dovecot_cuid;
	uid_t mail_uid; /* the owner of the mail */
	gid_t mail_gid;
	struct event *retire_event; /* NULL: not retiring */
	int64_t retire_deadline_ms;
	uint64_t logins_ok, logins_failed, logins_unavailable, lookups;
	uint64_t lookups_known; /* of them: from what is remembered */
};

/* ---- a connection from another process (peer.c) ---- */

/* What a listener answers; ended by a NULL run. m's body may be wiped or stolen. */
struct peer_frame {
	uint16_t type;
	void (*run)(struct peer *p, struct ipc_msg *m);
};

enum { PEER_BUCKETS = 256, PEER_EXCHANGES_MAX = 50000, DOVECOT_CONNS_MAX = 2000 };

struct login_front;
struct dovecot_conn;

struct peer {
	struct auth_service *auth;
	/* One of them is how it talks. Both NULL: closed; kept until the last job is done. */
	struct ipc_conn *conn;
	struct dovecot_conn *lines;
	const struct peer_frame *frames;
	const struct login_front *front; /* of the exchanges */
	size_t refs;
	struct peer *next, **link;
	struct exchange *exchanges[PEER_BUCKETS]; /* auth-login's, by request */
	size_t exchange_count;
	size_t jobs; /* in the workers */
	int greeted; /* has told its VERSION */
	int moved; /* was told to turn to another process */
};

/* Listed, with one reference: that of its connection, which the caller makes. */
struct peer *peer_create(struct auth_service *auth);
/* Its connection is gone: ends its exchanges and drops the connection's reference. */
void peer_closed(struct peer *p);

void peer_accept(struct service_run *run, int fd, const struct peer_frame *frames);
/* A job keeps its peer in memory. */
struct peer *peer_ref(struct peer *p);
void peer_unref(struct peer **p);
/* Frees b. Nothing happens when the peer is gone. */
void peer_send(struct peer *p, uint16_t type, uint32_t request, struct buf *b);
/* AUTH_ERROR. */
void peer_send_error(struct peer *p, uint32_t request, enum err e);
/*
 * Another process has taken this one's place: those of auth-login are told to turn to it, and close
 * when their exchanges are over; others are closed here when they have nothing under way, since
 * whoever asks there asks again. To be called until all are gone.
 */
struct peers_left {
	size_t busy; /* with something under way */
	size_t links; /* others of auth-login */
};
struct peers_left peers_retire(struct auth_service *auth);
/* Closes all at the end. */
void peers_close(struct auth_service *auth);

extern const struct peer_frame login_frames[], session_frames[], directory_frames[],
	userdb_frames[];
/* The peer is gone: drops its exchanges. */
void login_peer_closed(struct peer *p);

/* After a job: ends the process when it was the last one of a drain. */
void auth_job_done(struct auth_service *auth);

/*
 * The directory was changed, which touches this user's log-ins, or with NULL anybody's: nothing
 * older counts any more. In any thread.
 */
void auth_forget(struct auth_service *auth, const char *user);

/* The Dovecot protocols (dovecot_auth.c, dovecot_userdb.c). */
void dovecot_auth_accept(struct service_run *run, int fd, const struct net_addr *from);
void dovecot_userdb_accept(struct service_run *run, int fd, const struct net_addr *from);

extern const struct ctl_verb admin_verbs[];

#endif
