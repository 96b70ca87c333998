/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/mem.h"
#include "mta-lite/restrict_private.h"
#include "mta-lite/words.h"

/* Who may do something here: networks, log-ins, destinations, owners of addresses. */

enum { SLEEP_MAX_S = 60 };

static enum restrict_verdict
permit(struct restrict_run *r, const struct check *c)
{
	(void)r;
	(void)c;
	return RESTRICT_OK;
}

static enum restrict_verdict
reject(struct restrict_run *r, const struct check *c)
{
	struct buf space = {0};
	enum restrict_verdict v = restrict_reject(r, 554, "5.7.1", restrict_stage_name(r, &space),
		restrict_stage_class(r), "Access denied");

	(void)c;
	buf_free(&space);
	return v;
}

static enum restrict_verdict
defer(struct restrict_run *r, const struct check *c)
{
	struct buf space = {0};
	enum restrict_verdict v = restrict_reject(r, 450, "4.3.2", restrict_stage_name(r, &space),
		restrict_stage_class(r), "Try again later");

	(void)c;
	buf_free(&space);
	return v;
}

static enum restrict_verdict
defer_if_permit(struct restrict_run *r, const struct check *c)
{
	struct buf space = {0};

	(void)c;
	restrict_defer_if_permit(r, 450, "4.3.2", restrict_stage_name(r, &space),
		restrict_stage_class(r), "defer_if_permit requested");
	buf_free(&space);
	return RESTRICT_DUNNO;
}

static enum restrict_verdict
defer_if_reject(struct restrict_run *r, const struct check *c)
{
	struct buf space = {0};

	(void)c;
	restrict_defer_if_reject(r, "4.3.2", restrict_stage_name(r, &space),
		restrict_stage_class(r), "defer_if_reject requested");
	buf_free(&space);
	return RESTRICT_DUNNO;
}

static enum restrict_verdict
permit_mynetworks(struct restrict_run *r, const struct check *c)
{
	(void)c;
	return restrict_in_mynetworks(r) ? RESTRICT_OK : RESTRICT_DUNNO;
}

static enum restrict_verdict
permit_inet_interfaces(struct restrict_run *r, const struct check *c)
{
	(void)c;
	return net_addr_is_loopback(r->facts->client) ? RESTRICT_OK : RESTRICT_DUNNO;
}

static enum restrict_verdict
permit_sasl_authenticated(struct restrict_run *r, const struct check *c)
{
	(void)c;
	return r->facts->user ? RESTRICT_OK : RESTRICT_DUNNO;
}

/* The fingerprints of those who may, in relay_clientcerts. */
static enum restrict_verdict
permit_tls_clientcerts(struct restrict_run *r, const struct check *c)
{
	struct buf value = {0};
	enum err e = E_NOTFOUND;

	(void)c;
	if (r->facts->tls_fingerprint && r->facts->tls_fingerprint[0])
		e = map_list_find(&r->set->client_certs, str_of(r->facts->tls_fingerprint), &value);
	buf_free(&value);
	if (e == OK)
		return RESTRICT_OK;
	if (e != E_NOTFOUND)
		restrict_defer_if_permit(r, 451, "4.3.0", r->facts->client_ip,
			restrict_class_client, "Temporary lookup failure");
	return RESTRICT_DUNNO;
}

static enum restrict_verdict
permit_tls_all_clientcerts(struct restrict_run *r, const struct check *c)
{
	(void)c;
	return r->facts->tls_fingerprint && r->facts->tls_fingerprint[0] ? RESTRICT_OK
									 : RESTRICT_DUNNO;
}

static enum restrict_verdict
reject_plaintext_session(struct restrict_run *r, const struct check *c)
{
	(void)c;
	return r->facts->tls
		       ? RESTRICT_DUNNO
		       : restrict_reject_text(r, 450, "4.7.1", "Session encryption is required");
}

/* ---- destinations ---- */

/* OK: ours, or one of relay_domains; E_NOTFOUND: elsewhere; other errors: nobody knows. */
static enum err
destination(struct restrict_run *r)
{
	enum auth_rcpt_kind kind;
	enum err e;

	if (r->facts->recipient == NULL)
		return OK;
	e = r->host->address_kind(r->host->arg, r->facts->recipient, &kind);
	/* What is no address leads nowhere. */
	if (e == E_PARSE || e == E_RANGE || e == E_TOOBIG)
		return E_NOTFOUND;
	if (e)
		return E_TEMPFAIL;
	return kind == AUTH_RCPT_REMOTE ? restrict_relay_domain(r->set, r->facts->recipient) : OK;
}

