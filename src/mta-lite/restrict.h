/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_RESTRICT_H
#define ROOST_MTA_RESTRICT_H

#include "auth/auth_client.h"
#include "mta-lite/dns_names.h"
#include "mta-lite/map.h"

/*
 * The restriction lists of smtpd (postconf(5), "smtpd_recipient_restrictions" and the like): each
 * stage of the dialogue has a list of checks, tried in their order, of which the first that says
 * yes or no decides. Names, replies and codes are Postfix's.
 */

enum restrict_stage {
	RESTRICT_CLIENT,
	RESTRICT_HELO,
	RESTRICT_SENDER,
	RESTRICT_RELAY,
	RESTRICT_RECIPIENT,
	RESTRICT_DATA,
	RESTRICT_END_OF_DATA,
	RESTRICT_SUBMISSION, /* all of these for clients of the submission ports */
	RESTRICT_ETRN,
	RESTRICT_STAGE_COUNT,
};

/* The compiled lists; made once, shared by all sessions. */
struct restrict_set;
/*
 * Never fails: a list that makes no sense is logged, and answers "451 4.3.5 Server configuration
 * error" when its turn comes. conf and maps are borrowed.
 *
 * Relay control cannot be lost: where neither smtpd_relay_restrictions nor
 * smtpd_recipient_restrictions can refuse a stranger's mail for others, the former is completed.
 */
struct restrict_set *restrict_create(const struct config *conf, struct maps *maps);
void restrict_free(struct restrict_set **s);
/* Whether a check asks the DNS; and whether one asks a server over the network. */
int restrict_asks_dns(const struct restrict_set *s);
int restrict_is_empty(const struct restrict_set *s, enum restrict_stage stage);

/* The client's names, looked up when first asked for. */
struct restrict_names {
	enum err name_err; /* OK; E_NOTFOUND: no name that leads back to it; E_TEMPFAIL */
	enum err reverse_err; /* the same for a name at all */
	char name[DNS_NAME_SIZE]; /* or "unknown" */
	char reverse[DNS_NAME_SIZE]; /* or "unknown" */
};

/* What is known of a command. Borrowed; NULL where it is not known yet. */
struct restrict_facts {
	const struct net_addr *client;
	const char *client_ip;
	const char *helo;
	const char *sender; /* "" for <> */
	const char *recipient; /* the current one */
	const char *etrn; /* the domain that ETRN is about */
	const char *user; /* logged in */
	const char *tls_fingerprint; /* of the client's certificate, upper-case hex with ":" */
	int tls; /* the session is encrypted */
	int pipelined; /* bytes came before they were allowed to */
	unsigned recipient_count;
	uint64_t size;
};

/* Who answers what the checks ask. arg goes to each function. */
struct restrict_host {
	void *arg;
	const struct restrict_names *(*names)(void *arg);
	struct dns_source dns;
	/* What an address is here. Errors as auth_lookup_rcpt. */
	enum err (*address_kind)(void *arg, const char *address, enum auth_rcpt_kind *kind);
	/* Errors as auth_may_send_as. */
	enum err (*may_send_as)(void *arg, const char *user, const char *address);
	/*
	 * Asks a policy server. OK: *action is an access action. NULL: there are no policy servers.
	 */
	enum err (*policy)(
		void *arg, const char *service, enum restrict_stage stage, struct buf *action);
	/* OK: *where is what relocated_maps say. E_NOTFOUND. NULL: nobody has moved. */
	enum err (*moved)(void *arg, const char *address, struct buf *where);
	/* Errors as greylist_check. NULL: nobody waits. */
	enum err (*greylist)(void *arg, const char *recipient, int64_t *wait_s);
};

/* What tables say about the message besides yes and no. Zero it; free it with the message. */
struct restrict_effects {
	char *hold; /* why; or NULL */
	char *discard;
	char *filter; /* TRANSPORT:NEXTHOP */
	char *redirect;
	char **bcc, **prepend; /* addresses; header fields */
	size_t bcc_count, prepend_count;
	/* A check that could not be made: the reply for what nothing else refuses. */
	char *defer_if_permit;
	/* The same for what something refuses for good. */
	char *defer_if_reject;
};
void restrict_effects_free(struct restrict_effects *e);
/* A further recipient. */
void restrict_effects_add_bcc(struct restrict_effects *e, struct str address);

enum restrict_verdict { RESTRICT_DUNNO, RESTRICT_OK, RESTRICT_REJECT };
/*
 * Runs a stage's list. RESTRICT_REJECT: *reply is the line for the client, without CRLF.
 */
enum restrict_verdict restrict_run(const struct restrict_set *s, enum restrict_stage stage,
	const struct restrict_facts *facts, const struct restrict_host *host,
	struct restrict_effects *effects, struct buf *reply);
/*
 * After the stages of RCPT, what Postfix refuses without being told
 * (smtpd_reject_unlisted_recipient): who has moved, and who is in relay_domains and not in
 * relay_recipient_maps. Users of our own domains are the caller's business.
 */
enum restrict_verdict restrict_unlisted_rcpt(const struct restrict_set *s,
	const struct restrict_facts *facts, const struct restrict_host *host,
	struct restrict_effects *effects, struct buf *reply);
/*
 * After the last stage of a command: RESTRICT_REJECT when a check that could not be made stands
 * against a yes (defer_if_permit). The note is dropped.
 */
enum restrict_verdict restrict_finish(struct restrict_effects *effects, struct buf *reply);

#endif
