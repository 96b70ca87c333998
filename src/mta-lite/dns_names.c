/* SPDX-License-Identifier: MIT */
#include "mta-lite/dns_names.h"

#include <netinet/in.h>
#include <string.h>

enum {
	DNS_TYPE_A = 1,
	DNS_TYPE_NS = 2,
	DNS_TYPE_PTR = 12,
	DNS_TYPE_MX = 15,
	DNS_TYPE_TXT = 16,
	DNS_TYPE_AAAA = 28
};

enum err
dns_reverse_text(const struct net_addr *a, struct buf *out)
{
	const struct sockaddr_in *in4 = (const struct sockaddr_in *)&a->sa;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&a->sa;
	const unsigned char *p;
	int i;

	if (a->sa.ss_family == AF_INET) {
		p = (const unsigned char *)&in4->sin_addr;
	} else if (a->sa.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
		p = in6->sin6_addr.s6_addr + 12;
	} else if (a->sa.ss_family == AF_INET6) {
		for (i = 15; i >= 0; i--)
			buf_printf(out, "%x.%x%s", in6->sin6_addr.s6_addr[i] & 15,
				in6->sin6_addr.s6_addr[i] >> 4, i > 0 ? "." : "");
		return out->err;
	} else {
		return E_UNSUPPORTED;
	}
	return buf_printf(out, "%u.%u.%u.%u", p[3], p[2], p[1], p[0]);
}

static void
fill_address(struct net_addr *a, int six, const void *bytes)
{
	struct sockaddr_in *in4 = (struct sockaddr_in *)&a->sa;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&a->sa;

	memset(a, 0, sizeof(*a));
	if (six) {
		in6->sin6_family = AF_INET6;
		memcpy(&in6->sin6_addr, bytes, 16);
		a->len = sizeof(*in6);
	} else {
		in4->sin_family = AF_INET;
		memcpy(&in4->sin_addr, bytes, 4);
		a->len = sizeof(*in4);
	}
}

static enum dns_verdict
ask_addresses(void *arg, const char *name, int six, struct net_addr *v, size_t max, size_t *n)
{
	struct dns_records r;
	enum dns_verdict verdict = dns_records(arg, name, six ? DNS_TYPE_AAAA : DNS_TYPE_A, &r);
	size_t i;

	*n = 0;
	for (i = 0; i < r.count && *n < max; i++) {
		if (r.v[i].len == (six ? 16 : 4))
			fill_address(&v[(*n)++], six, r.v[i].p);
	}
	dns_records_free(&r);
	return verdict == DNS_FOUND && *n == 0 ? DNS_FAILED : verdict;
}

static void
add_name(struct buf *out, size_t *n, const char *name)
{
	buf_add(out, name, strlen(name) + 1);
	(*n)++;
}

static enum dns_verdict
ask_names(struct dns *d, const char *name, int type, size_t skip, struct buf *out, size_t *n)
{
	struct dns_records r;
	enum dns_verdict verdict = dns_records(d, name, type, &r);
	char text[DNS_NAME_SIZE];
	size_t i;

	*n = 0;
	for (i = 0; i < r.count && *n < DNS_NAMES_MAX; i++) {
		if (r.v[i].len > skip && dns_name_parse((const unsigned char *)r.v[i].p + skip,
						 r.v[i].len - skip, text) == OK)
			add_name(out, n, text);
	}
	dns_records_free(&r);
	return verdict == DNS_FOUND && *n == 0 ? DNS_FAILED : verdict;
}

static enum dns_verdict
ask_mx(void *arg, const char *name, struct buf *out, size_t *n)
{
	return ask_names(arg, name, DNS_TYPE_MX, 2, out, n);
}

static enum dns_verdict
ask_ns(void *arg, const char *name, struct buf *out, size_t *n)
{
	return ask_names(arg, name, DNS_TYPE_NS, 0, out, n);
}

/* The strings of a record are one text (RFC 7208 section 3.3). */
static enum err
add_text(struct buf *out, struct str record)
{
	size_t at = 0;

	while (at < record.len) {
		size_t len = (unsigned char)record.p[at++];

		if (len > record.len - at)
			return E_PARSE;
		/* A NUL would end the text early. */
		if (len > 0 && memchr(record.p + at, '\0', len))
			return E_PARSE;
		if (buf_add(out, record.p + at, len))
			return E_TOOBIG;
		at += len;
	}
	return buf_add_char(out, '\0');
}

static enum dns_verdict
ask_txt(void *arg, const char *name, struct buf *out, size_t *n)
{
	struct dns_records r;
	enum dns_verdict verdict = dns_records(arg, name, DNS_TYPE_TXT, &r);
	size_t i, before;

	*n = 0;
	for (i = 0; i < r.count && *n < DNS_NAMES_MAX; i++) {
		before = out->len;
		if (add_text(out, r.v[i]) == OK)
			(*n)++;
		else
			buf_truncate(out, before);
	}
	dns_records_free(&r);
	return verdict == DNS_FOUND && *n == 0 ? DNS_FAILED : verdict;
}

static enum dns_verdict
ask_ptr(void *arg, const struct net_addr *a, struct buf *out, size_t *n)
{
	struct buf name = BUF_INIT(DNS_NAME_SIZE);
	enum dns_verdict verdict = DNS_NO_NAME;
	size_t len;

	*n = 0;
	if (dns_reverse_text(a, &name) == OK) {
		len = name.len;
		buf_add_cstr(&name, len > 15 ? ".ip6.arpa" : ".in-addr.arpa");
		verdict = ask_names(arg, buf_cstr(&name), DNS_TYPE_PTR, 0, out, n);
	}
	buf_free(&name);
	return verdict;
}

struct dns_source
dns_source_of(struct dns *d)
{
	return (struct dns_source){d, ask_addresses, ask_mx, ask_ns, ask_txt, ask_ptr};
}