static enum restrict_verdict
unknown_destination(struct restrict_run *r)
{
	return restrict_reject(r, 451, "4.3.0", r->facts->recipient, restrict_class_recipient,
		"Temporary lookup failure");
}

static enum restrict_verdict
permit_auth_destination(struct restrict_run *r, const struct check *c)
{
	(void)c;
	switch (destination(r)) {
	case OK:
		return r->facts->recipient ? RESTRICT_OK : RESTRICT_DUNNO;
	case E_NOTFOUND:
		return RESTRICT_DUNNO;
	default:
		return unknown_destination(r);
	}
}

/*
 * Whether no domain is ours. Then more likely the directory is not the one that it was (an empty
 * database where a disk is not mounted) than that nothing is ours: mail must not come back for it.
 */
static int
nothing_is_ours(struct restrict_run *r)
{
	enum auth_rcpt_kind kind;

	return r->host->address_kind(r->host->arg, "postmaster", &kind) == OK &&
	       kind == AUTH_RCPT_NO_DOMAINS;
}

static enum restrict_verdict
refuse_elsewhere(struct restrict_run *r, int code, const char *dsn)
{
	char *text;
	enum restrict_verdict v;

	switch (destination(r)) {
	case OK:
		return RESTRICT_DUNNO;
	case E_NOTFOUND:
		if (nothing_is_ours(r))
			return restrict_reject(r, 451, "4.3.5", r->facts->recipient,
				restrict_class_recipient, "No domain is set up here");
		text = mem_printf("<%s>: Relay access denied", r->facts->recipient);
		v = restrict_reject_text(r, code, dsn, text);
		free(text);
		return v;
	default:
		return unknown_destination(r);
	}
}

static enum restrict_verdict
reject_unauth_destination(struct restrict_run *r, const struct check *c)
{
	(void)c;
	return refuse_elsewhere(r, 554, "5.7.1");
}

static enum restrict_verdict
defer_unauth_destination(struct restrict_run *r, const struct check *c)
{
	(void)c;
	return refuse_elsewhere(r, 454, "4.7.1");
}

/* OK; E_NOTFOUND: nobody has the address, *text says in which table; E_TEMPFAIL. */
static enum err
listed(struct restrict_run *r, const char *address, const char **text)
{
	enum auth_rcpt_kind kind;
	enum err e = r->host->address_kind(r->host->arg, address, &kind);

	*text = "User unknown in virtual mailbox table";
	if (e == E_PARSE || e == E_RANGE || e == E_TOOBIG)
		return OK;
	if (e || kind == AUTH_RCPT_UNKNOWN)
		return e ? E_TEMPFAIL : E_NOTFOUND;
	if (kind != AUTH_RCPT_REMOTE)
		return OK;
	*text = "User unknown in relay recipient table";
	e = restrict_relay_domain(r->set, address);
	if (e == E_NOTFOUND)
		return OK;
	return e ? e : restrict_relay_recipient(r->set, address);
}

static enum restrict_verdict
reject_unlisted(struct restrict_run *r, const char *address, const char *class, const char *dsn)
{
	const char *text;

	if (address == NULL || address[0] == '\0')
		return RESTRICT_DUNNO;
	switch (listed(r, address, &text)) {
	case OK:
		return RESTRICT_DUNNO;
	case E_NOTFOUND:
		return restrict_reject(r, 550, dsn, address, class, text);
	default:
		return restrict_reject(r, 451, "4.3.0", address, class, "Temporary lookup failure");
	}
}

/* RFC 3463 section 3.2: X.1.6. */
static enum restrict_verdict
reject_moved(struct restrict_run *r, const char *address)
{
	enum restrict_verdict v = RESTRICT_DUNNO;
	struct buf where = {0};
	enum err e = E_NOTFOUND;
	char *text;

	if (address && address[0] && r->host->moved)
		e = r->host->moved(r->host->arg, address, &where);
	if (e == OK) {
		text = mem_printf("User has moved to %.200s", buf_cstr(&where));
		v = restrict_reject(r, 550, "5.1.6", address, restrict_class_recipient, text);
		free(text);
	} else if (e != E_NOTFOUND) {
		v = unknown_destination(r);
	}
	buf_free(&where);
	return v;
}

