/* SPDX-License-Identifier: MIT */
#ifndef ROOST_PROXY_LIMITS_H
#define ROOST_PROXY_LIMITS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/err.h"
#include "lib/net.h"

/*
 * How many clients there are, in all, from each address and of each user, counted over all
 * roost-proxy processes: a table in an anonymous file that the master makes and every proxy maps.
 * Each process writes its own column only and reads all; the master empties the column of one that
 * died. No locks, so nobody can be made to wait for a dead or hostile process.
 *
 * The bound is exact upwards: a process counts its client before it adds up the columns, so two
 * that race may both refuse, but never both admit the last one. An IPv6 client counts as its /64,
 * which is what one customer has.
 */
enum { LIMITS_COLUMNS = 128, LIMITS_SLOTS_MIN = 4096, LIMITS_SLOTS_MAX = 1 << 22 };

struct limits;

/* Master: makes the file for about max_connections clients in each process. */
enum err limits_create(uint64_t max_connections, int *fd_out);
/* Master: forgets what the ended process pid had counted. */
void limits_clear(int fd, pid_t pid);

/* Proxy: maps the file and takes a column. E_NOSPACE: all are taken; E_CORRUPT. fd stays open. */
enum err limits_open(int fd, struct limits **out);
/* Gives the column back. */
void limits_close(struct limits **l);

enum limits_verdict { LIMITS_OK, LIMITS_ALL, LIMITS_HOST };
/*
 * Counts a client of this address when the verdict is LIMITS_OK; each such call is followed by one
 * limits_leave. Loopback addresses count in all only.
 */
enum limits_verdict limits_enter(
	struct limits *l, const struct net_addr *peer, uint64_t max_all, uint64_t max_host);
void limits_leave(struct limits *l, const struct net_addr *peer);
/*
 * The same for who has logged in: connections of one user, and those of one user from one address
 * (loopback addresses are not counted so). *out is zeroed first, and what it holds afterwards is
 * given back by limits_login_leave; after a refusal it holds nothing. max_*: 0 is no limit. A user
 * is counted even without a limit, since the next log-in may have one.
 */
enum limits_login_verdict { LIMITS_LOGIN_OK, LIMITS_USER, LIMITS_USER_HOST };
struct limits_login {
	uint64_t user, user_host; /* hashes; 0: not counted */
};
enum limits_login_verdict limits_login_enter(struct limits *l, const char *user,
	const struct net_addr *peer, uint64_t max_user, uint64_t max_user_host,
	struct limits_login *out);
/* Zeroes *login. */
void limits_login_leave(struct limits *l, struct limits_login *login);
/* Clients in all processes. */
uint64_t limits_total(const struct limits *l);

#endif
