/* SPDX-License-Identifier: MIT */
#include "mta-lite/dns.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unbound.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/dns_private.h"

enum { DNS_CLASS_IN = 1 };
enum {
	DNS_TYPE_A = 1,
	DNS_TYPE_CNAME = 5,
	DNS_TYPE_MX = 15,
	DNS_TYPE_AAAA = 28,
	DNS_TYPE_TLSA = 52
};
enum { DNS_ANCHOR_MAX = 64 * 1024 };

struct dns {
	struct ub_ctx *ctx;
	int validates;
};

static int
note(const char *what, int ret)
{
	if (ret != 0)
		log_event(LOGL_ERROR, "dns.setup failed", "what", what, "error", ub_strerror(ret),
			NULL);
	return ret;
}

/* The administrator's resolvers are asked about everything, "test" and the like included. */
static int
use_resolvers(struct ub_ctx *ctx, const struct conf_list *list)
{
	static const char *const special[] = {"test.", "invalid.", "home.arpa."};
	int ret = note("option", ub_ctx_set_option(ctx, "do-not-query-localhost:", "no"));
	size_t i;

	for (i = 0; ret == 0 && i < list->count; i++)
		ret = note(list->items[i], ub_ctx_set_fwd(ctx, list->items[i]));
	for (i = 0; ret == 0 && i < sizeof(special) / sizeof(special[0]); i++)
		ret = note(special[i], ub_ctx_zone_remove(ctx, special[i]));
	return ret;
}

/*
 * DS and DNSKEY records, one a line. libunbound would read the file at the first question, which is
 * behind the sandbox.
 */
static enum err
use_anchors(struct ub_ctx *ctx, const char *path)
{
	struct buf text = BUF_INIT(DNS_ANCHOR_MAX);
	enum err e = io_read_file(path, &text);
	struct str rest = buf_str(&text);
	size_t n = 0;

	while (e == OK && rest.p) {
		struct str line = str_split(&rest, '\n');
		char *record;

		line = str_trim(str_make(line.p, str_find(line, 0, ';')));
		if (line.len == 0)
			continue;
		record = str_dup(line);
		if (note("trust anchor", ub_ctx_add_ta(ctx, record)) != 0)
			e = E_PARSE;
		n++;
		free(record);
	}
	if (e == OK && n == 0)
		e = E_NOTFOUND;
	if (e)
		log_event(
			LOGL_ERROR, "dns.anchor failed", "path", path, "error", err_text(e), NULL);
	buf_free(&text);
	return e;
}

enum err
dns_configure(struct ub_ctx *ctx, const struct config *conf)
{
	/* First: what comes behind makes the resolver's settings final. */
	if (conf->dns_trust_anchor[0] && use_anchors(ctx, conf->dns_trust_anchor))
		return E_IO;
	if (conf->dns_resolvers.count > 0) {
		if (use_resolvers(ctx, &conf->dns_resolvers) != 0)
			return E_IO;
	} else {
		(void)ub_ctx_set_option(ctx, "do-not-query-localhost:", "no");
		/* Without resolv.conf the resolver asks the root servers itself. */
		(void)ub_ctx_resolvconf(ctx, NULL);
	}
	(void)ub_ctx_hosts(ctx, NULL);
	return OK;
}

enum err
dns_open(const struct config *conf, struct dns **out)
{
	struct ub_ctx *ctx = ub_ctx_create();

	*out = NULL;
	if (ctx == NULL) {
		log_event(LOGL_ERROR, "dns.setup failed", "what", "context", NULL);
		return E_IO;
	}
	if (dns_configure(ctx, conf)) {
		ub_ctx_delete(ctx);
		return E_IO;
	}
	*out = MEM_NEW(struct dns);
	(*out)->ctx = ctx;
	(*out)->validates = conf->dns_trust_anchor[0] != '\0';
	return OK;
}

