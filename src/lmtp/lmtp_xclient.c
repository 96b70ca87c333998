/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "lmtp/lmtp_xclient.h"

#include <netinet/in.h>
#include <string.h>

#include "lib/buf.h"
#include "lmtp/lmtp_command.h"
#include "mta-lite/dsn.h"

enum attribute { NAME, ADDR, PORT, PROTO, HELO, LOGIN, ATTRIBUTES };

static const char *const names[ATTRIBUTES] = {"NAME", "ADDR", "PORT", "PROTO", "HELO", "LOGIN"};

/* An address: IPv4, or IPv6 with "IPV6:" in front. */
static enum err
parse_addr(struct str value, struct net_addr *out)
{
	struct buf text = {0};
	enum err e;

	if (str_starts_i(value, "IPV6:"))
		buf_printf(&text, "[%.*s]", (int)value.len - 5, value.p + 5);
	else
		buf_add_str(&text, value);
	/* Neither a path nor "*" is one. */
	e = str_is_alnum(value.p[0]) ? net_addr_parse(buf_str(&text), 1, out) : E_PARSE;
	if (out->sa.ss_family != AF_INET && out->sa.ss_family != AF_INET6)
		e = E_PARSE;
	buf_free(&text);
	return e ? E_PARSE : OK;
}

static void
set_port(struct net_addr *a, uint16_t port)
{
	if (a->sa.ss_family == AF_INET)
		((struct sockaddr_in *)&a->sa)->sin_port = htons(port);
	else if (a->sa.ss_family == AF_INET6)
		((struct sockaddr_in6 *)&a->sa)->sin6_port = htons(port);
}

/* Where a text goes; NULL: nowhere. All that may stand in a Received field is taken. */
static enum err
put_text(struct str value, char *out)
{
	if (!lmtp_helo_ok(value) || value.len > LMTP_XCLIENT_VALUE_MAX)
		return E_PARSE;
	memcpy(out, value.p, value.len);
	out[value.len] = '\0';
	return OK;
}

static enum err
put_login(struct str value, char *out)
{
	if (value.len > LMTP_XCLIENT_VALUE_MAX || !str_is_utf8(value) || str_has_control(value))
		return E_PARSE;
	memcpy(out, value.p, value.len);
	out[value.len] = '\0';
	return OK;
}

static enum err
put(enum attribute which, struct str value, uint32_t *port, struct lmtp_xclient *out)
{
	if (str_is_i(value, "[UNAVAILABLE]") || str_is_i(value, "[TEMPUNAVAIL]"))
		return OK;
	switch (which) {
	case NAME:
		return put_text(value, out->name);
	case HELO:
		return put_text(value, out->helo);
	case LOGIN:
		return put_login(value, out->login);
	case ADDR:
		return parse_addr(value, &out->addr);
	case PORT:
		return str_to_u32(value, port) || *port > UINT16_MAX ? E_PARSE : OK;
	case PROTO:
		return str_is_i(value, "SMTP") || str_is_i(value, "ESMTP") ||
				       str_is_i(value, "LMTP")
			       ? OK
			       : E_PARSE;
	case ATTRIBUTES:
		break;
	}
	return E_PARSE;
}

static enum err
parse_one(struct str attribute, unsigned *seen, uint32_t *port, struct lmtp_xclient *out)
{
	struct str value = attribute, name = str_split(&value, '=');
	struct buf text = BUF_INIT(LMTP_XCLIENT_VALUE_MAX + 1);
	enum err e = E_PARSE;

	for (unsigned i = 0; i < ATTRIBUTES; i++) {
		if (!str_is_i(name, names[i]) || (*seen & 1u << i) || value.len == 0)
			continue;
		*seen |= 1u << i;
		e = dsn_xtext_decode(value, &text);
		e = e ? E_PARSE : put((enum attribute)i, buf_str(&text), port, out);
		break;
	}
	buf_free(&text);
	return e;
}

enum err
lmtp_xclient_parse(struct str args, struct lmtp_xclient *out)
{
	unsigned seen = 0;
	uint32_t port = 0;
	enum err e = args.len ? OK : E_PARSE;

	memset(out, 0, sizeof(*out));
	while (!e && args.len) {
		struct str attribute = str_split(&args, ' ');

		if (attribute.len)
			e = parse_one(attribute, &seen, &port, out);
	}
	if (!e && out->addr.len)
		set_port(&out->addr, (uint16_t)port);
	return e;
}
