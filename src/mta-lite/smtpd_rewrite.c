/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/smtpd_rewrite.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/mem.h"
#include "mta-lite/rcpt_lookup.h"
#include "mta-lite/route.h"

/* Made once in the warm parent; children only read it. */
static struct rewrite *rewrite;
static struct aliases *aliases;
static struct routes *routes; /* NULL: they could not be opened, roost-qmgr says so */
static struct srs *srs;

static const char busy[] = "451 4.3.0 Tables not available, try again later";

enum err
smtpd_rewrite_open(const struct config *conf, struct maps *maps)
{
	enum err e = rewrite_open(conf, maps, &rewrite);

	if (routes_open(conf, maps, &routes))
		routes = NULL;
	if (e == OK)
		e = aliases_open(conf, maps, &aliases);
	return e ? e : srs_open(conf, &srs);
}

void
smtpd_rewrite_sandbox(struct sandbox *sb)
{
	srs_sandbox(srs, sb);
}

void
smtpd_rewrite_refresh(void)
{
	srs_refresh(srs);
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
	const struct rcpt_lookup l = {d->conf, d->auth, rewrite, aliases, srs};
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
	const char *reply = NULL;
	char code[DSN_CODE_SIZE];
	struct route route;
	struct str text;

	if (route_transport(routes, address, &route) == OK && route.kind == ROUTE_ERROR) {
		route_refusal(&route, code, &text);
		buf_reset(&d->verdict);
		buf_printf(&d->verdict, "550 %s <%s>: Recipient address rejected: %.*s", code,
			address, STR_ARG(text));
		reply = buf_cstr(&d->verdict);
	}
	route_free(&route);
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

/* ---- SRS ---- */

const char *
smtpd_srs_reject(struct smtpd *d, const char *address)
{
	struct buf sender = {0};
	enum err e = srs_reverse(srs, str_of(address), (int64_t)time(NULL), &sender);
	const char *why = "The hash of this SRS address does not hold";

	buf_free(&sender);
	if (e == OK || e == E_NOTFOUND)
		return NULL;
	if (e == E_RANGE)
		why = "This SRS address has expired";
	else if (e != E_ACCESS)
		why = "This SRS address is malformed";
	buf_reset(&d->verdict);
	buf_printf(&d->verdict, "550 5.7.1 <%s>: Recipient address rejected: %s", address, why);
	return buf_cstr(&d->verdict);
}

const char *
smtpd_srs_mark(struct smtpd *d)
{
	const struct rcpt_lookup l = {d->conf, d->auth, rewrite, aliases, srs};
	struct queue_entry *q = &d->t.entry;
	size_t i = 0;
	int rewrites;

	while (i < q->rcpt_count && !q->rcpts[i].forwarded)
		i++;
	if (i == q->rcpt_count)
		return NULL;
	if (rcpt_lookup_rewrites_sender(&l, q->sender, &rewrites))
		return busy;
	for (; i < q->rcpt_count && !rewrites; i++)
		q->rcpts[i].forwarded = 0;
	return NULL;
}

char *
smtpd_srs_sender(const struct smtpd *d)
{
	const struct queue_entry *q = &d->t.entry;
	struct buf sender = {0};
	size_t i = 0;

	while (i < q->rcpt_count && !q->rcpts[i].forwarded)
		i++;
	if (i == q->rcpt_count || srs_forward(srs, q->sender, q->arrival, &sender)) {
		buf_free(&sender);
		return mem_strdup(q->sender);
	}
	return buf_steal(&sender);
}
