/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/rcpt_lookup.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/forward.h"
#include "mta-lite/queue_file.h"

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

/* RFC 5321 section 4.5.1: there is a postmaster in each domain. */
static int
is_postmaster(struct str address)
{
	size_t at = str_find(address, 0, '@');
	struct str name = str_make(address.p, at);

	return str_is_i(name, "postmaster") || str_is_i(name, "abuse");
}

/* A domain of this machine is one of ours, too. */
static enum err
ask_directory(const struct rcpt_lookup *l, struct str address, struct auth_rcpt *out)
{
	enum err e = auth_lookup_rcpt(l->auth, address, out);

	if (!e && out->kind == AUTH_RCPT_NO_DOMAINS && (l->conf->local_domains.count > 0 || l->srs))
		out->kind = AUTH_RCPT_UNKNOWN;
	return e;
}

enum err
rcpt_lookup_directory(const struct rcpt_lookup *l, struct str address, struct auth_rcpt *out)
{
	enum err e = ask_directory(l, address, out);
	size_t i;

	/* The directory's aliases may lead to those of this machine. */
	for (i = 0; e == OK && i < out->target_count; i++) {
		if (!out->targets[i].local &&
			aliases_is_local(l->aliases, str_of(out->targets[i].address)))
			out->targets[i].local = QUEUE_ALIAS;
	}
	/* A domain that the directory does not have is still ours. */
	if (e || out->kind != AUTH_RCPT_REMOTE ||
		(!aliases_is_local(l->aliases, address) && !srs_in_domain(l->srs, address)))
		return e;
	out->kind = AUTH_RCPT_UNKNOWN;
	if (!is_postmaster(address))
		return OK;
	auth_rcpt_free(out);
	return ask_directory(l, STR("postmaster"), out);
}

/* The sender to whom a rewritten address leads back. */
static enum err
lookup_rewritten(const struct rcpt_lookup *l, struct str address, struct auth_rcpt *out)
{
	struct buf sender = {0};
	enum err e = srs_reverse(l->srs, address, (int64_t)time(NULL), &sender);

	memset(out, 0, sizeof(*out));
	if (e) {
		/* Whatever is wrong with it: see smtpd_srs_reject. */
		out->kind = AUTH_RCPT_UNKNOWN;
		buf_free(&sender);
		return OK;
	}
	/* Each round makes the address shorter. */
	e = rcpt_lookup_here(l, buf_str(&sender), out);
	if (e == OK && out->kind == AUTH_RCPT_REMOTE) {
		out->kind = AUTH_RCPT_ALIAS;
		add_target(out, buf_cstr(&sender), 0);
	}
	buf_free(&sender);
	return e;
}

/* OK: there is one, or it cannot be told now; roost-local sees to it. */
static enum err
find_forward(const struct rcpt_lookup *l, struct str address)
{
	struct forward f;
	enum err e = forward_find(l->conf, l->aliases, address, &f);

	if (e == OK && f.state == FORWARD_NONE)
		e = E_NOTFOUND;
	forward_free(&f);
	return e;
}

enum err
rcpt_lookup_here(const struct rcpt_lookup *l, struct str address, struct auth_rcpt *out)
{
	struct buf value = BUF_INIT(MAP_VALUE_MAX);
	enum err e;

	if (srs_is_rewritten(l->srs, address))
		return lookup_rewritten(l, address, out);
	e = aliases_find(l->aliases, address, &value);
	memset(out, 0, sizeof(*out));
	buf_free(&value);
	if (e == E_NOTFOUND)
		e = find_forward(l, address);
	if (e == E_NOTFOUND)
		return rcpt_lookup_directory(l, address, out);
	if (e == OK) {
		char *text = str_dup(address);

		out->kind = AUTH_RCPT_ALIAS;
		add_target(out, text, QUEUE_ALIAS);
		free(text);
	}
	return e;
}

/* One address that a virtual alias leads to. */
static enum err
add_found(const struct rcpt_lookup *l, const char *address, struct auth_rcpt *out)
{
	struct auth_rcpt found;
	enum err e = rcpt_lookup_here(l, str_of(address), &found);
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
lookup_virtual(const struct rcpt_lookup *l, struct str address, struct auth_rcpt *out)
{
	struct rewrite_list list;
	size_t off;
	enum err e = rewrite_virtual(l->rewrite, address, &list);

	if (e)
		return e;
	out->kind = AUTH_RCPT_ALIAS;
	for (off = 0; e == OK && off < list.text.len; off += strlen(list.text.p + off) + 1)
		e = add_found(l, list.text.p + off, out);
	rewrite_list_free(&list);
	if (e == OK && out->target_count == 0)
		out->kind = AUTH_RCPT_UNKNOWN;
	if (e)
		auth_rcpt_free(out);
	return e;
}

enum err
rcpt_lookup(const struct rcpt_lookup *l, struct str address, struct auth_rcpt *out)
{
	struct buf canonical = BUF_INIT(MAP_KEY_MAX);
	enum err e;

	if (srs_is_rewritten(l->srs, address))
		return rcpt_lookup_here(l, address, out);
	memset(out, 0, sizeof(*out));
	e = rewrite_envelope(l->rewrite, REWRITE_RECIPIENT, address, &canonical);
	if (e == OK) {
		e = lookup_virtual(l, buf_str(&canonical), out);
		if (e == E_NOTFOUND)
			e = rcpt_lookup_here(l, buf_str(&canonical), out);
		/* Elsewhere under its new name. */
		if (e == OK && out->kind == AUTH_RCPT_REMOTE &&
			!str_equal(buf_str(&canonical), address))
			add_target(out, buf_cstr(&canonical), 0);
	}
	if (e == E_TOOBIG) {
		memset(out, 0, sizeof(*out));
		out->kind = AUTH_RCPT_LOOP;
		e = OK;
	}
	buf_free(&canonical);
	return e;
}

enum err
rcpt_lookup_rewrites_sender(const struct rcpt_lookup *l, const char *sender, int *rewrites)
{
	struct auth_rcpt found;
	enum err e;

	*rewrites = 0;
	if (!srs_applies(l->srs, sender))
		return OK;
	e = rcpt_lookup(l, str_of(sender), &found);
	/* What is no address of ours can be somebody else's. */
	*rewrites = e || found.kind == AUTH_RCPT_REMOTE || found.kind == AUTH_RCPT_NO_DOMAINS;
	auth_rcpt_free(&found);
	return e && err_is_temporary(e) ? e : OK;
}
