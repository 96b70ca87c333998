/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/smtpd_pipe.h"
#include "mta-lite/smtpd_proxy.h"
#include "mta-lite/smtpd_rewrite.h"

#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/mem.h"

/*
 * What tables said of a message besides yes and no (access(5)): other and further recipients, the
 * hold queue, a filter.
 */

static const char busy[] = "451 4.3.0 Directory not available, try again later";

/* NULL: added. A further recipient that nobody knows is left out, with a line in the log. */
static const char *
add_address(struct smtpd *d, const char *address, unsigned notify, const char *action)
{
	struct smtp_rcpt rcpt = {.notify = notify};
	struct auth_rcpt found;
	struct queue_entry *q = &d->t.entry;
	const char *problem = NULL;
	size_t i = q->rcpt_count;
	enum err e;

	if (smtp_mailbox_parse(str_of(address), &rcpt.to) != OK || rcpt.to.domain == 0) {
		log_event(LOGL_WARN, "smtpd.action failed", "action", action, "to", address,
			"reason", "it is no address", NULL);
		return NULL;
	}
	e = smtpd_lookup_rcpt(d, str_of(rcpt.to.address), &found);
	if (e)
		problem = err_is_temporary(e) ? busy : NULL;
	else if (found.kind == AUTH_RCPT_MAILBOX || found.kind == AUTH_RCPT_ALIAS ||
		 found.kind == AUTH_RCPT_REMOTE)
		smtpd_add_targets(d, &rcpt, &found);
	else
		log_event(LOGL_WARN, "smtpd.action failed", "action", action, "to", address,
			"reason", "nobody has this address", NULL);
	auth_rcpt_free(&found);
	/* The sender never named it. */
	for (; i < q->rcpt_count; i++)
		q->rcpts[i].forwarded = q->rcpts[i].local == QUEUE_ELSEWHERE;
	return problem;
}

/* All recipients give way to one. */
static const char *
redirect(struct smtpd *d)
{
	struct queue_entry *q = &d->t.entry;
	const char *problem;

	smtpd_forget_targets(d);
	problem = add_address(d, d->t.effects.redirect, 0, "REDIRECT");
	/* It was meant for somebody: to take it and drop it would be a lie. */
	if (problem == NULL && q->rcpt_count == 0)
		problem = "451 4.3.5 Server configuration error";
	return problem;
}

/* What comes back from a filter passes no other one, whatever tables say: it would go round. */
static void
set_filter(struct smtpd *d)
{
	struct queue_entry *q = &d->t.entry;

	free(q->filter);
	q->filter = NULL;
	if (d->kind == SMTPD_REINJECT)
		return;
	if (d->t.effects.filter)
		q->filter = mem_strdup(d->t.effects.filter);
	else if (smtpd_proxy_is_set(d))
		q->filter = smtpd_proxy_hop(d);
	else if (d->conf->content_filter[0])
		q->filter = mem_strdup(d->conf->content_filter);
	else
		return;
	if (smtpd_pipe_gives_back(d, q->filter)) {
		MEM_FREE(q->filter);
		return;
	}
	free(q->xforward);
	q->xforward = smtpd_xforward_text(d);
}

const char *
smtpd_effects_apply(struct smtpd *d)
{
	const struct restrict_effects *e = &d->t.effects;
	const char *problem = NULL;
	size_t i;

	if (e->redirect)
		problem = redirect(d);
	if (e->hold)
		d->t.entry.flags |= QUEUE_HELD;
	set_filter(d);
	for (i = 0; i < e->bcc_count && problem == NULL; i++)
		problem = add_address(d, e->bcc[i], DSN_NOTIFY_NEVER, "BCC");
	return problem;
}
