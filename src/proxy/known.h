/* SPDX-License-Identifier: MIT */
#ifndef ROOST_PROXY_KNOWN_H
#define ROOST_PROXY_KNOWN_H

#include <stdint.h>

#include "lib/err.h"
#include "lib/net.h"

/*
 * Clients that have passed the tests before the greeting (screen.c) and need not wait again: a
 * table in an anonymous file that the master makes and every proxy maps, one word for a client, no
 * locks. It is full of who came last; who is forgotten waits once more. An IPv6 client is its /64.
 */
enum { KNOWN_SLOTS = 1 << 16 };

struct known;

/* Master: with what known_save kept at path, if that is there and whole. */
enum err known_create(const char *path, int *fd_out);
/* Master: keeps it over a restart. Errors are logged. */
void known_save(int fd, const char *path);

/* Proxy: maps the file; fd stays open. E_CORRUPT. */
enum err known_open(int fd, struct known **out);
void known_close(struct known **k);

/* Times are Unix time in seconds. */
int known_has(const struct known *k, const struct net_addr *client, int64_t now);
void known_add(struct known *k, const struct net_addr *client, int64_t until);

#endif
