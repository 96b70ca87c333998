/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/smtpd_dnsbl.h"
#include "mta-lite/smtpd_filter.h"
#include "mta-lite/smtpd_limit.h"
#include "mta-lite/smtpd_rewrite.h"
#include "mta-lite/smtpd_rules.h"
#include "mta-lite/smtpd_spf.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/statvfs.h>
#include <time.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/ehlo.h"
#include "mta-lite/queue_store.h"

static void
log_reject(struct smtpd *d, const char *to, const char *reply)
{
	log_event(LOGL_INFO, "smtpd.reject", "ip", d->peer_ip, "helo", d->helo, "user", d->user,
		"from", d->t.mail.from.address, "to", to, "reply", reply, NULL);
}

static void
refuse(struct smtpd *d, const char *to, const char *reply)
{
	log_reject(d, to, reply);
	smtpd_reply(d, "%s", reply);
}

/* Whether the disk has room for the message and then some. */
static int
queue_has_room(struct smtpd *d, uint64_t size)
{
	struct statvfs fs;
	uint64_t need = size + (size >> 1) + (1 << 20);

	if (statvfs(d->spool_dir, &fs) != 0)
		return 1; /* the write will tell */
	return (uint64_t)fs.f_bavail * fs.f_frsize >= need;
}

/* The parameters behind a path, for filters. */
static struct str
behind_path(struct str args)
{
	size_t end = str_find(args, 0, '>');

	while (end + 1 < args.len && args.p[end + 1] != ' ')
		end = str_find(args, end + 1, '>');
	return end + 1 < args.len ? str_trim(str_make(args.p + end + 1, args.len - end - 1))
				  : str_make(NULL, 0);
}

static const char unsupported[] = "555 5.5.4 Unsupported parameter";

/* Parameters that are well formed and yet not for this session. NULL: they are all right. */
static const char *
extension_reject(struct smtpd *d, struct smtp_mail *mail)
{
	int64_t now = (int64_t)time(NULL);

	if (mail->require_tls && !d->session->info.tls)
		return "530 5.7.0 REQUIRETLS wants TLS: send STARTTLS first";
	if (mail->smtputf8 && !d->conf->smtputf8_enable)
		return unsupported;
	if (mail->hold_for || mail->hold_until) {
		if (d->kind != SMTPD_SUBMISSION)
			return unsupported;
		if (mail->hold_for)
			mail->hold_until = now + mail->hold_for;
		if (mail->hold_until > now + SMTP_HOLD_MAX)
			return "501 5.5.4 That is too far in the future";
	}
	return NULL;
}

/* RFC 6710 section 4.1: who is not trusted may be modest, but not jump the queue. */
static int
priority_of(const struct smtpd *d, const struct smtp_mail *mail)
{
	return mail->priority > 0 && !d->trusted ? 0 : mail->priority;
}

void
smtpd_mail(struct smtpd *d, struct str args)
{
	struct restrict_effects effects;
	struct smtpd_origin origin = d->t.origin;
	struct smtp_mail mail;
	const char *reject;

	if (d->t.open) {
		smtpd_reply(d, "503 5.5.1 MAIL was said already");
		return;
	}
	if (d->kind == SMTPD_SUBMISSION && d->user == NULL) {
		smtpd_reply(d, "530 5.7.0 Authentication required");
		return;
	}
	if (d->kind == SMTPD_REINJECT && !d->trusted) {
		smtpd_reply(d, "554 5.7.1 This port is for content filters (reinject_networks)");
		return;
	}
	if (d->helo[0] == '\0' && d->conf->smtpd_helo_required) {
		smtpd_reply(d, "503 5.5.1 Say HELO or EHLO first");
		return;
	}
	if (!d->conf->strict_rfc821_envelopes)
		args = smtp_args_add_brackets(args, &d->verdict);
	reject = smtp_mail_parse(args, d->esmtp, d->user != NULL, &mail);
	if (reject == NULL)
		reject = extension_reject(d, &mail);
	if (reject == NULL)
		reject = smtpd_rules_mail(d, mail.from.address);
	if (reject == NULL && mail.size > d->conf->max_message_size)
		reject = "552 5.3.4 Message too large";
	if (reject == NULL && !queue_has_room(d, mail.size))
		reject = "452 4.3.1 Not enough disk space";
	if (reject) {
		log_event(LOGL_INFO, "smtpd.reject", "ip", d->peer_ip, "helo", d->helo, "user",
			d->user, "from", mail.from.address, "reply", reject, NULL);
		smtpd_reply(d, "%s", reject);
		restrict_effects_free(&d->t.effects);
		return;
	}
	effects = d->t.effects;
	d->t.effects = (struct restrict_effects){0};
	smtpd_transaction_reset(d);
	d->t.effects = effects; /* what the lists noted before the answer */
	d->t.origin = origin;
	d->t.mail = mail;
	d->t.open = 1;
	queue_id_make(d->t.entry.id);
	d->t.started_ms = io_now_ms();
	reject = smtpd_filter_mail(d, behind_path(args));
	if (reject == NULL)
		reject = smtpd_rewrite_bcc(d, REWRITE_SENDER, mail.from.address);
	if (reject) {
		refuse(d, NULL, reject);
		smtpd_transaction_reset(d);
		return;
	}
	d->t.mail.priority = priority_of(d, &mail);
	if (d->t.mail.priority != mail.priority)
		smtpd_reply(d, "250 2.3.6 %d is the new priority assigned to the message",
			d->t.mail.priority);
	else
		smtpd_reply(d, "250 2.1.0 Ok");
}

