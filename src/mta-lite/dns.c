/* SPDX-License-Identifier: MIT */
#include "mta-lite/dns.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unbound.h>

#include "lib/log.h"
#include "lib/mem.h"

enum { DNS_CLASS_IN = 1, DNS_TYPE_A = 1, DNS_TYPE_MX = 15, DNS_TYPE_AAAA = 28 };

struct dns {
	struct ub_ctx *ctx;
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

enum err
dns_open(const struct config *conf, struct dns **out)
{
	struct ub_ctx *ctx = ub_ctx_create();

	*out = NULL;
	if (ctx == NULL) {
		log_event(LOGL_ERROR, "dns.setup failed", "what", "context", NULL);
		return E_IO;
	}
	if (conf->dns_resolvers.count > 0) {
		if (use_resolvers(ctx, &conf->dns_resolvers) != 0) {
			ub_ctx_delete(ctx);
			return E_IO;
		}
	} else {
		(void)ub_ctx_set_option(ctx, "do-not-query-localhost:", "no");
		/* Without resolv.conf the resolver asks the root servers itself. */
		(void)ub_ctx_resolvconf(ctx, NULL);
	}
	(void)ub_ctx_hosts(ctx, NULL);
	*out = MEM_NEW(struct dns);
	(*out)->ctx = ctx;
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
	if ((*result)->bogus)
		return DNS_FAILED;
	if ((*result)->havedata)
		return DNS_FOUND;
	if ((*result)->nxdomain)
		return DNS_NO_NAME;
	return (*result)->rcode == 0 ? DNS_NO_DATA : DNS_FAILED;
}

enum dns_verdict
dns_mx(struct dns *d, const char *name, struct mx_host v[MX_MAX], size_t *n)
{
	struct ub_result *result;
	enum dns_verdict verdict = ask(d, name, DNS_TYPE_MX, &result);
	int i;

	*n = 0;
	for (i = 0; verdict == DNS_FOUND && result->data[i] && *n < MX_MAX; i++) {
		if (result->len[i] > 0 && mx_record_parse((const unsigned char *)result->data[i],
						  (size_t)result->len[i], &v[*n]) == OK)
			(*n)++;
	}
	ub_resolve_free(result);
	/* Records that nobody can use are somebody's mistake, which may be mended. */
	return verdict == DNS_FOUND && *n == 0 ? DNS_FAILED : verdict;
}

static enum dns_verdict
add_addresses(struct dns *d, const char *name, int type, uint16_t port, struct net_addr *v,
	size_t max, size_t *n)
{
	struct ub_result *result;
	enum dns_verdict verdict = ask(d, name, type, &result);
	int i;

	for (i = 0; verdict == DNS_FOUND && result->data[i] && *n < max; i++) {
		struct net_addr *a = &v[*n];

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
	ub_resolve_free(result);
	return verdict;
}

enum dns_verdict
dns_addresses(
	struct dns *d, const char *name, uint16_t port, struct net_addr *v, size_t max, size_t *n)
{
	enum dns_verdict six, four;

	*n = 0;
	six = add_addresses(d, name, DNS_TYPE_AAAA, port, v, max / 2, n);
	four = add_addresses(d, name, DNS_TYPE_A, port, v, max, n);
	if (*n > 0)
		return DNS_FOUND;
	if (six == DNS_FAILED || four == DNS_FAILED)
		return DNS_FAILED;
	return six == DNS_NO_NAME && four == DNS_NO_NAME ? DNS_NO_NAME : DNS_NO_DATA;
}
