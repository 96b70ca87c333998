/* SPDX-License-Identifier: MIT */
#include "mta-lite/endpoint.h"

#include "lib/buf.h"

static enum err
parse_inet(struct str text, struct net_addr *addr)
{
	size_t at = str_find(text, 0, '@');
	struct buf joined = {0};
	enum err e;

	/* Sendmail's order is port@host. */
	if (at < text.len) {
		struct str host = str_make(text.p + at + 1, text.len - at - 1);
		int bare6 = str_find(host, 0, ':') < host.len && host.p[0] != '[';

		buf_printf(&joined, "%s%.*s%s:%.*s", bare6 ? "[" : "", STR_ARG(host),
			bare6 ? "]" : "", (int)at, text.p);
		text = buf_str(&joined);
	}
	if (str_starts_i(text, "localhost:")) {
		struct buf local = {0};

		buf_printf(&local, "127.0.0.1%.*s", (int)(text.len - 9), text.p + 9);
		e = net_addr_parse(buf_str(&local), 0, addr);
		buf_free(&local);
	} else {
		e = net_addr_parse(text, 0, addr);
	}
	buf_free(&joined);
	return e || addr->sa.ss_family == AF_UNIX ? E_PARSE : OK;
}

enum err
endpoint_parse(struct str text, struct net_addr *out)
{
	struct str kind = str_split(&text, ':');

	if (str_is_i(kind, "inet") || str_is_i(kind, "inet6"))
		return parse_inet(text, out);
	if (!str_is_i(kind, "unix") && !str_is_i(kind, "local"))
		return E_PARSE;
	if (text.len == 0 || text.p[0] != '/')
		return E_PARSE;
	return net_addr_parse(text, 0, out) ? E_PARSE : OK;
}