enum restrict_verdict
restrict_unlisted_rcpt(const struct restrict_set *s, const struct restrict_facts *facts,
	const struct restrict_host *host, struct restrict_effects *effects, struct buf *reply)
{
	struct restrict_run r = {
		.set = s,
		.stage = RESTRICT_RECIPIENT,
		.facts = facts,
		.host = host,
		.effects = effects,
		.reply = reply,
	};
	enum restrict_verdict v = reject_moved(&r, facts->recipient);
	enum auth_rcpt_kind kind;

	if (v != RESTRICT_DUNNO)
		return v;
	if (s->relay.recipients.count == 0 ||
		host->address_kind(host->arg, facts->recipient, &kind) != OK ||
		kind != AUTH_RCPT_REMOTE)
		return RESTRICT_DUNNO;
	return reject_unlisted(&r, facts->recipient, restrict_class_recipient, "5.1.1");
}

static enum restrict_verdict
reject_unlisted_recipient(struct restrict_run *r, const struct check *c)
{
	enum restrict_verdict v = reject_moved(r, r->facts->recipient);

	(void)c;
	if (v != RESTRICT_DUNNO)
		return v;
	return reject_unlisted(r, r->facts->recipient, restrict_class_recipient, "5.1.1");
}

static enum restrict_verdict
reject_unlisted_sender(struct restrict_run *r, const struct check *c)
{
	(void)c;
	return reject_unlisted(r, r->facts->sender, restrict_class_sender, "5.1.0");
}

/* ---- owners of sender addresses ---- */

enum owner { OWNER_NOBODY, OWNER_USER, OWNER_OTHER, OWNER_UNKNOWN };

static int
in_list(struct str list, const char *user)
{
	struct str word;

	while (words_next(&list, &word, NULL)) {
		if (str_is_i(word, user))
			return 1;
	}
	return 0;
}

/* smtpd_sender_login_maps: the address's owners, separated by commas. */
static enum owner
owner_by_maps(struct restrict_run *r)
{
	const char *delimiter = r->set->conf->recipient_delimiter;
	struct map_address a = {str_of(r->facts->sender), delimiter ? delimiter[0] : '\0', 0};
	struct buf value = {0};
	enum err e = map_find_address(&r->set->login_maps, &a, map_keys_rewrite, &value, NULL);
	enum owner owner = OWNER_UNKNOWN;

	if (e == E_NOTFOUND)
		owner = OWNER_NOBODY;
	else if (e == OK)
		owner = r->facts->user && in_list(buf_str(&value), r->facts->user) ? OWNER_USER
										   : OWNER_OTHER;
	buf_free(&value);
	return owner;
}

/* Without tables the directory knows: addresses, aliases, subaddresses, catch-alls. */
static enum owner
owner_by_directory(struct restrict_run *r)
{
	enum auth_rcpt_kind kind;
	enum err e;

	if (r->facts->user) {
		e = r->host->may_send_as(r->host->arg, r->facts->user, r->facts->sender);
		if (e == OK)
			return OWNER_USER;
		if (e != E_ACCESS && e != E_NOTFOUND && e != E_PARSE)
			return OWNER_UNKNOWN;
	}
	e = r->host->address_kind(r->host->arg, r->facts->sender, &kind);
	if (e == E_PARSE || e == E_RANGE || e == E_TOOBIG)
		return OWNER_NOBODY;
	if (e)
		return OWNER_UNKNOWN;
	return kind == AUTH_RCPT_MAILBOX || kind == AUTH_RCPT_ALIAS ? OWNER_OTHER : OWNER_NOBODY;
}

/* strangers: senders whose address belongs to somebody here must log in. */
static enum restrict_verdict
check_owner(struct restrict_run *r, int users, int strangers, int known_only)
{
	const char *sender = r->facts->sender;
	enum restrict_verdict v;
	enum owner owner;
	char *text;

	if (sender == NULL || sender[0] == '\0' || (r->facts->user ? !users : !strangers))
		return RESTRICT_DUNNO;
	owner = r->set->login_maps.count > 0 ? owner_by_maps(r) : owner_by_directory(r);
	if (owner == OWNER_UNKNOWN)
		return restrict_reject(
			r, 451, "4.3.0", sender, restrict_class_sender, "Temporary lookup failure");
	if (owner == OWNER_USER)
		return RESTRICT_DUNNO;
	if (r->facts->user == NULL)
		return owner == OWNER_NOBODY ? RESTRICT_DUNNO
					     : restrict_reject(r, 553, "5.7.1", sender,
						       restrict_class_sender, "not logged in");
	if (owner == OWNER_NOBODY && known_only)
		return RESTRICT_DUNNO;
	text = mem_printf("not owned by user %s", r->facts->user);
	v = restrict_reject(r, 553, "5.7.1", sender, restrict_class_sender, text);
	free(text);
	return v;
}

