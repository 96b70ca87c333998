/* SPDX-License-Identifier: MIT */
#include "lib/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/io.h"

static const unsigned char mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static enum err
parse_unix(struct str path, struct net_addr *out)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&out->sa;

	if (path.len >= sizeof(un->sun_path))
		return E_TOOBIG;
	if (path.len == 0)
		return E_PARSE;
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, path.p, path.len);
	out->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.len + 1);
	return OK;
}

/* host: without brackets; "*" or "" is any address. */
static enum err
parse_ip(struct str host, uint16_t port, struct net_addr *out)
{
	struct sockaddr_in *in4 = (struct sockaddr_in *)&out->sa;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&out->sa;
	char text[INET6_ADDRSTRLEN];

	if (host.len >= sizeof(text))
		return E_PARSE;
	if (host.len)
		memcpy(text, host.p, host.len);
	text[host.len] = '\0';
	if (inet_pton(AF_INET, text, &in4->sin_addr) == 1) {
		in4->sin_family = AF_INET;
		in4->sin_port = htons(port);
		out->len = sizeof(*in4);
		return OK;
	}
	memset(&out->sa, 0, sizeof(out->sa));
	if (host.len == 0 || str_is(host, "*"))
		in6->sin6_addr = in6addr_any;
	else if (inet_pton(AF_INET6, text, &in6->sin6_addr) != 1)
		return E_PARSE;
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(port);
	out->len = sizeof(*in6);
	return OK;
}

enum err
net_addr_parse(struct str text, uint16_t default_port, struct net_addr *out)
{
	struct str host, port_text = {0};
	uint32_t port = default_port;
	size_t close;

	memset(out, 0, sizeof(*out));
	if (str_starts_i(text, "unix:"))
		return parse_unix(str_make(text.p + 5, text.len - 5), out);
	if (text.len && text.p[0] == '/')
		return parse_unix(text, out);
	if (text.len && text.p[0] == '[') {
		close = str_find(text, 0, ']');
		if (close == text.len)
			return E_PARSE;
		host = str_make(text.p + 1, close - 1);
		if (close + 1 < text.len) {
			if (text.p[close + 1] != ':')
				return E_PARSE;
			port_text = str_make(text.p + close + 2, text.len - close - 2);
		}
	} else {
		size_t colon = str_find(text, 0, ':');

		host = str_make(text.p, colon);
		if (colon < text.len)
			port_text = str_make(text.p + colon + 1, text.len - colon - 1);
		/* A second colon: a bare IPv6 address without a port. */
		if (str_find(port_text, 0, ':') < port_text.len) {
			host = text;
			port_text = (struct str){0};
		}
	}
	if (port_text.p) {
		enum err e = str_to_u32(port_text, &port);

		if (e)
			return e;
		if (port > 65535)
			return E_RANGE;
	}
	if (port == 0 && (!port_text.p || default_port))
		return port_text.p ? E_RANGE : E_PARSE;
	return parse_ip(host, (uint16_t)port, out);
}

void
net_addr_format_ip(const struct net_addr *a, char out[NET_ADDR_TEXT])
{
	const struct sockaddr *sa = (const struct sockaddr *)&a->sa;

	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *in4 = (const struct sockaddr_in *)&a->sa;

		inet_ntop(AF_INET, &in4->sin_addr, out, NET_ADDR_TEXT);
	} else if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&a->sa;
		const unsigned char *bytes = in6->sin6_addr.s6_addr;

		if (memcmp(bytes, mapped_prefix, sizeof(mapped_prefix)) == 0)
			inet_ntop(AF_INET, bytes + 12, out, NET_ADDR_TEXT);
		else
			inet_ntop(AF_INET6, bytes, out, NET_ADDR_TEXT);
	} else {
		memcpy(out, "local", 6);
	}
}

uint16_t
net_addr_port(const struct net_addr *a)
{
	const struct sockaddr *sa = (const struct sockaddr *)&a->sa;

	if (sa->sa_family == AF_INET)
		return ntohs(((const struct sockaddr_in *)&a->sa)->sin_port);
	if (sa->sa_family == AF_INET6)
		return ntohs(((const struct sockaddr_in6 *)&a->sa)->sin6_port);
	return 0;
}

