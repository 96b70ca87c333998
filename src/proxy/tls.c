/* SPDX-License-Identifier: MIT */
#include "proxy/tls.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/str.h"

enum { TICKET_KEYS_SIZE = 80 /* as SSL_CTX_set_tlsext_ticket_keys(3) has it */ };

struct tls {
	SSL_CTX *contexts[TLS_PROTOCOLS];
};

static const struct protocol {
	const char *context; /* session id context, <= 32 bytes */
	const unsigned char *alpn; /* length byte and name; registered for IMAP and POP3 only */
} protocols[TLS_PROTOCOLS] = {
	[TLS_IMAP] = {"roost-imap", (const unsigned char *)"\4imap"},
	[TLS_POP3] = {"roost-pop3", (const unsigned char *)"\4pop3"},
	[TLS_SMTP] = {"roost-smtp", (const unsigned char *)"\4smtp"},
	[TLS_LMTP] = {"roost-lmtp", (const unsigned char *)"\4lmtp"},
};

static enum err
fail(struct buf *why, const char *what)
{
	unsigned long code = ERR_peek_last_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	if (why)
		buf_printf(why, "%s: %s", what, reason ? reason : "malformed");
	ERR_clear_error();
	return E_PARSE;
}

/*
 * RFC 7301. A client that names other protocols only is served all the same: some send a list made
 * for the web whatever they speak.
 */
static int
on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
	unsigned in_len, void *arg)
{
	const struct protocol *p = arg;
	unsigned char *chosen;
	(void)ssl;

	if (SSL_select_next_proto(&chosen, out_len, p->alpn, p->alpn[0] + 1u, in, in_len) !=
		OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_NOACK;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

static enum err
use_certificate(SSL_CTX *ctx, const struct config *conf, struct buf *why)
{
	BIO *cert = BIO_new_mem_buf(conf->tls_cert_pem, -1);
	BIO *key = BIO_new_mem_buf(conf->tls_key_pem, -1);
	X509 *x = cert ? PEM_read_bio_X509_AUX(cert, NULL, NULL, NULL) : NULL;
	EVP_PKEY *pkey = key ? PEM_read_bio_PrivateKey(key, NULL, NULL, (void *)"") : NULL;
	enum err e = OK;

	if (!x || SSL_CTX_use_certificate(ctx, x) != 1)
		e = fail(why, "certificate");
	else if (!pkey || SSL_CTX_use_PrivateKey(ctx, pkey) != 1)
		e = fail(why, "private key");
	else if (SSL_CTX_check_private_key(ctx) != 1)
		e = fail(why, "the private key does not belong to the certificate");
	while (!e) {
		X509 *ca = PEM_read_bio_X509(cert, NULL, NULL, NULL);
		if (!ca)
			break;
		if (SSL_CTX_add0_chain_cert(ctx, ca) != 1) {
			X509_free(ca);
			e = fail(why, "certificate chain");
		}
	}
	ERR_clear_error(); /* the end of the PEM text is an error to OpenSSL */
	EVP_PKEY_free(pkey);
	X509_free(x);
	BIO_free(key);
	BIO_free(cert);
	return e;
}

static int
take_all(int ok, X509_STORE_CTX *store)
{
	(void)ok;
	(void)store;
	/* Who has a bad certificate may still log in otherwise: client_cert_read sees the result.
	 */
	return 1;
}

/*
 * Clients are asked for a certificate. No session is resumed then: a ticket would bring back what
 * was verified with other settings.
 */
static enum err
ask_client_cert(SSL_CTX *ctx, const struct config *conf, enum tls_protocol which, struct buf *why)
{
	BIO *pem;
	X509 *ca;
	int count = 0;

	if (!conf->tls_client_ca_pem[0] && !(conf->tls_ask_client_cert && which == TLS_SMTP))
		return OK;
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, take_all);
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
	SSL_CTX_set_num_tickets(ctx, 0);
	if (!conf->tls_client_ca_pem[0])
		return OK;
	pem = BIO_new_mem_buf(conf->tls_client_ca_pem, -1);
	while (pem && (ca = PEM_read_bio_X509(pem, NULL, NULL, NULL)) != NULL) {
		count += X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), ca) == 1 &&
			 SSL_CTX_add_client_CA(ctx, ca) == 1;
		X509_free(ca);
	}
	BIO_free(pem);
	ERR_clear_error();
	return count > 0 ? OK : fail(why, "tls_client_ca: no certificate in it");
}

/* All proxies know the tickets of all, and each protocol has keys of its own. */
static enum err
use_ticket_keys(SSL_CTX *ctx, const char *secret, const char *label)
{
	unsigned char digest[2][64];
	struct buf text = {0};
	enum err e = OK;

	for (unsigned i = 0; i < 2 && !e; i++) {
		buf_reset(&text);
		buf_printf(&text, "%s/%s/%u", secret, label, i);
		if (EVP_Digest(text.p, text.len, digest[i], NULL, EVP_sha512(), NULL) != 1)
			e = E_UNSUPPORTED;
	}
	if (!e && SSL_CTX_set_tlsext_ticket_keys(ctx, digest, TICKET_KEYS_SIZE) != 1)
		e = E_UNSUPPORTED;
	OPENSSL_cleanse(digest, sizeof digest);
	buf_wipe(&text);
	buf_free(&text);
	return e;
}

static enum err
make_context(const struct config *conf, enum tls_protocol which, SSL_CTX **out, struct buf *why)
{
	const struct protocol *p = &protocols[which];
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	enum err e;

	*out = ctx;
	if (!ctx)
		return fail(why, "OpenSSL");
	SSL_CTX_set_min_proto_version(ctx,
		strcmp(conf->tls_min_version, "TLSv1.3") == 0 ? TLS1_3_VERSION : TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
					 SSL_OP_CIPHER_SERVER_PREFERENCE |
					 SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
				      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(ctx, 1);
	SSL_CTX_set_session_id_context(
		ctx, (const unsigned char *)p->context, (unsigned)strlen(p->context));
	SSL_CTX_set_alpn_select_cb(ctx, on_alpn, (void *)p);
	if (SSL_CTX_set_cipher_list(ctx, conf->tls_ciphers) != 1)
		return fail(why, "tls_ciphers");
	e = use_certificate(ctx, conf, why);
	if (!e)
		e = ask_client_cert(ctx, conf, which, why);
	if (!e && conf->tls_ticket_key[0])
		e = use_ticket_keys(ctx, conf->tls_ticket_key, p->context);
	return e;
}

enum err
tls_create(const struct config *conf, struct tls **out, struct buf *why)
{
	struct tls *t;
	enum err e = OK;

	*out = NULL;
	if (!conf->tls_cert_pem[0])
		return OK;
	t = MEM_NEW(struct tls);
	for (int i = 0; i < TLS_PROTOCOLS && !e; i++)
		e = make_context(conf, (enum tls_protocol)i, &t->contexts[i], why);
	if (e)
		tls_free(&t);
	*out = t;
	return e;
}

void
tls_free(struct tls **t)
{
	if (!*t)
		return;
	for (int i = 0; i < TLS_PROTOCOLS; i++)
		SSL_CTX_free((*t)->contexts[i]);
	MEM_FREE(*t);
}

SSL_CTX *
tls_context(const struct tls *t, enum tls_protocol protocol)
{
	return t ? t->contexts[protocol] : NULL;
}
