/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_SMTPD_H
#define ROOST_MTA_SMTPD_H

#include "auth/auth_client.h"
#include "lib/session.h"
#include "mta-lite/dnsbl.h"
#include "mta-lite/queue_file.h"
#include "mta-lite/restrict.h"
#include "mta-lite/smtp_args.h"
#include "mta-lite/smtp_client.h"
#include "mta-lite/smtp_data.h"
#include "mta-lite/spf.h"
#include "mta-lite/spool.h"

/*
 * One SMTP client (RFC 5321). Where it came from decides what it may do:
 *   MX          port 25: mail for addresses here; elsewhere only from mynetworks
 *   SUBMISSION  587, 465: logged in, sender addresses of its own (RFC 6409)
 *   LOCAL       run/sendmail: a user of this machine
 *   REINJECT    listen_reinject: a content filter gives back what it got
 */
enum smtpd_kind { SMTPD_MX, SMTPD_SUBMISSION, SMTPD_LOCAL, SMTPD_REINJECT };

/* What was done to the mail before, or will be later: receive_override_options and the like. */
enum smtpd_override {
	SMTPD_NO_UNKNOWN_RECIPIENT_CHECKS = 1,
	SMTPD_NO_HEADER_BODY_CHECKS = 2,
	SMTPD_NO_MILTERS = 4,
	SMTPD_NO_ADDRESS_MAPPINGS = 8, /* canonical, virtual, masquerading, bcc */
};

enum { SMTPD_LINE_MAX = 4096, SMTPD_HOPS_MAX = 50, SMTPD_JUNK_MAX = 100 };

/* Whose mail it was before it went through a filter (XFORWARD); "" where it is not known. */
struct smtpd_origin {
	int known;
	char ip[NET_ADDR_TEXT], helo[256], ident[64];
};

/* All that belongs to one message; see smtpd_transaction_reset. */
struct smtpd_transaction {
	int open; /* MAIL was accepted */
	struct smtp_mail mail;
	struct queue_entry entry; /* final targets, without repetitions */
	void *seen; /* tsearch(3) tree of the targets' addresses, owned by entry */
	unsigned rcpt_count; /* accepted RCPT commands */
	unsigned rcpt_refused;
	char *first_rcpt; /* as given; for Received when it is the only one */
	const char *rcpt_now; /* while RCPT is looked at: borrowed */
	struct spool spool;
	struct smtp_data data;
	struct buf head; /* header fields that we add */
	int64_t started_ms;
	int bdat, bdat_failed; /* content came by BDAT; one of them was refused */
	int64_t content_ms; /* BDAT: when the first came, and how much since */
	uint64_t content_bytes;
	struct restrict_effects effects; /* what tables said of the message */
	struct smtpd_origin origin;
	struct spf_answer spf;
	int spf_known;
};

struct smtpd {
	struct session *session;
	const struct config *conf;
	struct stream *io;
	enum smtpd_kind kind;
	char *user; /* logged in; or NULL */
	int xclient; /* it may speak for others (smtpd_authorized_xclient_hosts) */
	int xforward; /* it may say whose mail it was (smtpd_authorized_xforward_hosts) */
	unsigned overrides; /* enum smtpd_override */
	int trusted; /* may send to other domains */
	long local_uid; /* LOCAL: who; -1 */
	int esmtp;
	char *helo; /* "" before HELO or EHLO; printable */
	struct net_addr peer;
	char peer_ip[NET_ADDR_TEXT];
	struct restrict_names names; /* of the peer; see smtpd_names */
	int names_known;
	struct dnsbl_score dnsbl; /* of the peer; see smtpd_dnsbl.h */
	int dnsbl_known;
	const char *etrn; /* the domain while the lists look at ETRN: borrowed */
	int pipelined; /* bytes came behind a command that must be the last of its group */
	char *known_address; /* the last one whose kind was asked for */
	enum auth_rcpt_kind known_kind;
	struct buf verdict; /* what the restrictions reply */
	int utf8_reply; /* the command allows a reply beyond ASCII: VRFY, EXPN with SMTPUTF8 */
	unsigned errors, junk;
	int quit; /* nothing more is read */
	int said_quit; /* by the client, in good order */
	char *spool_dir;
	struct auth_client *auth;
	struct smtp_client *lmtp; /* kept between messages; or NULL */
	struct smtpd_filter *filter; /* smtpd_filter.c's; or NULL */
	struct smtpd_policy *policy; /* smtpd_policy.c's; or NULL */
	struct smtpd_limit *limit; /* smtpd_limit.c's; or NULL */
	struct smtpd_transcript *transcript; /* smtpd_transcript.c's; or NULL */
	struct smtpd_transaction t;
};

/* The whole session: what session_program.run is. After QUIT the process can serve another client.
 */
int smtpd_run(struct session *s);
/* What session_program.release is. */
void smtpd_release(struct session *s);

/* The one way back to the start: nothing of a message, accepted or not, survives it. */
void smtpd_transaction_reset(struct smtpd *d);

/* The DNS for checks of this session. */
struct dns_source smtpd_dns(struct smtpd *d);

/* The client's name, made printable and short. */
void smtpd_set_helo(struct smtpd *d, struct str name);

/* Whether the peer is in one of the networks. */
int smtpd_in_networks(const struct conf_list *list, const struct net_addr *peer);

/*
 * Sends a reply line, CRLF is added. A 4xx or 5xx one counts as an error. Letters beyond ASCII
 * become "\x{HEX}" where the client has not allowed them.
 */
void smtpd_reply(struct smtpd *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Adds the final addresses of a recipient. */
void smtpd_add_targets(
	struct smtpd *d, const struct smtp_rcpt *rcpt, const struct auth_rcpt *found);
/* Takes a recipient's final addresses away again. Errors as auth_lookup_rcpt. */
enum err smtpd_remove_rcpt(struct smtpd *d, struct str address);
/* Drops all final addresses; those who were accepted stay counted. */
void smtpd_forget_targets(struct smtpd *d);
/* HOLD, FILTER, REDIRECT and BCC of access tables, and content_filter. NULL: done; else the reply
 * for the message. */
const char *smtpd_effects_apply(struct smtpd *d);

/* What XFORWARD tells a filter of the client, without IDENT (queue_entry.xforward). */
char *smtpd_xforward_text(struct smtpd *d);

/* A refusal of the whole message, for the log. */
void smtpd_log_reject(struct smtpd *d, const char *reply);

/* Commands; args: what stands behind the verb, trimmed. */
void smtpd_mail(struct smtpd *d, struct str args);
void smtpd_rcpt(struct smtpd *d, struct str args);
void smtpd_data(struct smtpd *d, struct str args);
void smtpd_bdat(struct smtpd *d, struct str args);
void smtpd_vrfy(struct smtpd *d, struct str args);
void smtpd_expn(struct smtpd *d, struct str args);
void smtpd_xclient(struct smtpd *d, struct str args);
void smtpd_xforward(struct smtpd *d, struct str args);
void smtpd_etrn(struct smtpd *d, struct str args);

/*
 * A complete message is in d->t: cut-through, queue, reply. Header fields to be added are in
 * d->t.head. 1: it was taken.
 */
int smtpd_deliver(struct smtpd *d);

/*
 * Builds d->t.head: Received and, for submissions, what RFC 6409 section 8 lets us add. header: the
 * content's first bytes with at least its header. *hops: Received fields that it had.
 */
void smtpd_head_write(struct smtpd *d, struct str header, unsigned *hops);

#endif
