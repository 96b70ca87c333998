/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MASTER_DAEMONS_H
#define ROOST_MASTER_DAEMONS_H

#include <stddef.h>

#include "lib/conf.h"

/*
 * What the master runs: a row per daemon. All sockets are bound by the master and handed to the
 * daemon, so that clients of one that is being restarted just wait.
 */

/* Whose files, whose process: with root the two settings, without root it is always us. */
enum daemon_user { DAEMON_ROOT, DAEMON_USER /* setting user */, DAEMON_MAIL_USER };

/*
 * Secrets that only some may see; all others get the settings without them. SECRET_TLS are all
 * those of the proxy.
 */
enum { SECRET_TICKET = 1, SECRET_TLS = 2, SECRET_DATABASE = 4, SECRET_SLEEP = 8 };

/* The end comes in this order; a stage begins when all of the one before are gone. */
enum daemon_stage { STAGE_CLIENTS, STAGE_DELIVERY, STAGE_STORES, STAGES };

struct daemon_tcp {
	const char *name; /* in ROOST_FDS; NULL ends the list */
	const char *setting; /* a LIST of addresses */
};

struct daemon_unix {
	const char *name; /* in ROOST_FDS; NULL ends the list */
	const char *path; /* below run/ */
	enum daemon_user owner; /* who may connect */
	unsigned mode;
};

enum { DAEMON_TCP_MAX = 12, DAEMON_UNIX_MAX = 6 };

struct daemon_def {
	const char *name; /* in logs, status and run/ctl-NAME */
	const char *program;
	enum daemon_user user;
	unsigned secrets;
	enum daemon_stage stage;
	int last; /* starts when all others are ready: what lets clients in */
	int per_core; /* proxy_processes of them */
	int limits; /* gets the table of connection counts */
	int tokens; /* gets the table of used log-in tokens */
	int metrics; /* reads what all the others count */
	int checks; /* has more to say of settings than their form: master/program_check.h */
	int rests; /* may end when nobody uses it, until somebody connects again */
	/*
	 * Settings that it cannot take over while it runs (files that it opens before its sandbox):
	 * another process takes its place. Names, ended by NULL; one that ends in "*" stands for
	 * all that begin so. May be NULL.
	 */
	const char *const *restart_for;
	struct daemon_tcp tcp[DAEMON_TCP_MAX];
	struct daemon_unix unix_[DAEMON_UNIX_MAX];
};

extern const struct daemon_def daemon_defs[];
extern const size_t daemon_def_count;

/* How many processes of it there are to be. */
unsigned daemon_wanted(const struct daemon_def *def, const struct config *conf);
/* Whether one of its restart_for differs. */
int daemon_must_restart(
	const struct daemon_def *def, const struct config *was, const struct config *is);
/* The user's name, "" to stay what we are. Borrowed from conf. */
const char *daemon_user_name(enum daemon_user user, const struct config *conf);
/* The addresses in the setting a listener is made from. */
const struct conf_list *daemon_addresses(const struct daemon_tcp *tcp, const struct config *conf);

#endif
