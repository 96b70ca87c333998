/* SPDX-License-Identifier: MIT */
#ifndef ROOST_PROXY_CLIENT_CERT_H
#define ROOST_PROXY_CLIENT_CERT_H

#include <openssl/ssl.h>

/* What a client's certificate says. */
enum { CLIENT_CERT_USER_MAX = 320, CLIENT_CERT_FINGERPRINT = 3 * 32 /* with a NUL */ };

struct client_cert {
	/*
	 * The field that is the user; "" when the certificate has none, more than one where only
	 * one can be meant, one with a NUL in it, or is not verified.
	 */
	char user[CLIENT_CERT_USER_MAX + 1];
	char fingerprint[CLIENT_CERT_FINGERPRINT]; /* SHA-256, "AB:CD:..."; "": no certificate */
	int verified; /* by an authority of tls_client_ca, in its time, for use by clients */
};

/* field: of the setting tls_client_cert_user. After the handshake; *out is zeroed first. */
void client_cert_read(SSL *ssl, const char *field, struct client_cert *out);
/* The field alone, for tests: out[CLIENT_CERT_USER_MAX + 1], "" as above. */
void client_cert_user(const X509 *cert, const char *field, char *out);

#endif
