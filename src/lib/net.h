/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LIB_NET_H
#define ROOST_LIB_NET_H

#include <stdint.h>
#include <sys/socket.h>

#include "lib/err.h"
#include "lib/str.h"

/* An IPv4, IPv6 or UNIX socket address. */
struct net_addr {
	struct sockaddr_storage sa;
	socklen_t len;
};

/* Enough for any formatted address with its NUL. */
enum { NET_ADDR_TEXT = 128 };

/*
 * "127.0.0.1:25", "[::1]:25", "*:25" (all IPv4 and IPv6), "/run/x.sock" or "unix:/run/x.sock".
 * Host names are not looked up. default_port stands in for a missing ":port"; 0 makes it
 * mandatory. E_PARSE, E_RANGE (port), E_TOOBIG (path).
 */
enum err net_addr_parse(struct str text, uint16_t default_port, struct net_addr *out);
/* "127.0.0.1:25", "[::1]:25", "/run/x.sock"; a mapped IPv4 address is shown as IPv4. */
void net_addr_format(const struct net_addr *a, char out[NET_ADDR_TEXT]);
/* Without the port and brackets: "127.0.0.1", "::1", "local" for a UNIX socket. */
void net_addr_format_ip(const struct net_addr *a, char out[NET_ADDR_TEXT]);
/* The port, 0 for a UNIX socket. */
uint16_t net_addr_port(const struct net_addr *a);
int net_addr_is_loopback(const struct net_addr *a); /* UNIX sockets count */
/* Same address, ports not compared. */
int net_addr_same_host(const struct net_addr *a, const struct net_addr *b);

/* A network such as 10.0.0.0/8, 2001:db8::/32 or a bare address. */
struct net_cidr {
	unsigned char addr[16]; /* IPv4 as ::ffff:a.b.c.d */
	unsigned bits; /* 0..128 */
};
enum err net_cidr_parse(struct str text, struct net_cidr *out);
int net_cidr_match(const struct net_cidr *c, const struct net_addr *a);
/* Whether a is in one of n networks written as text; what is no network is passed over. */
int net_in_networks(char *const *networks, size_t n, const struct net_addr *a);

/*
 * Binds and listens, non-blocking and close-on-exec. For a UNIX path an old socket there is
 * removed first and the mode set. E_CONFLICT: address in use; errno tells.
 */
enum err net_listen(const struct net_addr *a, int backlog, unsigned unix_mode, int *fd_out);
/* Connects within timeout_ms; the descriptor is blocking and close-on-exec. */
enum err net_connect(const struct net_addr *a, int timeout_ms, int *fd_out);
/* The same from this address of ours, whose port does not count; NULL: the kernel chooses. */
enum err net_connect_from(
	const struct net_addr *from, const struct net_addr *a, int timeout_ms, int *fd_out);
/* Connects to a UNIX socket path. */
enum err net_connect_unix(const char *path, int timeout_ms, int *fd_out);

#endif
