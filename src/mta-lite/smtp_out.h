/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_SMTP_OUT_H
#define ROOST_MTA_SMTP_OUT_H

#include <openssl/ssl.h>

#include "lib/conf.h"
#include "mta-lite/dns.h"
#include "mta-lite/map.h"
#include "mta-lite/smtp_client.h"
#include "mta-lite/smtp_edit.h"
#include "mta-lite/tls_policy.h"

/*
 * What roost-smtp has for all its deliveries: made once in the parent, before the sandbox, and
 * only read in its children.
 */
struct smtp_out {
	const struct config *conf; /* a copy of those of the start, unless a session sets its own */
	struct dns *dns;
	SSL_CTX *tls;
	struct maps *maps;
	struct map_list tls_policies; /* smtp_tls_policy_maps */
	struct map_list passwords; /* smtp_sasl_password_maps */
	struct smtp_edit edit;
	struct srs *srs; /* or NULL */
	int has_bind4, has_bind6;
	struct net_addr bind4, bind6; /* smtp_bind_address, smtp_bind_address6 */
};

/* E_IO, E_PARSE: logged. */
enum err smtp_out_open(const struct config *current, struct smtp_out *out);

/*
 * The policy for a destination as it is written (relayhost, transport, domain) and its bare name:
 * smtp_tls_policy_maps, else smtp_tls_security_level. E_TEMPFAIL: nobody knows; E_PARSE: the entry
 * makes no sense (logged).
 */
enum err smtp_out_policy(
	const struct smtp_out *o, const char *hop, const char *name, struct tls_policy *policy);
/*
 * "USER:PASSWORD" for a destination as it is written, or for the server. E_NOTFOUND: none;
 * E_TEMPFAIL.
 */
enum err smtp_out_account(
	const struct smtp_out *o, const char *hop, const char *host, struct buf *account);

/* One server to be tried. */
struct smtp_target {
	const char *hop; /* the destination as it is written */
	const char *name; /* its bare name */
	const char *host; /* the server's name */
	const struct net_addr *addr;
	const struct tlsa_set *tlsa; /* NULL: not looked for */
	int mx_secure; /* the way from name to host is vouched for, or was given by us */
	int by_mx; /* found in the DNS: it must not be ourselves */
	int lmtp;
	unsigned flags; /* enum queue_flag of the message */
	struct tls_policy policy;
	struct transcript *transcript; /* of the connection; or NULL */
};

/*
 * A connection that is ready for mail: greeting, TLS as the policy wants it, log-in. NULL: *why
 * says why not.
 */
struct smtp_client *smtp_connect(
	const struct smtp_out *o, const struct smtp_target *t, struct smtp_answer *why);

/* ---- smtp_tls.c ---- */

/* The context of all connections: authorities, our certificate. NULL: logged. */
SSL_CTX *smtp_tls_context(const struct config *conf);

/* What TLS comes to for one server, once its TLSA records are known. */
enum smtp_tls_need {
	SMTP_TLS_OFF,
	SMTP_TLS_TRY, /* plaintext will do */
	SMTP_TLS_MUST, /* encrypted, whoever it is */
	SMTP_TLS_NAMED, /* a certificate for these names */
	SMTP_TLS_DANE, /* one that its TLSA records vouch for */
	SMTP_TLS_IMPOSSIBLE, /* the server is of no use; *why is set */
};
enum smtp_tls_need smtp_tls_decide(
	const struct smtp_target *t, char names[TLS_MATCH_SIZE], struct smtp_answer *why);
/* A connection's state for need MUST, NAMED or DANE (TRY is like MUST). NULL: no memory. */
SSL *smtp_tls_prepare(const struct smtp_out *o, const struct smtp_target *t,
	enum smtp_tls_need need, const char *names);

#endif