void
dns_close(struct dns **d)
{
	if (*d == NULL)
		return;
	ub_ctx_delete((*d)->ctx);
	MEM_FREE(*d);
}

static enum dns_verdict
ask(struct dns *d, const char *name, int type, struct ub_result **result)
{
	int ret = ub_resolve(d->ctx, name, type, DNS_CLASS_IN, result);

	if (ret != 0) {
		log_event(LOGL_WARN, "dns.lookup failed", "name", name, "error", ub_strerror(ret),
			NULL);
		*result = NULL;
		return DNS_FAILED;
	}
	if ((*result)->bogus) {
		log_event(LOGL_WARN, "dns.answer bogus", "name", name, "error",
			(*result)->why_bogus ? (*result)->why_bogus : "DNSSEC validation failed",
			NULL);
		return DNS_FAILED;
	}
	if ((*result)->havedata)
		return DNS_FOUND;
	if ((*result)->nxdomain)
		return DNS_NO_NAME;
	return (*result)->rcode == 0 ? DNS_NO_DATA : DNS_FAILED;
}

enum dns_verdict
dns_mx(struct dns *d, const char *name, struct mx_host v[MX_MAX], size_t *n, int *secure)
{
	struct ub_result *result;
	enum dns_verdict verdict = ask(d, name, DNS_TYPE_MX, &result);
	int i;

	*n = 0;
	*secure = result && result->secure;
	for (i = 0; verdict == DNS_FOUND && result->data[i] && *n < MX_MAX; i++) {
		if (result->len[i] > 0 && mx_record_parse((const unsigned char *)result->data[i],
						  (size_t)result->len[i], &v[*n]) == OK)
			(*n)++;
	}
	ub_resolve_free(result);
	/* Records that nobody can use are somebody's mistake, which may be mended. */
	return verdict == DNS_FOUND && *n == 0 ? DNS_FAILED : verdict;
}

static void
add_address(const struct ub_result *result, int i, int type, uint16_t port, struct net_addr *a,
	size_t *n)
{
	memset(a, 0, sizeof(*a));
	if (type == DNS_TYPE_A && result->len[i] == 4) {
		struct sockaddr_in *in = (struct sockaddr_in *)&a->sa;

		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		memcpy(&in->sin_addr, result->data[i], 4);
		a->len = sizeof(*in);
		(*n)++;
	} else if (type == DNS_TYPE_AAAA && result->len[i] == 16) {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&a->sa;

		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(port);
		memcpy(&in6->sin6_addr, result->data[i], 16);
		a->len = sizeof(*in6);
		(*n)++;
	}
}

/* What all answers so far have in common. */
static void
lower_trust(struct dns_trust *trust, const struct ub_result *result, const char *name)
{
	const char *canonical =
		result->canonname && result->canonname[0] ? result->canonname : name;
	size_t len = strlen(canonical);

	if (!result->secure)
		trust->secure = 0;
	if (len > 0 && canonical[len - 1] == '.')
		len--;
	if (len > 0 && len < sizeof(trust->canonical)) {
		memcpy(trust->canonical, canonical, len);
		trust->canonical[len] = '\0';
	}
}

static enum dns_verdict
add_addresses(struct dns *d, const char *name, int type, uint16_t port, struct net_addr *v,
	size_t max, size_t *n, struct dns_trust *trust)
{
	struct ub_result *result;
	enum dns_verdict verdict = ask(d, name, type, &result);
	int i;

	for (i = 0; verdict == DNS_FOUND && result->data[i] && *n < max; i++)
		add_address(result, i, type, port, &v[*n], n);
	if (verdict == DNS_FOUND)
		lower_trust(trust, result, name);
	ub_resolve_free(result);
	return verdict;
}