void
net_addr_format(const struct net_addr *a, char out[NET_ADDR_TEXT])
{
	const struct sockaddr *sa = (const struct sockaddr *)&a->sa;
	char ip[NET_ADDR_TEXT];

	if (sa->sa_family == AF_UNIX) {
		const struct sockaddr_un *un = (const struct sockaddr_un *)&a->sa;

		snprintf(out, NET_ADDR_TEXT, "%s",
			a->len > offsetof(struct sockaddr_un, sun_path) && un->sun_path[0]
				? un->sun_path
				: "local");
		return;
	}
	net_addr_format_ip(a, ip);
	snprintf(out, NET_ADDR_TEXT, strchr(ip, ':') ? "[%.64s]:%u" : "%.64s:%u", ip,
		net_addr_port(a));
}

/* The address as 16 bytes, IPv4 mapped; 0 for other families. */
static int
address_bytes(const struct net_addr *a, unsigned char out[16])
{
	const struct sockaddr *sa = (const struct sockaddr *)&a->sa;

	if (sa->sa_family == AF_INET) {
		memcpy(out, mapped_prefix, sizeof(mapped_prefix));
		memcpy(out + 12, &((const struct sockaddr_in *)&a->sa)->sin_addr, 4);
		return 1;
	}
	if (sa->sa_family == AF_INET6) {
		memcpy(out, &((const struct sockaddr_in6 *)&a->sa)->sin6_addr, 16);
		return 1;
	}
	return 0;
}

int
net_addr_is_loopback(const struct net_addr *a)
{
	static const unsigned char ip6_loopback[16] = {[15] = 1};
	unsigned char bytes[16];

	if (!address_bytes(a, bytes))
		return 1;
	if (memcmp(bytes, mapped_prefix, sizeof(mapped_prefix)) == 0)
		return bytes[12] == 127;
	return memcmp(bytes, ip6_loopback, sizeof(bytes)) == 0;
}

int
net_addr_same_host(const struct net_addr *a, const struct net_addr *b)
{
	unsigned char bytes_a[16], bytes_b[16];
	int ip_a = address_bytes(a, bytes_a), ip_b = address_bytes(b, bytes_b);

	if (!ip_a || !ip_b)
		return ip_a == ip_b;
	return memcmp(bytes_a, bytes_b, sizeof(bytes_a)) == 0;
}

enum err
net_cidr_parse(struct str text, struct net_cidr *out)
{
	size_t slash = str_find(text, 0, '/');
	struct str host = str_make(text.p, slash);
	struct net_addr a;
	uint32_t bits;
	int ip4;
	enum err e;

	if (host.len >= 2 && host.p[0] == '[' && host.p[host.len - 1] == ']')
		host = str_make(host.p + 1, host.len - 2);
	if (host.len == 0)
		return E_PARSE;
	memset(&a, 0, sizeof(a));
	e = parse_ip(host, 0, &a);
	if (e)
		return e;
	memset(out, 0, sizeof(*out));
	address_bytes(&a, out->addr);
	ip4 = ((struct sockaddr *)&a.sa)->sa_family == AF_INET;
	bits = ip4 ? 32 : 128;
	if (slash < text.len) {
		e = str_to_u32(str_make(text.p + slash + 1, text.len - slash - 1), &bits);
		if (e)
			return e;
		if (bits > (ip4 ? 32u : 128u))
			return E_RANGE;
	}
	out->bits = bits + (ip4 ? 96 : 0);
	return OK;
}

int
net_cidr_match(const struct net_cidr *c, const struct net_addr *a)
{
	unsigned char bytes[16];
	unsigned whole = c->bits / 8, rest = c->bits % 8;

	if (!address_bytes(a, bytes))
		return 0;
	if (memcmp(bytes, c->addr, whole) != 0)
		return 0;
	return rest == 0 || ((bytes[whole] ^ c->addr[whole]) >> (8 - rest)) == 0;
}

int
net_in_networks(char *const *networks, size_t n, const struct net_addr *a)
{
	struct net_cidr net;

	for (size_t i = 0; i < n; i++)
		if (net_cidr_parse(str_of(networks[i]), &net) == OK && net_cidr_match(&net, a))
			return 1;
	return 0;
}

/* "*" where the kernel has no IPv6: 0.0.0.0. 0 when a is something else. */
static int
any_without_ipv6(const struct net_addr *a, struct net_addr *out)
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&a->sa;
	struct sockaddr_in *in4 = (struct sockaddr_in *)&out->sa;

	if (in6->sin6_family != AF_INET6 || !IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr))
		return 0;
	memset(out, 0, sizeof(*out));
	in4->sin_family = AF_INET;
	in4->sin_port = in6->sin6_port;
	out->len = sizeof(*in4);
	return 1;
}

