/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/smtp_out.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"

static SSL_CTX *
fail(SSL_CTX *ctx, const char *what, const char *path)
{
	char text[256];

	ERR_error_string_n(ERR_get_error(), text, sizeof(text));
	log_event(LOGL_ERROR, "smtp.tls failed", "what", what, "path", path, "error", text, NULL);
	SSL_CTX_free(ctx);
	return NULL;
}

/* Where Debian, Fedora and OpenSSL keep the authorities in one file. */
static void
use_system_authorities(SSL_CTX *ctx)
{
	const char *const paths[] = {"/etc/ssl/certs/ca-certificates.crt",
		"/etc/pki/tls/certs/ca-bundle.crt", X509_get_default_cert_file()};
	size_t i;

	for (i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		if (access(paths[i], R_OK) == 0 && SSL_CTX_load_verify_file(ctx, paths[i]) == 1)
			return;
	}
	ERR_clear_error();
	log_event(LOGL_INFO, "smtp.tls authorities", "error", "none found on this machine", NULL);
}

SSL_CTX *
smtp_tls_context(const struct config *conf)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	if (ctx == NULL)
		return fail(ctx, "context", NULL);
	/* What is older than TLS 1.2 is no better than plaintext. */
	(void)SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_mode(ctx, SSL_MODE_AUTO_RETRY);
	if (SSL_CTX_dane_enable(ctx) <= 0)
		return fail(ctx, "DANE", NULL);
	if (conf->smtp_tls_CAfile[0]) {
		if (SSL_CTX_load_verify_file(ctx, conf->smtp_tls_CAfile) != 1)
			return fail(ctx, "smtp_tls_CAfile", conf->smtp_tls_CAfile);
	} else {
		use_system_authorities(ctx);
	}
	if (conf->smtp_tls_cert_file[0]) {
		const char *key = conf->smtp_tls_key_file[0] ? conf->smtp_tls_key_file
							     : conf->smtp_tls_cert_file;

		if (SSL_CTX_use_certificate_chain_file(ctx, conf->smtp_tls_cert_file) != 1)
			return fail(ctx, "smtp_tls_cert_file", conf->smtp_tls_cert_file);
		if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1 ||
			SSL_CTX_check_private_key(ctx) != 1)
			return fail(ctx, "smtp_tls_key_file", key);
	}
	return ctx;
}

/* RFC 7672 section 2.2: what the records say, for the levels that ask for them. */
static enum smtp_tls_need
decide_dane(const struct smtp_target *t, int only, struct smtp_answer *why)
{
	switch (t->tlsa ? t->tlsa->verdict : TLSA_ABSENT) {
	case TLSA_USABLE:
		/* An exchanger that nobody vouches for may be anybody's, and have records. */
		if (only && !t->mx_secure)
			break;
		return SMTP_TLS_DANE;
	case TLSA_UNUSABLE:
		if (only)
			break;
		return SMTP_TLS_MUST;
	case TLSA_FAILED:
		smtp_answer_set(why, QUEUE_PENDING, "4.7.5",
			"the TLSA records of %s could not be looked up", t->host);
		return SMTP_TLS_IMPOSSIBLE;
	case TLSA_ABSENT:
		if (only)
			break;
		return SMTP_TLS_TRY;
	}
	smtp_answer_set(why, QUEUE_PENDING, "4.7.5",
		"DANE is required, and %s has no usable records", t->host);
	return SMTP_TLS_IMPOSSIBLE;
}

/* RFC 8689 section 4.2.1: a server that is known to be the right one. */
static enum smtp_tls_need
decide_required(const struct smtp_target *t, char names[TLS_MATCH_SIZE], struct smtp_answer *why)
{
	struct tls_policy strict = t->policy;

	if (t->tlsa && t->tlsa->verdict == TLSA_USABLE && t->mx_secure)
		return SMTP_TLS_DANE;
	if (strict.level != TLS_LEVEL_VERIFY && strict.level != TLS_LEVEL_SECURE)
		strict = (struct tls_policy){
			.level = t->mx_secure ? TLS_LEVEL_VERIFY : TLS_LEVEL_SECURE};
	if (tls_policy_names(&strict, t->name, t->host, names) == OK)
		return SMTP_TLS_NAMED;
	smtp_answer_set(why, QUEUE_PENDING, "4.7.5", "the names to check are too long");
	return SMTP_TLS_IMPOSSIBLE;
}

enum smtp_tls_need
smtp_tls_decide(const struct smtp_target *t, char names[TLS_MATCH_SIZE], struct smtp_answer *why)
{
	names[0] = '\0';
	if (t->flags & QUEUE_REQUIRETLS)
		return decide_required(t, names, why);
	switch (t->policy.level) {
	case TLS_LEVEL_NONE:
		return SMTP_TLS_OFF;
	case TLS_LEVEL_MAY:
		return SMTP_TLS_TRY;
	case TLS_LEVEL_ENCRYPT:
		return SMTP_TLS_MUST;
	case TLS_LEVEL_DANE:
	case TLS_LEVEL_DANE_ONLY:
		/* RFC 8689 section 5: the sender wants it delivered, whatever the records say. */
		if (t->flags & QUEUE_TLS_OPTIONAL)
			return SMTP_TLS_TRY;
		return decide_dane(t, t->policy.level == TLS_LEVEL_DANE_ONLY, why);
	case TLS_LEVEL_VERIFY:
	case TLS_LEVEL_SECURE:
		break;
	}
	if (tls_policy_names(&t->policy, t->name, t->host, names) == OK)
		return SMTP_TLS_NAMED;
	smtp_answer_set(why, QUEUE_PENDING, "4.7.5", "the names to check are too long");
	return SMTP_TLS_IMPOSSIBLE;
}

static int
is_name(const char *host)
{
	return strspn(host, "0123456789.") != strlen(host) && strchr(host, ':') == NULL;
}

/* An address is no DNS name, and certificates have it elsewhere. */
static int
add_checked_name(SSL *ssl, struct str name)
{
	char text[TLS_MATCH_SIZE];

	if (name.len == 0 || name.len >= sizeof(text))
		return name.len == 0;
	memcpy(text, name.p, name.len);
	text[name.len] = '\0';
	return is_name(text) ? SSL_add1_host(ssl, text)
			     : X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), text);
}

SSL *
smtp_tls_prepare(const struct smtp_out *o, const struct smtp_target *t, enum smtp_tls_need need,
	const char *names)
{
	SSL *ssl = SSL_new(o->tls);
	struct str rest = str_of(names);

	if (ssl == NULL)
		return NULL;
	if (is_name(t->host))
		(void)SSL_set_tlsext_host_name(ssl, t->host);
	if (need == SMTP_TLS_DANE) {
		if (tlsa_apply(t->tlsa, t->name, ssl) == OK)
			return ssl;
		/* RFC 7672 section 2.2: records that cannot be used ask for encryption alone. */
		SSL_free(ssl);
		if (t->flags & QUEUE_REQUIRETLS || t->policy.level == TLS_LEVEL_DANE_ONLY)
			return NULL;
		return smtp_tls_prepare(o, t, SMTP_TLS_MUST, "");
	}
	if (need != SMTP_TLS_NAMED)
		return ssl;
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
	while (rest.p) {
		if (!add_checked_name(ssl, str_split(&rest, ' '))) {
			SSL_free(ssl);
			return NULL;
		}
	}
	return ssl;
}