enum dns_verdict
dns_addresses(struct dns *d, const char *name, uint16_t port, struct net_addr *v, size_t max,
	size_t *n, struct dns_trust *trust)
{
	struct dns_trust found = {.secure = 1};
	enum dns_verdict six, four;

	*n = 0;
	(void)snprintf(found.canonical, sizeof(found.canonical), "%s", name);
	six = add_addresses(d, name, DNS_TYPE_AAAA, port, v, max / 2, n, &found);
	four = add_addresses(d, name, DNS_TYPE_A, port, v, max, n, &found);
	if (*n == 0)
		found.secure = 0;
	if (trust)
		*trust = found;
	if (*n > 0)
		return DNS_FOUND;
	if (six == DNS_FAILED || four == DNS_FAILED)
		return DNS_FAILED;
	return six == DNS_NO_NAME && four == DNS_NO_NAME ? DNS_NO_NAME : DNS_NO_DATA;
}

int
dns_validates(const struct dns *d)
{
	return d->validates;
}

/* ---- TLSA ---- */

static void
add_tlsa(const struct ub_result *result, struct tlsa_set *out)
{
	int i;

	out->verdict = TLSA_UNUSABLE;
	for (i = 0; result->data[i] && out->count < TLSA_MAX; i++) {
		if (result->len[i] > 0 &&
			tlsa_parse((const unsigned char *)result->data[i], (size_t)result->len[i],
				&out->v[out->count]) == OK)
			out->count++;
	}
	if (out->count > 0)
		out->verdict = TLSA_USABLE;
}

static void
ask_tlsa(struct dns *d, const char *base, uint16_t port, struct tlsa_set *out)
{
	char name[DNS_NAME_SIZE + 32];
	struct ub_result *result;

	(void)snprintf(out->base, sizeof(out->base), "%s", base);
	(void)snprintf(name, sizeof(name), "_%u._tcp.%s", (unsigned)port, base);
	out->verdict = TLSA_ABSENT;
	switch (ask(d, name, DNS_TYPE_TLSA, &result)) {
	case DNS_FOUND:
		/* What anybody could have forged says nothing (RFC 7672 section 2.1.1). */
		if (result->secure)
			add_tlsa(result, out);
		break;
	case DNS_FAILED:
		out->verdict = TLSA_FAILED;
		break;
	default:
		break;
	}
	ub_resolve_free(result);
}

/* Whether the host's own name is signed although what its CNAME leads to is not. */
static int
is_secure_alias(struct dns *d, const char *host)
{
	struct ub_result *result;
	int yes = ask(d, host, DNS_TYPE_CNAME, &result) == DNS_FOUND && result->secure;

	ub_resolve_free(result);
	return yes;
}

void
dns_tlsa(struct dns *d, const char *host, const struct dns_trust *trust, uint16_t port,
	struct tlsa_set *out)
{
	memset(out, 0, sizeof(*out));
	/* RFC 7672 section 2.2.2: unsigned addresses, no TLSA; section 2.2.3: CNAMEs first. */
	if (trust->secure) {
		ask_tlsa(d, trust->canonical, port, out);
		if (out->verdict == TLSA_ABSENT && strcasecmp(trust->canonical, host) != 0)
			ask_tlsa(d, host, port, out);
	} else if (strcasecmp(trust->canonical, host) != 0 && is_secure_alias(d, host)) {
		ask_tlsa(d, host, port, out);
	}
}

/* ---- any records ---- */

enum dns_verdict
dns_records(struct dns *d, const char *name, int type, struct dns_records *out)
{
	struct ub_result *result = NULL;
	enum dns_verdict verdict = ask(d, name, type, &result);
	int i;

	memset(out, 0, sizeof(*out));
	out->result = result;
	for (i = 0; verdict == DNS_FOUND && result->data[i] && out->count < DNS_RECORDS_MAX; i++) {
		if (result->len[i] >= 0)
			out->v[out->count++] = str_make(result->data[i], (size_t)result->len[i]);
	}
	return verdict;
}

void
dns_records_free(struct dns_records *r)
{
	ub_resolve_free(r->result);
	r->result = NULL;
	r->count = 0;
}