static enum restrict_verdict
reject_sender_login_mismatch(struct restrict_run *r, const struct check *c)
{
	(void)c;
	return check_owner(r, 1, 1, 0);
}

static enum restrict_verdict
reject_authenticated_sender_login_mismatch(struct restrict_run *r, const struct check *c)
{
	(void)c;
	return check_owner(r, 1, 0, 0);
}

static enum restrict_verdict
reject_unauthenticated_sender_login_mismatch(struct restrict_run *r, const struct check *c)
{
	(void)c;
	return check_owner(r, 0, 1, 0);
}

static enum restrict_verdict
reject_known_sender_login_mismatch(struct restrict_run *r, const struct check *c)
{
	(void)c;
	return check_owner(r, 1, 1, 1);
}

/* ---- the dialogue ---- */

static enum restrict_verdict
reject_unauth_pipelining(struct restrict_run *r, const struct check *c)
{
	struct buf space = {0};
	enum restrict_verdict v = RESTRICT_DUNNO;

	(void)c;
	if (r->facts->pipelined)
		v = restrict_reject(r, 503, "5.5.0", restrict_stage_name(r, &space),
			restrict_stage_class(r), "Improper use of SMTP command pipelining");
	buf_free(&space);
	return v;
}

static enum restrict_verdict
reject_multi_recipient_bounce(struct restrict_run *r, const struct check *c)
{
	const char *sender = r->facts->sender;
	struct buf space = {0};
	enum restrict_verdict v = RESTRICT_DUNNO;

	(void)c;
	if (sender && sender[0] == '\0' && r->facts->recipient_count > 1)
		v = restrict_reject(r, 550, "5.5.3", restrict_stage_name(r, &space),
			restrict_stage_class(r), "Multi-recipient bounce");
	buf_free(&space);
	return v;
}

static enum restrict_verdict
run_sleep(struct restrict_run *r, const struct check *c)
{
	struct timespec pause = {0};
	uint32_t seconds = 0;

	(void)r;
	if (str_to_u32(str_of(c->text), &seconds) == OK)
		pause.tv_sec = seconds < SLEEP_MAX_S ? seconds : SLEEP_MAX_S;
	(void)nanosleep(&pause, NULL);
	return RESTRICT_DUNNO;
}

const struct check_type restrict_permits[] = {
	{"permit", ARG_NONE, 0, permit},
	{"reject", ARG_NONE, 0, reject},
	{"defer", ARG_NONE, 0, defer},
	{"defer_if_permit", ARG_NONE, 0, defer_if_permit},
	{"defer_if_reject", ARG_NONE, 0, defer_if_reject},
	{"permit_mynetworks", ARG_NONE, 0, permit_mynetworks},
	{"permit_inet_interfaces", ARG_NONE, 0, permit_inet_interfaces},
	{"permit_sasl_authenticated", ARG_NONE, 0, permit_sasl_authenticated},
	{"permit_tls_clientcerts", ARG_NONE, 0, permit_tls_clientcerts},
	{"permit_tls_all_clientcerts", ARG_NONE, 0, permit_tls_all_clientcerts},
	{"reject_plaintext_session", ARG_NONE, 0, reject_plaintext_session},
	{"permit_auth_destination", ARG_NONE, 0, permit_auth_destination},
	{"reject_unauth_destination", ARG_NONE, 0, reject_unauth_destination},
	{"defer_unauth_destination", ARG_NONE, 0, defer_unauth_destination},
	{"reject_unlisted_recipient", ARG_NONE, 0, reject_unlisted_recipient},
	{"reject_unlisted_sender", ARG_NONE, 0, reject_unlisted_sender},
	{"reject_sender_login_mismatch", ARG_NONE, 0, reject_sender_login_mismatch},
	{"reject_authenticated_sender_login_mismatch", ARG_NONE, 0,
		reject_authenticated_sender_login_mismatch},
	{"reject_unauthenticated_sender_login_mismatch", ARG_NONE, 0,
		reject_unauthenticated_sender_login_mismatch},
	{"reject_known_sender_login_mismatch", ARG_NONE, 0, reject_known_sender_login_mismatch},
	{"reject_unauth_pipelining", ARG_NONE, 0, reject_unauth_pipelining},
	{"reject_multi_recipient_bounce", ARG_NONE, 0, reject_multi_recipient_bounce},
	{"sleep", ARG_TEXT, 0, run_sleep},
	/* The list's evaluation itself sees to it. */
	{"warn_if_reject", ARG_NONE, 0, permit},
	{NULL, ARG_NONE, 0, NULL},
};
