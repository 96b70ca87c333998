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

enum err
smtpd_lookup_rcpt(struct smtpd *d, struct str address, struct auth_rcpt *out)
{
	const struct rcpt_lookup l = {d->conf, d->auth, rewrite, aliases};

	return rcpt_lookup(&l, address, out);
}

const char *
smtpd_relocated(struct smtpd *d, const char *address)
{
	struct buf where = BUF_INIT(MAP_VALUE_MAX);
	const char *reply = NULL;
	enum err e = rewrite_relocated(rewrite, str_of(address), &where);

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
	enum err e = rewrite_bcc(rewrite, c, str_of(address), &copy);

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
	enum err e = rewrite_envelope(rewrite, REWRITE_SENDER, str_of(d->t.entry.sender), &out);

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
	return (d->kind != SMTPD_MX || d->trusted) && rewrite_changes_header(rewrite);
}

const char *
smtpd_rewrite_message(struct smtpd *d, struct content *c)
{
	return smtpd_rewrite_wants_message(d) && rewrite_header(rewrite, c) ? busy : NULL;
}
