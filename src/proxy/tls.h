/* SPDX-License-Identifier: MIT */
#ifndef ROOST_PROXY_TLS_H
#define ROOST_PROXY_TLS_H

#include <openssl/ssl.h>

#include "lib/buf.h"
#include "lib/conf.h"
#include "lib/err.h"

/*
 * TLS settings ready for use, one context per protocol, so that a session ticket of one is worth
 * nothing to another (session id context and ticket keys differ).
 */
enum tls_protocol { TLS_IMAP, TLS_POP3, TLS_SMTP, TLS_LMTP, TLS_PROTOCOLS };

struct tls;

/*
 * From tls_cert_pem, tls_key_pem, tls_ticket_key and the other tls_* settings; no file is read. OK
 * with *out NULL when there is no certificate. E_PARSE: *why (may be NULL) says what is wrong.
 */
enum err tls_create(const struct config *conf, struct tls **out, struct buf *why);
void tls_free(struct tls **t); /* connections under way keep what they need */
SSL_CTX *tls_context(const struct tls *t, enum tls_protocol protocol);

#endif
