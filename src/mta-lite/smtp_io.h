/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_SMTP_IO_H
#define ROOST_MTA_SMTP_IO_H

#include <openssl/ssl.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/str.h"

/*
 * The client's side of a text connection: buffered, blocking, with TLS begun on the way. (lib's
 * stream has no TLS: servers' TLS ends in roost-proxy.) The first error sticks.
 */
struct smtp_io;

/* Owns fd. */
struct smtp_io *smtp_io_create(int fd);
void smtp_io_free(struct smtp_io **io);
/* How long one read or write may wait. */
void smtp_io_set_timeout(struct smtp_io *io, int timeout_ms);
/* No wait goes past this point of io_now_ms(); 0: none. */
void smtp_io_set_deadline(struct smtp_io *io, int64_t deadline_ms);
/*
 * A line without its end, borrowed until the next call; bytes past SMTP_REPLY_LINE_MAX are dropped.
 * Flushes first. E_TIMEOUT, E_CLOSED, E_IO.
 */
enum err smtp_io_read_line(struct smtp_io *io, struct str *line);
/* What is there, at least one byte, at most len. Flushes first. Errors as above. */
enum err smtp_io_read(struct smtp_io *io, char *p, size_t len, size_t *got);
enum err smtp_io_write(struct smtp_io *io, struct str bytes);
enum err smtp_io_flush(struct smtp_io *io);
/*
 * TLS from now on. name: for SNI. Plaintext read ahead is an attack or a fault: E_PROTO. E_TIMEOUT,
 * E_CLOSED, E_PROTO (handshake failed; logged). Certificates are not checked (opportunistic TLS).
 */
enum err smtp_io_start_tls(struct smtp_io *io, SSL_CTX *ctx, const char *name);
/*
 * The same with a connection's state that the caller has prepared (names, what to check), which is
 * taken over.
 */
enum err smtp_io_start_tls_with(struct smtp_io *io, SSL *ssl);
/* Why the peer's certificate was refused or would have been: X509_V_OK if it was not. */
long smtp_io_verify_result(const struct smtp_io *io);
/* "TLSv1.3 TLS_AES_256_GCM_SHA384", or "" in plaintext. Borrowed. */
const char *smtp_io_tls_text(const struct smtp_io *io);
/* Whether the peer has closed or said something unasked: an idle connection is then of no use. */
int smtp_io_is_stale(struct smtp_io *io);

#endif
