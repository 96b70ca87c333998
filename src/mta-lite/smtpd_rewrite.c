/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/smtpd_rewrite.h"

#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "mta-lite/dsn.h"
#include "mta-lite/rcpt_lookup.h"
#include "mta-lite/route.h"

/* Made once in the warm parent; children only read it. */
static struct rewrite *rewrite;
static struct aliases *aliases;
static struct routes *routes; /* NULL: they could not be opened, roost-qmgr says so */

static const char busy[] = "451 4.3.0 Tables not available, try again later";

enum err
smtpd_rewrite_open(const struct config *conf, struct maps *maps)
{
	enum err e = rewrite_open(conf, maps, &rewrite);

	if (routes_open(conf, maps, &routes))
		routes = NULL;
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

enum err
smtpd_find_moved(void *arg, const char *address, struct buf *where)
{
	(void)arg;
	return rewrite_relocated(rewrite, str_of(address), where);
}

const char *
smtpd_closed(struct smtpd *d, const char *address)
{
	struct queue_entry q = {.sender = d->t.mail.from.address};
	struct queue_rcpt rcpt = {.address = mem_strdup(address)};
	const char *reply = NULL;
	char code[DSN_CODE_SIZE] = "5.1.2";
	struct route route = {0};
	struct str text;

	if (routes && route_find(routes, &q, &rcpt, &route) == OK && route.kind == ROUTE_ERROR) {
		text = buf_str(&route.hop);
		(void)dsn_code_cut(&text, code);
		code[0] = '5';
		if (text.len == 0)
			text = STR("mail is not accepted");
		buf_reset(&d->verdict);
		buf_printf(&d->verdict, "550 %s <%s>: Recipient address rejected: %.*s", code,
			address, STR_ARG(text));
		reply = buf_cstr(&d->verdict);
	}
	route_free(&route);
	free(rcpt.address);
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
