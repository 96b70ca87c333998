/* SPDX-License-Identifier: MIT */
#include "mta-lite/tlsa.h"

#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"

enum { USAGE_DANE_TA = 2, USAGE_DANE_EE = 3, SELECTOR_MAX = 1 };
enum { MATCHING_FULL = 0, MATCHING_SHA256 = 1, MATCHING_SHA512 = 2 };

enum err
tlsa_parse(const unsigned char *p, size_t len, struct tlsa *out)
{
	memset(out, 0, sizeof(*out));
	if (len < 4 || len - 3 > TLSA_DATA_MAX)
		return E_PARSE;
	out->usage = p[0];
	out->selector = p[1];
	out->matching = p[2];
	len -= 3;
	if ((out->matching == MATCHING_SHA256 && len != 32) ||
		(out->matching == MATCHING_SHA512 && len != 64))
		return E_PARSE;
	if ((out->usage != USAGE_DANE_TA && out->usage != USAGE_DANE_EE) ||
		out->selector > SELECTOR_MAX || out->matching > MATCHING_SHA512)
		return E_UNSUPPORTED;
	out->data = mem_zalloc(len);
	memcpy(out->data, p + 3, len);
	out->len = len;
	return OK;
}

void
tlsa_set_free(struct tlsa_set *set)
{
	size_t i;

	for (i = 0; i < set->count; i++)
		free(set->v[i].data);
	memset(set, 0, sizeof(*set));
}

enum err
tlsa_apply(const struct tlsa_set *set, const char *nexthop, SSL *ssl)
{
	size_t i, used = 0;

	if (SSL_dane_enable(ssl, set->base) <= 0)
		return E_UNSUPPORTED;
	/* RFC 7672 section 3.1.1: with usage 3 the record is the name; nothing else counts. */
	(void)SSL_dane_set_flags(ssl, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (nexthop && nexthop[0] && !SSL_add1_host(ssl, nexthop))
		return E_UNSUPPORTED;
	for (i = 0; i < set->count; i++) {
		const struct tlsa *t = &set->v[i];

		if (SSL_dane_tlsa_add(ssl, t->usage, t->selector, t->matching, t->data, t->len) > 0)
			used++;
	}
	SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
	return used > 0 ? OK : E_UNSUPPORTED;
}