static int
compare_addresses(const void *a, const void *b)
{
	return strcasecmp(a, b);
}

/* Adds a final address unless it is there already. Local parts of others are case-sensitive, but
 * two spellings of one address within one message never mean two people. */
static void
add_target(struct smtpd *d, const char *address, const struct smtp_rcpt *rcpt, unsigned notify,
	int local, int forwarded)
{
	struct queue_rcpt *r;

	if (tfind(address, &d->t.seen, compare_addresses))
		return;
	r = queue_entry_add_rcpt(&d->t.entry, address, rcpt->orcpt, notify, local);
	r->forwarded = forwarded && local == QUEUE_ELSEWHERE;
	(void)tsearch(r->address, &d->t.seen, compare_addresses);
}

/*
 * RFC 3461 section 5.2.7.3 (c): of an alias with several targets, SUCCESS is answered by an
 * "expanded" report and not passed on; with one target everything is passed on (5.2.7.2).
 */
void
smtpd_add_targets(struct smtpd *d, const struct smtp_rcpt *rcpt, const struct auth_rcpt *found)
{
	unsigned notify = rcpt->notify;
	size_t i;

	if (found->kind == AUTH_RCPT_REMOTE && found->target_count == 0) {
		add_target(d, rcpt->to.address, rcpt, notify, 0, 0);
		return;
	}
	if (found->target_count > 1 && (notify & DSN_NOTIFY_SUCCESS)) {
		struct queue_rcpt *alias =
			queue_entry_add_rcpt(&d->t.entry, rcpt->to.address, rcpt->orcpt, notify, 1);

		queue_rcpt_set(alias, QUEUE_EXPANDED, STR("2.1.5"),
			STR("expanded to the addresses behind the alias"), STR(""));
		notify &= ~(unsigned)DSN_NOTIFY_SUCCESS;
		/* An empty set would mean the default again. */
		if (notify == 0)
			notify = DSN_NOTIFY_NEVER;
	}
	for (i = 0; i < found->target_count; i++)
		add_target(d, found->targets[i].address, rcpt, notify, found->targets[i].local,
			found->kind == AUTH_RCPT_ALIAS);
}

enum err
smtpd_remove_rcpt(struct smtpd *d, struct str address)
{
	struct queue_entry *q = &d->t.entry;
	struct auth_rcpt found = {0};
	size_t i, k;
	enum err e = smtpd_lookup_rcpt(d, address, &found);

	for (i = q->rcpt_count; e == OK && i-- > 0;) {
		const char *target = q->rcpts[i].address;
		int is_it = found.kind == AUTH_RCPT_REMOTE && str_is_i(address, target);

		for (k = 0; k < found.target_count && !is_it; k++)
			is_it = strcasecmp(target, found.targets[k].address) == 0;
		if (!is_it)
			continue;
		(void)tdelete(target, &d->t.seen, compare_addresses);
		queue_entry_drop_rcpt(q, i);
	}
	auth_rcpt_free(&found);
	return e;
}

static const char no_such_user[] = "User unknown in virtual mailbox table";

static const char *
about(struct smtpd *d, const char *codes, const char *address, const char *text)
{
	buf_reset(&d->verdict);
	buf_printf(&d->verdict, "%s <%s>: Recipient address rejected: %s", codes, address, text);
	return buf_cstr(&d->verdict);
}

/* It was found when the message came first; if not any more, roost-lmtp says so. */
static void
take_unknown(struct smtpd *d, const char *address, struct auth_rcpt *found)
{
	if (!(d->overrides & SMTPD_NO_UNKNOWN_RECIPIENT_CHECKS) ||
		(found->kind != AUTH_RCPT_UNKNOWN && found->kind != AUTH_RCPT_NO_DOMAINS &&
			found->kind != AUTH_RCPT_DISABLED))
		return;
	auth_rcpt_free(found);
	found->kind = AUTH_RCPT_MAILBOX;
	found->targets = MEM_NEW(struct auth_rcpt_target);
	found->targets[0] = (struct auth_rcpt_target){mem_strdup(address), QUEUE_MAILBOX};
	found->target_count = 1;
}

