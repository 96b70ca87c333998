/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LMTP_SESSION_H
#define ROOST_LMTP_SESSION_H

#include <stddef.h>
#include <stdint.h>

#include "lib/session.h"
#include "lib/str.h"

/*
 * The LMTP dialogue (RFC 2033, with RFC 5321, 1870, 2034, 2920, 3030, 6152, 6531 and XCLIENT). It
 * knows nothing of users and mailboxes: where messages go is a struct lmtp_store.
 */

/* "550 5.1.1" and what is said behind it; both static. */
struct lmtp_reply {
	const char *code, *text;
};
static inline int
lmtp_reply_is_ok(struct lmtp_reply r)
{
	return r.code != NULL && r.code[0] == '2';
}

struct lmtp_envelope {
	struct str sender; /* as given, "" for <> */
	const char *helo; /* from LHLO, or XCLIENT */
	const struct net_addr *client; /* who is connected, or for whom it speaks */
	const char *client_name; /* of XCLIENT; "" if not known */
	int utf8; /* SMTPUTF8 was said */
	struct str only_rcpt; /* the recipient as given, if there is just one; else empty */
};

/*
 * Where the dialogue delivers to. One transaction: rcpt, rcpt, ..., begin, write, ..., commit; or
 * reset at any point. commit is followed by reset.
 */
enum { LMTP_AHEAD_MAX = 64 };
struct lmtp_store {
	/* That rcpt will be called for this address soon, in the order of these calls, or reset. */
	void (*expect)(void *arg, const char *address);
	/*
	 * A recipient. Only with an OK reply it takes part in what follows. raw: as it was given,
	 * with its quotes; borrowed for the call. size: 0 unknown.
	 */
	struct lmtp_reply (*rcpt)(void *arg, const char *address, struct str raw, uint64_t size);
	void (*begin)(void *arg, const struct lmtp_envelope *env);
	/* Bytes of the message, dots unstuffed. Failures are told by commit. */
	void (*write)(void *arg, const char *p, size_t len);
	/* The end of the message: replies[i] for each OK of rcpt, in their order. */
	void (*commit)(void *arg, struct lmtp_reply *replies);
	void (*reset)(void *arg);
};

/*
 * Serves the client until it is gone. Returns SESSION_AGAIN after QUIT or when the client closed
 * the connection, else the exit status.
 */
int lmtp_session_run(
	struct session *s, const char *hostname, const struct lmtp_store *store, void *store_arg);

#endif
