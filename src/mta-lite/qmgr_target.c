/* SPDX-License-Identifier: MIT */
#include "mta-lite/qmgr_target.h"

#include <string.h>

#include "mta-lite/ehlo.h"
#include "mta-lite/rcpt_lookup.h"

enum err
qmgr_target_look_up(const struct qmgr *q, struct qmgr_target *t)
{
	const struct config *conf = service_conf(q->run);
	struct auth_client *auth = auth_client_create(conf);
	const struct rcpt_lookup l = {
		.conf = conf, .auth = auth, .aliases = q->aliases, .srs = q->srs};
	/* Aliases of this machine are not to be had now: later. */
	enum err err = q->aliases ? rcpt_lookup_here(&l, str_of(t->to), &t->found) : E_TEMPFAIL;

	auth_client_free(&auth);
	if (err == E_PARSE || err == E_RANGE || err == E_TOOBIG)
		return E_NOTFOUND;
	if (err)
		return err;
	if (t->found.kind == AUTH_RCPT_REMOTE)
		return OK;
	return t->found.target_count > 0 && (t->found.kind == AUTH_RCPT_MAILBOX ||
						    t->found.kind == AUTH_RCPT_ALIAS)
		       ? OK
		       : E_NOTFOUND;
}

enum err
qmgr_target_set(const struct config *conf, const char *recipient, struct qmgr_target *t)
{
	struct buf to = BUF_INIT(SMTP_ADDRESS_SIZE - 1);
	enum err e;

	buf_add_cstr(&to, recipient);
	if (strchr(recipient, '@') == NULL)
		buf_printf(&to, "@%s", smtp_hostname(conf));
	e = to.err ? E_NOTFOUND : OK;
	if (e == OK) {
		memcpy(t->to, to.p, to.len);
		t->to[to.len] = '\0';
	}
	buf_free(&to);
	return e;
}

enum err
qmgr_target_postmaster(const struct qmgr *q, const char *recipient, struct qmgr_target *t)
{
	enum err e = qmgr_target_set(service_conf(q->run), recipient, t);

	t->flags = QUEUE_BOUNCE | QUEUE_DOUBLE_BOUNCE;
	return e ? e : qmgr_target_look_up(q, t);
}

void
qmgr_target_add(const struct qmgr_target *t, struct queue_entry *out)
{
	size_t i;

	/* RFC 3461 section 6.1: no report about a report. */
	if (t->found.kind == AUTH_RCPT_REMOTE)
		(void)queue_entry_add_rcpt(out, t->to, "", DSN_NOTIFY_NEVER, 0);
	for (i = 0; i < t->found.target_count && t->found.kind != AUTH_RCPT_REMOTE; i++)
		(void)queue_entry_add_rcpt(out, t->found.targets[i].address, "",
			t->flags & QUEUE_DOUBLE_BOUNCE ? DSN_NOTIFY_NEVER : 0,
			t->found.targets[i].local);
}
