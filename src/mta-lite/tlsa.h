/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_TLSA_H
#define ROOST_MTA_TLSA_H

#include <openssl/ssl.h>
#include <stddef.h>

#include "lib/err.h"

/* TLSA records (RFC 6698, for SMTP RFC 7672). No look-ups here. */

enum { TLSA_MAX = 32, TLSA_DATA_MAX = 8192 };

struct tlsa {
	unsigned char usage, selector, matching;
	unsigned char *data; /* on the heap */
	size_t len;
};

/* What the look-up of a host's records says. */
enum tlsa_verdict {
	TLSA_ABSENT, /* none, or none that DNSSEC vouches for */
	TLSA_USABLE, /* at least one to authenticate the server with */
	TLSA_UNUSABLE, /* there are some, and this client can use none: TLS without authentication
			*/
	TLSA_FAILED, /* they may be there; nothing may be sent before that is known */
};

struct tlsa_set {
	enum tlsa_verdict verdict;
	struct tlsa v[TLSA_MAX];
	size_t count; /* usable ones */
	char base[256]; /* the name below which they were found */
};

/*
 * One record's data. E_PARSE: cut short, or a digest of a wrong length; E_UNSUPPORTED: well formed
 * and of no use for SMTP (RFC 7672 section 3.1.3: usages 0 and 1; unknown values).
 */
enum err tlsa_parse(const unsigned char *p, size_t len, struct tlsa *out);
void tlsa_set_free(struct tlsa_set *set);
/*
 * Makes the handshake of this connection succeed only when a record matches. The context has
 * SSL_CTX_dane_enable() behind it. nexthop: a further name that certificates may have (RFC 7672
 * section 3.2.3). E_UNSUPPORTED: OpenSSL can use none of them.
 */
enum err tlsa_apply(const struct tlsa_set *set, const char *nexthop, SSL *ssl);

#endif
