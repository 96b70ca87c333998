/* SPDX-License-Identifier: MIT */
#include "proxy/proxy_header.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

enum { V2_FIXED = 16, V2_IPV4 = 12, V2_IPV6 = 36 };

static const char v2_signature[12] = "\r\n\r\n\0\r\nQUIT\n";

static void
set_addr(struct net_addr *a, int family, const void *ip, uint16_t port_net)
{
	memset(a, 0, sizeof *a);
	if (family == AF_INET) {
		struct sockaddr_in *in = (struct sockaddr_in *)&a->sa;
		in->sin_family = AF_INET;
		memcpy(&in->sin_addr, ip, 4);
		in->sin_port = port_net;
		a->len = sizeof *in;
	} else {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&a->sa;
		in6->sin6_family = AF_INET6;
		memcpy(&in6->sin6_addr, ip, 16);
		in6->sin6_port = port_net;
		a->len = sizeof *in6;
	}
}

static int
parse_port(struct str text, uint16_t *port_net)
{
	uint32_t n;

	/* "no leading zero", section 2.1 */
	if (text.len == 0 || text.len > 5 || (text.len > 1 && text.p[0] == '0') ||
		str_to_u32(text, &n) || n > 65535)
		return 0;
	*port_net = htons((uint16_t)n);
	return 1;
}

static int
parse_ip(struct str text, int family, unsigned char ip[16])
{
	char copy[INET6_ADDRSTRLEN];

	if (text.len == 0 || text.len >= sizeof copy || memchr(text.p, '\0', text.len))
		return 0;
	memcpy(copy, text.p, text.len);
	copy[text.len] = '\0';
	return inet_pton(family, copy, ip) == 1;
}

/* Section 2.1: "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535". */
static enum proxy_header_result
parse_v1(struct str line, struct proxy_header *out)
{
	unsigned char from[16], to[16];
	uint16_t from_port, to_port;
	int family;

	str_split(&line, ' ');
	struct str proto = str_split(&line, ' ');
	if (str_is(proto, "UNKNOWN"))
		return PROXY_HEADER_DONE;
	if (str_is(proto, "TCP4"))
		family = AF_INET;
	else if (str_is(proto, "TCP6"))
		family = AF_INET6;
	else
		return PROXY_HEADER_BAD;
	struct str from_text = str_split(&line, ' ');
	struct str to_text = str_split(&line, ' ');
	struct str from_port_text = str_split(&line, ' ');
	if (!parse_ip(from_text, family, from) || !parse_ip(to_text, family, to) ||
		!parse_port(from_port_text, &from_port) || !parse_port(line, &to_port))
		return PROXY_HEADER_BAD;
	set_addr(&out->peer, family, from, from_port);
	set_addr(&out->local, family, to, to_port);
	out->known = 1;
	return PROXY_HEADER_DONE;
}

static enum proxy_header_result
v1(struct str bytes, struct proxy_header *out, size_t *used)
{
	size_t end = str_find(bytes, 0, '\n');

	if (end == bytes.len)
		return bytes.len < PROXY_HEADER_V1_MAX ? PROXY_HEADER_MORE : PROXY_HEADER_BAD;
	if (end >= PROXY_HEADER_V1_MAX || bytes.p[end - 1] != '\r')
		return PROXY_HEADER_BAD;
	*used = end + 1;
	return parse_v1(str_make(bytes.p, end - 1), out);
}

/* Section 2.2. */
static enum proxy_header_result
v2(struct str bytes, struct proxy_header *out, size_t *used)
{
	const unsigned char *b = (const unsigned char *)bytes.p;

	if (bytes.len < V2_FIXED)
		return PROXY_HEADER_MORE;
	size_t len = (size_t)b[14] << 8 | b[15];
	int command = b[12] & 0xf, family = b[13] >> 4, transport = b[13] & 0xf;
	if (b[12] >> 4 != 2 || command > 1 || V2_FIXED + len > PROXY_HEADER_V2_MAX)
		return PROXY_HEADER_BAD;
	if (bytes.len < V2_FIXED + len)
		return PROXY_HEADER_MORE;
	*used = V2_FIXED + len;
	/* LOCAL: a health check of the balancer. Other families and transports: nothing to learn.
	 */
	if (command == 0 || transport != 1)
		return PROXY_HEADER_DONE;
	const unsigned char *at = b + V2_FIXED;
	uint16_t port;
	if (family == 1) {
		if (len < V2_IPV4)
			return PROXY_HEADER_BAD;
		memcpy(&port, at + 8, 2);
		set_addr(&out->peer, AF_INET, at, port);
		memcpy(&port, at + 10, 2);
		set_addr(&out->local, AF_INET, at + 4, port);
	} else if (family == 2) {
		if (len < V2_IPV6)
			return PROXY_HEADER_BAD;
		memcpy(&port, at + 32, 2);
		set_addr(&out->peer, AF_INET6, at, port);
		memcpy(&port, at + 34, 2);
		set_addr(&out->local, AF_INET6, at + 16, port);
	} else {
		return PROXY_HEADER_DONE;
	}
	out->known = 1;
	return PROXY_HEADER_DONE;
}

enum proxy_header_result
proxy_header_parse(struct str bytes, struct proxy_header *out, size_t *used)
{
	static const char v1_start[] = "PROXY ";
	size_t n;

	memset(out, 0, sizeof *out);
	*used = 0;
	if (bytes.len == 0)
		return PROXY_HEADER_MORE;
	n = bytes.len < sizeof v2_signature ? bytes.len : sizeof v2_signature;
	if (memcmp(bytes.p, v2_signature, n) == 0)
		return n < sizeof v2_signature ? PROXY_HEADER_MORE : v2(bytes, out, used);
	n = bytes.len < sizeof v1_start - 1 ? bytes.len : sizeof v1_start - 1;
	if (memcmp(bytes.p, v1_start, n) == 0)
		return n < sizeof v1_start - 1 ? PROXY_HEADER_MORE : v1(bytes, out, used);
	return PROXY_HEADER_BAD;
}