enum err
net_listen(const struct net_addr *a, int backlog, unsigned unix_mode, int *fd_out)
{
	const struct sockaddr *sa = (const struct sockaddr *)&a->sa;
	const struct sockaddr_un *un = (const struct sockaddr_un *)&a->sa;
	int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1, off = 0, saved;
	struct net_addr any4;

	*fd_out = -1;
	if (fd < 0 && errno == EAFNOSUPPORT && any_without_ipv6(a, &any4))
		return net_listen(&any4, backlog, unix_mode, fd_out);
	if (fd < 0)
		return err_from_errno(errno);
	if (sa->sa_family == AF_UNIX) {
		struct stat st;

		/* Only ever a socket is removed, so that a wrong path costs nobody a file. */
		if (lstat(un->sun_path, &st) == 0 && S_ISSOCK(st.st_mode))
			unlink(un->sun_path);
	} else {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		if (sa->sa_family == AF_INET6) {
			const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&a->sa;
			int any = IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr);

			/* "*" stands for IPv4 too. */
			setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, any ? &off : &on, sizeof(on));
		}
	}
	if (bind(fd, sa, a->len) < 0)
		goto fail;
	if (sa->sa_family == AF_UNIX && chmod(un->sun_path, unix_mode) < 0)
		goto fail;
	if (listen(fd, backlog) < 0)
		goto fail;
	*fd_out = fd;
	return OK;
fail:
	saved = errno;
	close(fd);
	errno = saved;
	return saved == EADDRINUSE ? E_CONFLICT : err_from_errno(saved);
}

/* Any port: the kernel takes one that is free towards the peer. */
static enum err
bind_source(int fd, const struct net_addr *from)
{
	struct net_addr any = *from;
	int on = 1;

	if (any.sa.ss_family == AF_INET)
		((struct sockaddr_in *)&any.sa)->sin_port = 0;
	else if (any.sa.ss_family == AF_INET6)
		((struct sockaddr_in6 *)&any.sa)->sin6_port = 0;
	(void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	return bind(fd, (const struct sockaddr *)&any.sa, any.len) == 0 ? OK
									: err_from_errno(errno);
}

enum err
net_connect(const struct net_addr *a, int timeout_ms, int *fd_out)
{
	return net_connect_from(NULL, a, timeout_ms, fd_out);
}

enum err
net_connect_from(const struct net_addr *from, const struct net_addr *a, int timeout_ms, int *fd_out)
{
	const struct sockaddr *sa = (const struct sockaddr *)&a->sa;
	int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int64_t deadline = io_now_ms() + timeout_ms;
	int error = 0;
	socklen_t len = sizeof(error);
	enum err e;

	*fd_out = -1;
	if (fd < 0)
		return err_from_errno(errno);
	e = from ? bind_source(fd, from) : OK;
	if (e)
		goto fail;
	while (connect(fd, sa, a->len) < 0) {
		if (errno == EINTR || errno == EALREADY)
			continue;
		if (errno == EISCONN)
			break;
		if (errno == EAGAIN && io_now_ms() < deadline) {
			/* A UNIX socket whose backlog is full has nothing to poll for. */
			usleep(1000);
			continue;
		}
		if (errno != EINPROGRESS) {
			e = errno == EAGAIN ? E_TIMEOUT : err_from_errno(errno);
			goto fail;
		}
		e = io_wait_writable(fd, timeout_ms);
		if (e)
			goto fail;
		if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
			error = errno;
		if (error) {
			errno = error;
			e = err_from_errno(error);
			goto fail;
		}
		break;
	}
	e = io_set_nonblocking(fd, 0);
	if (e)
		goto fail;
	*fd_out = fd;
	return OK;
fail:
	error = errno;
	close(fd);
	errno = error;
	return e;
}

enum err
net_connect_unix(const char *path, int timeout_ms, int *fd_out)
{
	struct net_addr a;
	enum err e;

	memset(&a, 0, sizeof(a));
	*fd_out = -1;
	e = parse_unix(str_of(path), &a);
	return e ? e : net_connect(&a, timeout_ms, fd_out);
}
