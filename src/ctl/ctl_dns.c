/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "ctl/ctl_dns.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <unbound.h>

#include "lib/mem.h"

enum { CLASS_IN = 1, LABEL_MAX = 63, TEXT_MAX = 4096 };

struct ctl_dns {
	struct ub_ctx *ctx;
};

static int
set_up(struct ub_ctx *ctx, const struct conf_list *resolvers)
{
	static const char *const special[] = {
		"test.", "invalid.", "home.arpa.", "127.in-addr.arpa."};
	int ret = ub_ctx_set_option(ctx, "do-not-query-localhost:", "no");

	if (resolvers->count == 0) {
		(void)ub_ctx_resolvconf(ctx, NULL);
		return ret;
	}
	for (size_t i = 0; ret == 0 && i < resolvers->count; i++)
		ret = ub_ctx_set_fwd(ctx, resolvers->items[i]);
	/* The administrator's resolvers are asked about everything. */
	for (size_t i = 0; ret == 0 && i < sizeof(special) / sizeof(special[0]); i++)
		ret = ub_ctx_zone_remove(ctx, special[i]);
	return ret;
}

struct ctl_dns *
ctl_dns_open(const struct config *conf)
{
	struct ub_ctx *ctx = ub_ctx_create();
	struct ctl_dns *d;

	if (!ctx)
		return NULL;
	if (set_up(ctx, &conf->dns_resolvers) != 0) {
		ub_ctx_delete(ctx);
		return NULL;
	}
	d = MEM_NEW(struct ctl_dns);
	d->ctx = ctx;
	return d;
}

void
ctl_dns_close(struct ctl_dns **d)
{
	if (!*d)
		return;
	ub_ctx_delete((*d)->ctx);
	MEM_FREE(*d);
}

/* ---- records to text; bytes come from strangers ---- */

/* A name in wire form, not compressed, that fills the record from at on. NULL: malformed. */
static char *
name_text(struct str data)
{
	struct buf out = {0};

	while (data.len > 0 && data.p[0] != 0) {
		size_t len = (unsigned char)data.p[0];

		if (len > LABEL_MAX || len + 1 > data.len)
			break;
		if (out.len)
			buf_add_char(&out, '.');
		for (size_t i = 1; i <= len; i++) {
			char c = data.p[i];
			int plain = str_is_alnum(c) || c == '-' || c == '_';

			buf_add_char(&out, !plain		  ? '?'
					   : c >= 'A' && c <= 'Z' ? (char)(c + 32)
								  : c);
		}
		data = str_make(data.p + len + 1, data.len - len - 1);
	}
	if (data.len != 1) {
		buf_free(&out);
		return NULL;
	}
	return mem_strdup(buf_cstr(&out)) /* "" is the root */;
}

static char *
txt_text(struct str data)
{
	struct buf out = BUF_INIT(TEXT_MAX);
	char *text = NULL;

	while (data.len > 0) {
		size_t len = (unsigned char)data.p[0];

		if (len + 1 > data.len)
			break;
		for (size_t i = 1; i <= len; i++)
			buf_add_char(&out, (unsigned char)data.p[i] >= ' ' && data.p[i] != 0x7f
						   ? data.p[i]
						   : '?');
		data = str_make(data.p + len + 1, data.len - len - 1);
	}
	if (data.len == 0 && !out.err)
		text = mem_strdup(buf_cstr(&out));
	buf_free(&out);
	return text;
}

static char *
record_text(enum ctl_dns_type type, struct str data)
{
	char address[INET6_ADDRSTRLEN];

	switch (type) {
	case CTL_DNS_A:
	case CTL_DNS_AAAA:
		if (data.len != (type == CTL_DNS_A ? 4 : 16) ||
			!inet_ntop(type == CTL_DNS_A ? AF_INET : AF_INET6, data.p, address,
				sizeof(address)))
			return NULL;
		return mem_strdup(address);
	case CTL_DNS_MX:
		return data.len > 2 ? name_text(str_make(data.p + 2, data.len - 2)) : NULL;
	case CTL_DNS_PTR:
		return name_text(data);
	case CTL_DNS_TXT:
		return txt_text(data);
	}
	return NULL;
}

enum ctl_dns_verdict
ctl_dns_ask(struct ctl_dns *d, const char *name, enum ctl_dns_type type, struct ctl_dns_answer *out)
{
	struct ub_result *r = NULL;
	enum ctl_dns_verdict verdict = CTL_DNS_FAILED;

	out->count = 0;
	if (ub_resolve(d->ctx, name, type, CLASS_IN, &r) == 0 && !r->bogus) {
		for (int i = 0; r->havedata && r->data[i] && out->count < CTL_DNS_RECORDS_MAX;
			i++) {
			char *text = r->len[i] < 0 ? NULL
						   : record_text(type, str_make(r->data[i],
									       (size_t)r->len[i]));

			if (text)
				out->records[out->count++] = text;
		}
		if (r->havedata)
			verdict = CTL_DNS_FOUND;
		else if (r->nxdomain || r->rcode == 0)
			verdict = CTL_DNS_NONE;
	}
	if (r)
		ub_resolve_free(r);
	return verdict;
}

void
ctl_dns_answer_free(struct ctl_dns_answer *a)
{
	for (size_t i = 0; i < a->count; i++)
		free(a->records[i]);
	a->count = 0;
}

char *
ctl_dns_reverse_name(const char *address)
{
	unsigned char bytes[16];
	struct buf out = {0};

	if (inet_pton(AF_INET, address, bytes) == 1)
		return mem_printf(
			"%u.%u.%u.%u.in-addr.arpa", bytes[3], bytes[2], bytes[1], bytes[0]);
	if (inet_pton(AF_INET6, address, bytes) != 1)
		return NULL;
	for (int i = 15; i >= 0; i--)
		buf_printf(&out, "%x.%x.", bytes[i] & 15, bytes[i] >> 4);
	buf_add_cstr(&out, "ip6.arpa");
	return buf_steal(&out);
}
