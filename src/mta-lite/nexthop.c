/* SPDX-License-Identifier: MIT */
#include "mta-lite/nexthop.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/idn.h"

static enum err
set_name(struct str s, struct nexthop *out)
{
	char ascii[DNS_NAME_SIZE];
	size_t i;

	if (!str_is_ascii(s)) {
		/* RFC 6531 section 3.2: the DNS knows a domain of other letters by its A-labels. */
		enum err e = idn_to_ascii(s, ascii, sizeof(ascii));

		if (e)
			return e;
		s = str_of(ascii);
	}
	if (s.len > 0 && s.p[s.len - 1] == '.')
		s.len--;
	if (s.len == 0)
		return E_PARSE;
	if (s.len >= sizeof(out->name))
		return E_TOOBIG;
	for (i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (!str_is_alnum(c) && c != '-' && c != '.' && c != '_' && c != ':')
			return E_PARSE;
		out->name[i] = str_lower(c);
	}
	out->name[s.len] = '\0';
	return OK;
}

/* Whether the bracketed text is an address; then it needs no look-up at all. */
static int
try_literal(struct str inner, struct nexthop *out)
{
	char text[NET_ADDR_TEXT];
	size_t len;

	if (str_starts_i(inner, "IPv6:"))
		inner = str_make(inner.p + 5, inner.len - 5);
	if (inner.len == 0 || inner.len > 64)
		return 0;
	if (str_find(inner, 0, ':') < inner.len) {
		text[0] = '[';
		memcpy(text + 1, inner.p, inner.len);
		text[inner.len + 1] = ']';
		len = inner.len + 2;
	} else {
		/* "10" or "1.2" must not pass for an address. */
		size_t i, dots = 0;

		for (i = 0; i < inner.len; i++) {
			if (inner.p[i] == '.')
				dots++;
			else if (!str_is_digit(inner.p[i]))
				return 0;
		}
		if (dots != 3)
			return 0;
		memcpy(text, inner.p, inner.len);
		len = inner.len;
	}
	return net_addr_parse(str_make(text, len), out->port, &out->addr) == OK;
}

static enum err
set_port(struct str rest, struct nexthop *out)
{
	uint32_t port;

	if (rest.len == 0)
		return OK;
	if (rest.p[0] != ':' || str_to_u32(str_make(rest.p + 1, rest.len - 1), &port) != OK ||
		port == 0 || port > 65535)
		return E_PARSE;
	out->port = (uint16_t)port;
	return OK;
}

enum err
nexthop_parse(struct str text, uint16_t default_port, struct nexthop *out)
{
	struct str host;
	size_t end;
	enum err e;

	memset(out, 0, sizeof(*out));
	out->port = default_port;
	text = str_trim(text);
	if (text.len > 0 && text.p[0] == '[') {
		end = str_find(text, 0, ']');
		if (end == text.len)
			return E_PARSE;
		host = str_make(text.p + 1, end - 1);
		e = set_port(str_make(text.p + end + 1, text.len - end - 1), out);
		out->no_mx = 1;
		if (e)
			return e;
		if (try_literal(host, out)) {
			out->literal = 1;
			if (str_starts_i(host, "IPv6:"))
				host = str_make(host.p + 5, host.len - 5);
		} else if (str_find(host, 0, ':') < host.len) {
			return E_PARSE;
		}
		return set_name(host, out);
	}
	end = str_find(text, 0, ':');
	e = set_port(str_make(text.p + end, text.len - end), out);
	return e ? e : set_name(str_make(text.p, end), out);
}

enum err
dns_name_parse(const unsigned char *p, size_t len, char out[DNS_NAME_SIZE])
{
	size_t off = 0, used = 0, i;

	for (;;) {
		size_t label;

		if (off >= len)
			return E_PARSE;
		label = p[off++];
		if (label == 0)
			break;
		if (label > 63 || label > len - off || label + 1 > DNS_NAME_SIZE - 1 - used)
			return E_PARSE;
		if (used > 0)
			out[used++] = '.';
		for (i = 0; i < label; i++) {
			char c = (char)p[off + i];

			if (!str_is_alnum(c) && c != '-' && c != '_')
				return E_PARSE;
			out[used++] = str_lower(c);
		}
		off += label;
	}
	out[used] = '\0';
	return OK;
}

enum err
mx_record_parse(const unsigned char *p, size_t len, struct mx_host *out)
{
	memset(out, 0, sizeof(*out));
	if (len < 3)
		return E_PARSE;
	out->preference = (uint16_t)(p[0] << 8 | p[1]);
	return dns_name_parse(p + 2, len - 2, out->name);
}

static int
compare(const void *a, const void *b)
{
	const struct mx_host *x = a, *y = b;

	return (x->preference > y->preference) - (x->preference < y->preference);
}

void
mx_order(struct mx_host *v, size_t n, uint32_t (*next_random)(void))
{
	size_t start, end, i;

	if (n == 0)
		return;
	qsort(v, n, sizeof(*v), compare);
	for (start = 0; start < n; start = end) {
		for (end = start + 1; end < n && v[end].preference == v[start].preference;)
			end++;
		/* Fisher and Yates. */
		for (i = end - 1; i > start; i--) {
			size_t j = start + next_random() % (i - start + 1);
			struct mx_host t = v[i];

			v[i] = v[j];
			v[j] = t;
		}
	}
}

size_t
mx_drop_self(struct mx_host *v, size_t n, const char *hostname)
{
	size_t i, keep;

	for (i = 0; i < n; i++) {
		if (strcasecmp(v[i].name, hostname) == 0)
			break;
	}
	if (i == n)
		return n;
	for (keep = 0; keep < n && v[keep].preference < v[i].preference;)
		keep++;
	return keep;
}

int
mx_is_null(const struct mx_host *v, size_t n)
{
	return n == 1 && v[0].name[0] == '\0';
}
