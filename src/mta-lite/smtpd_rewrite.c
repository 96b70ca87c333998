/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/smtpd_rewrite.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/log.h"
#include "lib/mem.h"

/* Made once in the warm parent; children only read it. */
static struct rewrite *rewrite;

static const char busy[] = "451 4.3.0 Tables not available, try again later";

enum err
smtpd_rewrite_open(const struct config *conf, struct maps *maps)
{
	return rewrite_open(conf, maps, &rewrite);
}

static void
add_target(struct auth_rcpt *r, const char *address, int local)
{
	size_t i;

	for (i = 0; i < r->target_count; i++) {
		if (strcasecmp(r->targets[i].address, address) == 0)
			return;
	}
	r->targets = mem_realloc(r->targets, r->target_count + 1, sizeof(*r->targets));
	r->targets[r->target_count++] = (struct auth_rcpt_target){mem_strdup(address), local};
}

/* One address that a virtual alias leads to. */
static enum err
add_found(struct smtpd *d, const char *address, struct auth_rcpt *out)
{
	struct auth_rcpt found;
	enum err e = auth_lookup_rcpt(d->auth, str_of(address), &found);
	size_t i;

	if (e == OK && found.kind == AUTH_RCPT_REMOTE)
		add_target(out, address, 0);
	else if (e == OK && (found.kind == AUTH_RCPT_MAILBOX || found.kind == AUTH_RCPT_ALIAS))
		for (i = 0; i < found.target_count; i++)
			add_target(out, found.targets[i].address, found.targets[i].local);
	else if (e == OK || !err_is_temporary(e))
		log_event(LOGL_WARN, "smtpd.alias ignored", "to", address, "reason",
			"nobody has this address", NULL);
	auth_rcpt_free(&found);
	return e && err_is_temporary(e) ? e : OK;
}

static enum err
lookup_virtual(struct smtpd *d, struct str address, struct auth_rcpt *out)
{
	struct rewrite_list list;
	size_t off;
	enum err e = rewrite_virtual(rewrite, address, &list);

	if (e)
		return e;
	out->kind = AUTH_RCPT_ALIAS;
	for (off = 0; e == OK && off < list.text.len; off += strlen(list.text.p + off) + 1)
		e = add_found(d, list.text.p + off, out);
	rewrite_list_free(&list);
	if (e == OK && out->target_count == 0)
		out->kind = AUTH_RCPT_UNKNOWN;
	if (e)
		auth_rcpt_free(out);
	return e;
}

enum err
smtpd_lookup_rcpt(struct smtpd *d, struct str address, struct auth_rcpt *out)
{
	struct buf canonical = BUF_INIT(MAP_KEY_MAX);
	enum err e;

	memset(out, 0, sizeof(*out));
	e = rewrite_envelope(rewrite, REWRITE_RECIPIENT, address, &canonical);
	if (e == OK) {
		e = lookup_virtual(d, buf_str(&canonical), out);
		if (e == E_NOTFOUND)
			e = auth_lookup_rcpt(d->auth, buf_str(&canonical), out);
		/* Elsewhere under its new name. */
		if (e == OK && out->kind == AUTH_RCPT_REMOTE &&
			!str_equal(buf_str(&canonical), address))
			add_target(out, buf_cstr(&canonical), 0);
	} else if (e == E_TOOBIG) {
		out->kind = AUTH_RCPT_LOOP;
		e = OK;
	}
	if (e == E_TOOBIG) {
		memset(out, 0, sizeof(*out));
		out->kind = AUTH_RCPT_LOOP;
		e = OK;
	}
	buf_free(&canonical);
	return e;
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
