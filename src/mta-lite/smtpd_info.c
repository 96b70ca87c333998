/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/smtpd_rules.h"

#include "mta-lite/smtpd_rewrite.h"

/* Commands about addresses: VRFY, EXPN. */

/* RFC 6531 section 3.7.4.2. */
static const char needs_utf8[] = "550 5.6.8 The answer has letters beyond ASCII";

/*
 * "user", "user@domain" or "<user@domain>", behind which SMTPUTF8 may stand: the reply may have
 * other letters then. 0: none of them.
 */
static int
take_address(struct smtpd *d, struct str args, struct smtp_path *path)
{
	const struct str word = STR(" SMTPUTF8");
	struct str s;

	if (d->conf->smtputf8_enable && args.len > word.len &&
		str_is_i(str_make(args.p + args.len - word.len, word.len), word.p)) {
		d->utf8_reply = 1;
		args = str_trim(str_make(args.p, args.len - word.len));
	}
	s = args;
	if (args.len > 0 && args.p[0] == '<')
		return smtp_path_cut(&s, path) == OK && s.len == 0 && path->address[0];
	return smtp_mailbox_parse(args, path) == OK;
}

/* Whoever asks for addresses one after the other is sent away like whoever guesses them. */
static void
count_question(struct smtpd *d)
{
	if (++d->junk > SMTPD_JUNK_MAX)
		d->errors++;
}

void
smtpd_vrfy(struct smtpd *d, struct str args)
{
	struct smtp_path path;
	struct auth_rcpt found;
	enum err e;

	count_question(d);
	if (args.len == 0) {
		smtpd_reply(d, "501 5.5.4 Syntax: VRFY address");
		return;
	}
	if (d->kind == SMTPD_SUBMISSION && d->user == NULL) {
		smtpd_reply(d, "530 5.7.0 Authentication required");
		return;
	}
	/* RFC 5321 section 7.3. */
	if (d->conf->disable_vrfy_command) {
		smtpd_reply(d, "252 2.0.0 Send a message to find out");
		return;
	}
	if (!take_address(d, args, &path) || path.domain == 0) {
		smtpd_reply(d, "501 5.1.3 Bad recipient address syntax");
		return;
	}
	if (!str_is_ascii(str_of(path.address)) && !d->utf8_reply) {
		smtpd_reply(d, "%s", needs_utf8);
		return;
	}
	e = smtpd_lookup_rcpt(d, str_of(path.address), &found);
	if (e)
		smtpd_reply(d, "451 4.3.0 Directory not available, try again later");
	else if (found.kind == AUTH_RCPT_MAILBOX || found.kind == AUTH_RCPT_ALIAS)
		smtpd_reply(d, "250 2.1.5 <%s>", path.address);
	else if (found.kind == AUTH_RCPT_REMOTE)
		smtpd_reply(d,
			d->trusted ? "252 2.0.0 <%s>" : "554 5.7.1 <%s>: Relay access denied",
			path.address);
	else
		smtpd_reply(d,
			"550 5.1.1 <%s>: Recipient address rejected: User unknown in virtual "
			"mailbox table",
			path.address);
	auth_rcpt_free(&found);
}

static int
all_ascii(const struct auth_rcpt *found)
{
	size_t i;

	for (i = 0; i < found->target_count; i++) {
		if (!str_is_ascii(str_of(found->targets[i].address)))
			return 0;
	}
	return 1;
}

static void
show_targets(struct smtpd *d, const struct auth_rcpt *found)
{
	size_t i;

	for (i = 0; i < found->target_count; i++)
		(void)stream_printf(d->io, "250%c2.1.5 <%s>\r\n",
			i + 1 < found->target_count ? '-' : ' ', found->targets[i].address);
}

void
smtpd_expn(struct smtpd *d, struct str args)
{
	struct smtp_path path;
	struct auth_rcpt found;
	enum err e;

	count_question(d);
	if (d->conf->disable_vrfy_command || !d->trusted) {
		smtpd_reply(d, "502 5.5.1 Lists are not shown here");
		return;
	}
	if (!take_address(d, args, &path) || path.domain == 0) {
		smtpd_reply(d, "501 5.5.4 Syntax: EXPN address");
		return;
	}
	e = smtpd_lookup_rcpt(d, str_of(path.address), &found);
	if (e)
		smtpd_reply(d, "451 4.3.0 Directory not available, try again later");
	else if (found.kind == AUTH_RCPT_ALIAS && found.target_count > 0 && !d->utf8_reply &&
		 !all_ascii(&found))
		smtpd_reply(d, "%s", needs_utf8);
	else if (found.kind == AUTH_RCPT_ALIAS && found.target_count > 0)
		show_targets(d, &found);
	else
		smtpd_reply(d, "550 5.1.1 <%s>: It is no alias here", path.address);
	auth_rcpt_free(&found);
}