/* What the directory says of a recipient that the restrictions let through. */
static const char *
lookup_reject(struct smtpd *d, enum err e, const char *address, const struct auth_rcpt *found)
{
	if (e)
		return e == E_PARSE || e == E_RANGE || e == E_TOOBIG
			       ? "550 5.1.3 Bad recipient address"
			       : "451 4.3.0 Directory not available, try again later";
	switch (found->kind) {
	case AUTH_RCPT_MAILBOX:
	case AUTH_RCPT_ALIAS:
		if (found->target_count == 0)
			return about(d, "550 5.1.1", address, no_such_user);
		if (found->target_count > QUEUE_RCPTS_MAX - d->t.entry.rcpt_count - 1)
			return "452 4.5.3 Too many recipients";
		return NULL;
	case AUTH_RCPT_REMOTE:
		/* The lists let it through; smtpd_relay_restrictions is always one of them. */
		return NULL;
	case AUTH_RCPT_UNKNOWN:
	case AUTH_RCPT_NO_DOMAINS:
		return about(d, "550 5.1.1", address, no_such_user);
	case AUTH_RCPT_DISABLED:
		return about(d, "550 5.2.1", address, "Mailbox disabled");
	case AUTH_RCPT_LOOP:
		return about(d, "554 5.4.6", address, "Alias loop");
	}
	return "451 4.3.0 Directory not available, try again later";
}

void
smtpd_rcpt(struct smtpd *d, struct str args)
{
	struct auth_rcpt found = {0};
	struct smtp_rcpt rcpt;
	const char *reject;
	enum err e;

	if (!d->t.open || d->t.bdat) {
		smtpd_reply(
			d, "503 5.5.1 %s", d->t.bdat ? "RCPT after BDAT" : "Need MAIL before RCPT");
		return;
	}
	if (!d->conf->strict_rfc821_envelopes)
		args = smtp_args_add_brackets(args, &d->verdict);
	reject = smtp_rcpt_parse(args, d->esmtp, d->t.mail.smtputf8, &rcpt);
	/* The address is ASCII then; RFC 6533 section 3 would have ORCPT in other letters. */
	if (reject == NULL && !d->conf->smtputf8_enable && !str_is_ascii(args))
		reject = unsupported;
	if (reject == NULL && d->t.rcpt_count >= (unsigned)d->conf->smtpd_recipient_limit)
		reject = "452 4.5.3 Too many recipients";
	if (reject == NULL && d->t.entry.rcpt_count + 2 >= QUEUE_RCPTS_MAX)
		reject = "452 4.5.3 Too many recipients";
	d->t.rcpt_now = rcpt.to.address;
	if (reject == NULL)
		reject = smtpd_dnsbl_reject(d);
	if (reject == NULL)
		reject = smtpd_rules_rcpt(d, rcpt.to.address);
	if (reject == NULL)
		reject = smtpd_spf_rcpt(d);
	if (reject == NULL)
		reject = smtpd_srs_reject(d, rcpt.to.address);
	if (reject == NULL) {
		e = smtpd_lookup_rcpt(d, str_of(rcpt.to.address), &found);
		if (e == OK)
			take_unknown(d, rcpt.to.address, &found);
		reject = lookup_reject(d, e, rcpt.to.address, &found);
		if (reject == NULL && found.kind == AUTH_RCPT_REMOTE)
			reject = smtpd_closed(
				d, found.target_count ? found.targets[0].address : rcpt.to.address);
		if (reject == NULL)
			reject = smtpd_limit_rcpt(d);
		if (reject == NULL)
			reject = smtpd_filter_rcpt(d, rcpt.to.address, behind_path(args));
		if (reject == NULL)
			reject = smtpd_rewrite_bcc(d, REWRITE_RECIPIENT, rcpt.to.address);
		if (reject == NULL) {
			smtpd_add_targets(d, &rcpt, &found);
			if (d->t.rcpt_count++ == 0)
				d->t.first_rcpt = mem_strdup(rcpt.to.address);
		}
		auth_rcpt_free(&found);
	}
	d->t.rcpt_now = NULL;
	if (reject) {
		d->t.rcpt_refused++;
		refuse(d, rcpt.to.address, reject);
		return;
	}
	smtpd_reply(d, "250 2.1.5 Ok");
}
