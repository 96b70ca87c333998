/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/smtpd_rewrite.h"

#include <stdlib.h>
#include <string.h>

#include "mta-lite/rcpt_lookup.h"

/* Made once in the warm parent; children only read it. */
static struct rewrite *rewrite;
static struct aliases *aliases;

static const char busy[] = "451 4.3.0 Tables not available, try again later";

enum err
smtpd_rewrite_open(const struct config *conf, struct maps *maps)
{
	enum err e = rewrite_open(conf, maps, &rewrite);

	return e ? e : aliases_open(conf, maps, &aliases);
}

/*
 * An alias that names its own mailbox, too, was followed before: its other addresses are recipients
 * of their own, and would get the message twice.
 */
static void
keep_own_mailbox(struct str address, struct auth_rcpt *found)
{
	size_t i;

	for (i = 0; found->target_count > 1 && i < found->target_count; i++) {
		struct auth_rcpt_target first = found->targets[0];

		if (found->targets[i].local != QUEUE_MAILBOX ||
			!str_is_i(address, found->targets[i].address))
			continue;
		found->targets[0] = found->targets[i];
		found->targets[i] = first;
		while (found->target_count > 1)
			free(found->targets[--found->target_count].address);
	}
}

enum err
smtpd_lookup_rcpt(struct smtpd *d, struct str address, struct auth_rcpt *out)
{
	const struct rcpt_lookup l = {d->conf, d->auth, rewrite, aliases};
	enum err e;

	if (!(d->overrides & SMTPD_NO_ADDRESS_MAPPINGS))
		return rcpt_lookup(&l, address, out);
	e = rcpt_lookup_here(&l, address, out);
	if (e == OK)
		keep_own_mailbox(address, out);
	return e;
}

const char *
smtpd_relocated(struct smtpd *d, const char *address)
{
	struct buf where = BUF_INIT(MAP_VALUE_MAX);
	const char *reply = NULL;
	enum err e = d->overrides & SMTPD_NO_UNKNOWN_RECIPIENT_CHECKS
			     ? E_NOTFOUND
			     : rewrite_relocated(rewrite, str_of(address), &where);

	if (e == OK) {
		/* RFC 3463 section 3.2: X.1.6. */
		buf_reset(&d->verdict);
		buf_printf(&d->verdict,
			"550 5.1.6 <%s>: Recipient address rejected: User has moved to %.200s",
			address, buf_cstr(&where));
		reply = buf_cstr(&d->verdict);
	} else if (e != E_NOTFOUND) {
		reply = busy;
	}
	buf_free(&where);
	return reply;
}

const char *
smtpd_rewrite_bcc(struct smtpd *d, enum rewrite_class c, const char *address)
{
	struct buf copy = BUF_INIT(MAP_VALUE_MAX);
	enum err e;

	if (d->overrides & SMTPD_NO_ADDRESS_MAPPINGS)
		return NULL;
	e = rewrite_bcc(rewrite, c, str_of(address), &copy);

	if (e == OK)
		restrict_effects_add_bcc(&d->t.effects, str_trim(buf_str(&copy)));
	if (c == REWRITE_SENDER && d->conf->always_bcc[0])
		restrict_effects_add_bcc(&d->t.effects, str_of(d->conf->always_bcc));
	buf_free(&copy);
	return e == OK || e == E_NOTFOUND ? NULL : busy;
}

const char *
smtpd_rewrite_sender(struct smtpd *d)
{
	struct buf out = BUF_INIT(MAP_KEY_MAX);
	enum err e;

	if (d->overrides & SMTPD_NO_ADDRESS_MAPPINGS)
		return NULL;
	e = rewrite_envelope(rewrite, REWRITE_SENDER, str_of(d->t.entry.sender), &out);
	if (e == OK && strcmp(buf_cstr(&out), d->t.entry.sender) != 0) {
		free(d->t.entry.sender);
		d->t.entry.sender = buf_steal(&out);
	}
	buf_free(&out);
	return e ? busy : NULL;
}

int
smtpd_rewrite_wants_message(const struct smtpd *d)
{
	/* What comes back from a filter was rewritten, or was somebody else's. */
	return (d->kind != SMTPD_MX || d->trusted) && d->kind != SMTPD_REINJECT &&
	       rewrite_changes_header(rewrite);
}

const char *
smtpd_rewrite_message(struct smtpd *d, struct content *c)
{
	return smtpd_rewrite_wants_message(d) && rewrite_header(rewrite, c) ? busy : NULL;
}
