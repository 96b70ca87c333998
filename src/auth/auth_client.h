/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_CLIENT_H
#define ROOST_AUTH_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/conf.h"
#include "lib/err.h"
#include "lib/net.h"
#include "lib/str.h"

/*
 * What other processes ask roost-auth. Its sockets in <state>/run, each answering only some frames
 * (auth/auth_proto.h):
 *   auth-login      SASL exchanges; for roost-proxy
 *   auth-session    redeeming of tokens; for sessions
 *   auth-directory  recipients and senders, without tickets; for smtpd and qmgr
 *   auth-userdb     users with tickets; for lmtp and administration
 * Blocking calls, for sessions and workers. An auth service or a database that is down or slow is
 * E_TEMPFAIL, never E_NOTFOUND.
 */

/* A user as a session needs it. */
struct auth_user {
	char *name; /* canonical address, lower case: "alice@example.test" */
	char *home; /* <mail_dir>/<domain>/<local>, absolute */
	char *ticket; /* opens this user's mail at roost-index (index_open); keep it secret */
	uint64_t quota_bytes; /* 0: no limit */
	uint64_t quota_messages; /* 0: no limit */
	char *quota_rules; /* the user's own, lib/quota_rules.h */
	/* After auth_redeem for "imap" and auth_resume: sealed bytes for auth_resume; else empty.
	 */
	struct buf resume;
	/* After auth_lookup_user and auth_resume: the server that has this user's mail now; "":
	   none but this. */
	char *moved_to;
};
void auth_user_free(struct auth_user *u);

/*
 * Exchanges the one-time token that the proxy handed over for the user it was issued for.
 * service: the session's protocol ("imap", "pop3", "smtp"). Never E_AUTH, since who has a token has
 * shown who he is: E_TEMPFAIL also for one that is not good (of another service or session, used,
 * expired). *out is zeroed first; the caller frees it in either case.
 */
enum err auth_redeem(const struct config *conf, const char *token, const char *service,
	const char *session_id, struct auth_user *out);
/*
 * The same in a process that serves one session after the other. *conn: -1, or the connection that
 * the call before left open; left open again unless something was wrong with it (-1 then). The
 * caller closes it when it goes unused for long, since roost-auth has a descriptor open for it.
 */
enum err auth_redeem_on(const struct config *conf, int *conn, const char *token,
	const char *service, const char *session_id, struct auth_user *out);
/*
 * The same for a session that slept: resume is what its last auth_redeem or auth_resume gave; it
 * holds for this session id alone, as long as the master runs. The directory is asked again:
 * E_NOTFOUND, E_ACCESS when the user is gone, or switched off or moved (then *out has his name and
 * moved_to); E_AUTH; E_TEMPFAIL. The caller frees *out in any case.
 */
enum err auth_resume(const struct config *conf, struct str resume, const char *session_id,
	struct auth_user *out);

/*
 * A connection to ask many questions, opened at the first of them and again after it broke. Not for
 * several threads at once.
 */
struct auth_client;
struct auth_client *auth_client_create(const struct config *conf);
void auth_client_free(struct auth_client **c);

/* What an address is. */
enum auth_rcpt_kind {
	AUTH_RCPT_MAILBOX, /* a mailbox here */
	AUTH_RCPT_ALIAS, /* expands to others, here or elsewhere */
	AUTH_RCPT_REMOTE, /* its domain is not ours */
	AUTH_RCPT_UNKNOWN, /* its domain is ours, but nobody has this address: 550 5.1.1 */
	AUTH_RCPT_DISABLED, /* the mailbox or domain is switched off: 550 5.2.1 */
	AUTH_RCPT_LOOP, /* aliases nest too deeply or run in a circle: 5.4.6 */
	AUTH_RCPT_NO_DOMAINS, /* "postmaster" alone, and no domain is ours */
};
struct auth_rcpt {
	enum auth_rcpt_kind kind;
	char *mailbox; /* MAILBOX: canonical address of the user, lower case */
	char *detail; /* MAILBOX: the part behind the delimiter, "" if none */
	/*
	 * Final addresses: fully expanded, duplicates removed, at most 10,000. For MAILBOX the
	 * mailbox itself (with detail), for ALIAS all targets, mailboxes here and addresses
	 * elsewhere.
	 */
	struct auth_rcpt_target {
		char *address;
		int local; /* a mailbox here, deliver by LMTP */
	} * targets;
	size_t target_count;
};
void auth_rcpt_free(struct auth_rcpt *r);
/*
 * address: localpart@domain, UTF-8, without angle brackets; "postmaster" alone is allowed.
 * *out is zeroed first; after an error it holds nothing. E_PARSE: not an address; E_TEMPFAIL.
 * "postmaster" alone is postmaster@hostname, or, where hostname is no domain of ours, the
 * postmaster of the domain whose name sorts first; where there is none at all, NO_DOMAINS.
 * postmaster@ and abuse@ a domain of ours that nobody has there lead to that same place (RFC 2142
 * section 4, RFC 5321 section 4.5.1).
 */
enum err auth_lookup_rcpt(struct auth_client *c, struct str address, struct auth_rcpt *out);

/*
 * OK, or E_ACCESS: whether user (canonical address) may use this envelope sender or From address:
 * the own address, an own subaddress, an alias, catch-all or domain alias that delivers to the
 * user. E_PARSE: not an address; E_TEMPFAIL.
 */
enum err auth_may_send_as(struct auth_client *c, const char *user, struct str address);

/*
 * A user with a ticket, by address: a mailbox, also with a subaddress or in a domain alias; aliases
 * are not followed. detail: NULL, or gets the part behind the delimiter ("" if none) on the heap,
 * NULL after an error. *out is zeroed first; after an error it holds nothing.
 * E_NOTFOUND; E_ACCESS when switched off; E_PARSE: not an address; E_TEMPFAIL.
 */
enum err auth_lookup_user(
	struct auth_client *c, struct str address, struct auth_user *out, char **detail);
/*
 * That auth_lookup_user will be called for this address soon, after those that were told before:
 * they are asked together, at the first of these calls, at most AUTH_EXPECTED_MAX (auth_channel.h).
 * Who does not call for all of them calls auth_expect_none, lest an old answer is taken for a new
 * one.
 */
void auth_expect_user(struct auth_client *c, struct str address);
void auth_expect_none(struct auth_client *c);

#endif
