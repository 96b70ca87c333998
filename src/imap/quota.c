/* SPDX-License-Identifier: MIT */
#include "imap/imap.h"

#include <inttypes.h>

#include "imap/rights.h"

/*
 * GETQUOTA and GETQUOTAROOT (RFC 9208). Limits are set by the administrator, so there is no
 * SETQUOTA and no QUOTASET.
 */

/* RFC 9208 section 5.1: STORAGE is counted in units of 1024 octets. */
static uint64_t
units(uint64_t bytes)
{
	return bytes / 1024 + (bytes % 1024 != 0);
}

/* Resources without a limit are not named (section 4.2.1). */
static void
quota_send(struct imap_session *s, struct str root, const struct index_quota *q)
{
	const char *gap = "";

	(void)buf_add_cstr(&s->out, "QUOTA ");
	imap_write_astring(&s->out, root);
	(void)buf_add_cstr(&s->out, " (");
	if (q->bytes_limit) {
		(void)buf_printf(&s->out, "STORAGE %" PRIu64 " %" PRIu64, units(q->bytes),
			units(q->bytes_limit));
		gap = " ";
	}
	if (q->messages_limit)
		(void)buf_printf(&s->out, "%sMESSAGE %" PRIu64 " %" PRIu64, gap, q->messages,
			q->messages_limit);
	(void)buf_add_char(&s->out, ')');
	imap_untagged_out(s);
}

static enum err
run_getquota(struct imap_session *s, struct imap_parser *p)
{
	struct index_quota q;
	struct str root;
	enum err e;

	(void)imap_parse_space(p);
	(void)imap_parse_astring(p, &root);
	if (imap_parse_end(p))
		return p->err;
	e = index_quota_root_get(s->index, root, &q);
	if (e == E_NOTFOUND)
		return imap_reply_no(s, "NONEXISTENT", "There is no such quota root");
	if (e)
		return imap_reply_error(s, e, "mailbox");
	quota_send(s, root, &q);
	return imap_reply_ok(s, NULL, "Getquota completed");
}

/* A mailbox that is not there yet would count for the user (section 4.1.2). */
static enum err
roots_get(struct imap_session *s, struct str name, struct index_quota_roots *roots)
{
	struct index_mailbox box = {0};
	enum err e = index_mailbox_get(s->index, name, &box);

	if (e == E_NOTFOUND)
		e = index_mailbox_get(s->index, STR("INBOX"), &box);
	/* RFC 9208 section 6 */
	if (!e)
		e = imap_rights_check(s, box.id, RIGHT_READ);
	if (!e)
		e = index_quota_roots(s->index, box.id, roots);
	index_mailbox_free(&box);
	return e;
}

static enum err
run_getquotaroot(struct imap_session *s, struct imap_parser *p)
{
	struct index_quota_roots roots = {0};
	struct str name;
	enum err e;

	(void)imap_parse_space(p);
	(void)imap_parse_mailbox(p, &name);
	if (imap_parse_end(p))
		return p->err;
	e = roots_get(s, name, &roots);
	if (e)
		return imap_reply_error(s, e, "mailbox");
	(void)buf_add_cstr(&s->out, "QUOTAROOT ");
	imap_write_mailbox(s, &s->out, name);
	for (size_t i = 0; i < roots.count; i++) {
		(void)buf_add_char(&s->out, ' ');
		imap_write_astring(&s->out, str_of(roots.items[i].name));
	}
	imap_untagged_out(s);
	for (size_t i = 0; i < roots.count; i++)
		quota_send(s, str_of(roots.items[i].name), &roots.items[i].use);
	index_quota_roots_free(&roots);
	return imap_reply_ok(s, NULL, "Getquotaroot completed");
}

const struct imap_command imap_command_getquota = {
	.name = "GETQUOTA",
	.rfc = "9208 4.1.1",
	.states = IN_BOTH,
	.sync = IMAP_SYNC_ALL,
	.capabilities = "QUOTA QUOTA=RES-STORAGE QUOTA=RES-MESSAGE",
	.run = run_getquota,
};
const struct imap_command imap_command_getquotaroot = {
	.name = "GETQUOTAROOT",
	.rfc = "9208 4.1.2",
	.states = IN_BOTH,
	.sync = IMAP_SYNC_ALL,
	.run = run_getquotaroot,
};
