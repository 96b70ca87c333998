/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_LAST_LOGIN_H
#define ROOST_AUTH_LAST_LOGIN_H

#include <stddef.h>

struct auth_service;

/*
 * Who logged in last, when, from where and by which protocol: kept here and written to the
 * database every few seconds in one transaction, the last log-in of each user only, so that no
 * log-in waits for a write and many of them cost one. While the database is down they are kept; a
 * process that is killed loses those of the last seconds. For the loop's thread. Nothing is
 * written into a schema of somebody else's.
 */
struct last_login;

enum { LAST_LOGIN_MAX = 100000, LAST_LOGIN_BATCH = 1000, LAST_LOGIN_EVERY_MS = 5000 };

struct last_login *last_login_create(struct auth_service *auth);
/* After the workers have ended. */
void last_login_free(struct last_login **l);
/* app_password: the name of the one that was given, or "". ip: "" when unknown. */
void last_login_note(struct last_login *l, const char *user, const char *app_password,
	const char *ip, const char *service);
/* Hands what there is to a worker now. */
void last_login_flush(struct last_login *l);
/* Not yet written. */
size_t last_login_pending(const struct last_login *l);

#endif
