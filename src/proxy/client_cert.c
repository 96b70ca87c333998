/* SPDX-License-Identifier: MIT */
#include "proxy/client_cert.h"

#include <stdio.h>
#include <string.h>

#include <openssl/x509v3.h>

/* 0: too long, or a NUL inside, behind which another name may begin. */
static int
take(const unsigned char *p, int len, char *out)
{
	if (len <= 0 || len > CLIENT_CERT_USER_MAX || memchr(p, 0, (size_t)len))
		return 0;
	memcpy(out, p, (size_t)len);
	out[len] = '\0';
	return 1;
}

/* Of several addresses the first is meant, as their order is the issuer's. */
static void
alt_name_email(const X509 *cert, char *out)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	int found = 0;

	for (int i = 0; i < sk_GENERAL_NAME_num(names) && !found; i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

		if (name->type != GEN_EMAIL)
			continue;
		found = 1;
		take(ASN1_STRING_get0_data(name->d.rfc822Name),
			ASN1_STRING_length(name->d.rfc822Name), out);
	}
	GENERAL_NAMES_free(names);
}

/* A subject with the field twice is taken for nobody. */
static void
subject_field(const X509 *cert, int nid, char *out)
{
	const X509_NAME *subject = X509_get_subject_name(cert);
	int at = X509_NAME_get_index_by_NID(subject, nid, -1), len;
	unsigned char *text = NULL;

	if (at < 0 || X509_NAME_get_index_by_NID(subject, nid, at) >= 0)
		return;
	len = ASN1_STRING_to_UTF8(
		&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
	if (len > 0)
		take(text, len, out);
	OPENSSL_free(text);
}

void
client_cert_user(const X509 *cert, const char *field, char *out)
{
	out[0] = '\0';
	if (strcmp(field, "cn") == 0)
		subject_field(cert, NID_commonName, out);
	else if (strcmp(field, "subject-email") == 0)
		subject_field(cert, NID_pkcs9_emailAddress, out);
	else
		alt_name_email(cert, out);
}

void
client_cert_read(SSL *ssl, const char *field, struct client_cert *out)
{
	X509 *cert = SSL_get0_peer_certificate(ssl);
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	memset(out, 0, sizeof(*out));
	if (!cert || X509_digest(cert, EVP_sha256(), digest, &len) != 1)
		return;
	for (unsigned i = 0; i < len && 3 * (size_t)(i + 1) <= sizeof(out->fingerprint); i++)
		snprintf(out->fingerprint + 3 * i, 4, i + 1 < len ? "%02X:" : "%02X", digest[i]);
	out->verified = SSL_get_verify_result(ssl) == X509_V_OK;
	if (out->verified)
		client_cert_user(cert, field, out->user);
}
