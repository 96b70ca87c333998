/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_REHASH_H
#define ROOST_AUTH_REHASH_H

#include "lib/str.h"

struct auth_service;

/*
 * Setting password_rehash: a password that a log-in has shown to be right is hashed with
 * password_scheme, and takes the place of its old stored form, if that is still what is stored. By
 * a worker that has nothing better to do, so no log-in waits for it. For the loop's thread, but for
 * rehash_create and rehash_free. A process that ends drops what is not done; the next log-in asks
 * for it again.
 */
struct rehash;

/* user: the canonical address; stored: what is stored now. Never NULL. */
struct rehash *rehash_create(const char *user, struct str password, const char *stored);
/* Gives it to a worker, who logs what came of it. *r is NULL then. */
void rehash_submit(struct auth_service *auth, struct rehash **r);
void rehash_free(struct rehash **r);

#endif
