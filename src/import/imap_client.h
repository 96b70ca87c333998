/* SPDX-License-Identifier: MIT */
#ifndef ROOST_IMPORT_IMAP_CLIENT_H
#define ROOST_IMPORT_IMAP_CLIENT_H

#include <stdint.h>

#include "import/imap_in.h"
#include "lib/err.h"

/*
 * A client of another IMAP server (RFC 3501, RFC 9051), blocking. It needs no extension: UIDPLUS,
 * LITERAL+ and the like are not used; NAMESPACE and SPECIAL-USE are where they are offered.
 */

enum imap_security { IMAP_TLS, IMAP_STARTTLS, IMAP_PLAIN };
struct imap_account {
	const char *host, *port;
	enum imap_security security;
	const char *login, *password;
	const char *ca_file; /* NULL: the system's */
	int insecure; /* any certificate will do */
	int timeout_ms; /* 0: two minutes */
};

struct imap_client;
/* What an untagged response is; the handler reads the rest of it, through its end. */
struct imap_untagged {
	const char *word; /* "LIST", "FETCH", in capitals */
	uint32_t number; /* "* 17 EXISTS"; else 0 */
};
/* *taken: set by a handler that has read the response. */
typedef enum err imap_handler(struct imap_client *c, struct imap_in *in,
	const struct imap_untagged *u, int *taken, void *arg);

/*
 * Connects, begins TLS, reads the greeting, logs in, asks for the capabilities. *why (on the heap,
 * the caller frees it) says what failed. E_AUTH: log-in or certificate refused; E_UNSUPPORTED: the
 * server cannot do what was asked; E_NOTFOUND: no such host; E_TEMPFAIL: not reached.
 */
enum err imap_client_open(const struct imap_account *a, struct imap_client **out, char **why);
/* For tests: the bytes come from fill, what is sent goes nowhere. */
struct imap_client *imap_client_replay(
	enum err (*fill)(void *, char *, size_t, size_t *), void *arg);
void imap_client_close(struct imap_client **c);

int imap_client_can(const struct imap_client *c, const char *capability);
/* Sends a command (without tag and line end); nothing is waited for. Returns its number. */
uint64_t imap_client_send(struct imap_client *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Appends name as a quoted string, or what works where it cannot be one: E_PARSE for NUL, CR, LF.
 */
enum err imap_quote(struct str text, struct buf *out);
/*
 * Reads up to the completion of command number. OK; E_ACCESS: it said NO or BAD (imap_client_text);
 * errors of the connection, after which it is of no use: E_CLOSED, E_TIMEOUT, E_IO, E_PROTO,
 * E_TOOBIG.
 */
enum err imap_client_wait(struct imap_client *c, uint64_t number, imap_handler *handler, void *arg);
/* Sends and waits. */
enum err imap_client_run(struct imap_client *c, imap_handler *handler, void *arg, const char *fmt,
	...) __attribute__((format(printf, 4, 5)));
/* What the server said with its last completion, printable. Borrowed. */
const char *imap_client_text(const struct imap_client *c);
/* Whether an error of imap_client_wait means that the connection is done for. */
int imap_client_is_broken(enum err e);

/* Of the mailbox that was opened last. */
uint32_t imap_client_uidvalidity(const struct imap_client *c);
uint32_t imap_client_exists(const struct imap_client *c);

#endif
