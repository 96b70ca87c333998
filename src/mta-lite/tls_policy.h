/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_TLS_POLICY_H
#define ROOST_MTA_TLS_POLICY_H

#include "lib/err.h"
#include "lib/str.h"

/*
 * What TLS a destination must have: the values of smtp_tls_security_level and of an entry of
 * smtp_tls_policy_maps, as Postfix has them.
 */
enum tls_level {
	TLS_LEVEL_NONE, /* never */
	TLS_LEVEL_MAY, /* if it is offered and works; certificates do not matter */
	TLS_LEVEL_ENCRYPT, /* always; certificates do not matter */
	TLS_LEVEL_DANE, /* as the destination's TLSA records want it (RFC 7672); else MAY */
	TLS_LEVEL_DANE_ONLY, /* the same; without usable records nothing is sent */
	TLS_LEVEL_VERIFY, /* a certificate of a known authority for the mail server's name */
	TLS_LEVEL_SECURE, /* for the destination's own name, which no DNS answer can change */
};

enum { TLS_MATCH_SIZE = 512 };

struct tls_policy {
	enum tls_level level;
	/* Names for VERIFY and SECURE, separated by blanks; "": the level's default. */
	char match[TLS_MATCH_SIZE];
};

/* "none", "may", ... E_PARSE. */
enum err tls_level_parse(struct str word, enum tls_level *out);
/*
 * "LEVEL [match=NAME[:NAME...]]...". Other attributes that Postfix knows are E_UNSUPPORTED: what
 * they ask for must not be passed over in silence. E_PARSE, E_TOOBIG.
 */
enum err tls_policy_parse(struct str text, struct tls_policy *out);

/*
 * The names that the certificate may have, separated by blanks, for this destination and host.
 * "hostname", "nexthop" and "dot-nexthop" stand for the host, the destination and all below the
 * destination; ".example.com" for all below that. E_TOOBIG.
 */
enum err tls_policy_names(const struct tls_policy *p, const char *nexthop, const char *host,
	char out[TLS_MATCH_SIZE]);

#endif
