/* SPDX-License-Identifier: MIT */
#include "imap/imap.h"

#include <inttypes.h>

#include "imap/incoming.h"
#include "imap/rights.h"
#include "imap/seqset.h"

/* REPLACE and UID REPLACE (RFC 8508): a message comes and another goes, as one. */

/* <seq-number> or <uniqueid>, "*" too. *uid 0: it is not there. */
static enum err
message_parse(struct imap_session *s, struct imap_parser *p, uint32_t *uid)
{
	uint32_t n = imap_largest(s, s->uid);

	if (!imap_parse_try(p, '*') && imap_parse_nz_number(p, &n))
		return p->err;
	*uid = s->uid ? (index_view_seq(s->view, n) ? n : 0) : index_view_uid(s->view, n);
	if (!*uid && !s->uid)
		return imap_parser_fail(p, E_PARSE, "there is no message with this number");
	return OK;
}

static enum err
replace_commit(struct imap_session *s, struct imap_incoming *in, uint32_t uid)
{
	uint32_t uidvalidity, new_uid;
	enum err e = index_append_replace(
		s->index, s->mailbox, uid, in->message, &in->info, &uidvalidity, &new_uid);

	if (e == E_NOTFOUND)
		return imap_reply_no(s, "NONEXISTENT", "The message is not there any more");
	if (e)
		return imap_reply_error(s, e, "mailbox");
	/* Section 4.3: the new UID before the EXPUNGE, which the reply sends. */
	imap_untagged(s, "OK [APPENDUID %" PRIu32 " %" PRIu32 "] Replaced", uidvalidity, new_uid);
	return imap_reply_ok(s, NULL, "Replace completed");
}

/* OK: the message is there. E_CANCELLED: *in says why not. Others are the parser's. */
static enum err
replace_take(struct imap_session *s, struct imap_parser *p, struct imap_incoming *in, uint32_t *uid)
{
	struct index_mailbox box = {0};
	struct str name;
	enum err e;

	(void)imap_parse_space(p);
	(void)message_parse(s, p, uid);
	(void)imap_parse_space(p);
	(void)imap_parse_mailbox(p, &name);
	if (imap_parse_space(p))
		return p->err;
	in->replaces = 1;
	/* RFC 8508 section 5 */
	e = imap_rights_check(s, s->mailbox, RIGHT_DELETE | RIGHT_EXPUNGE);
	e = e ? e : index_mailbox_get(s->index, name, &box);
	e = e ? imap_incoming_refuse(in, e) : imap_incoming_take(s, p, box.id, in);
	index_mailbox_free(&box);
	return e ? e : imap_parse_end(p);
}

static enum err
run_replace(struct imap_session *s, struct imap_parser *p)
{
	struct imap_incoming in = {0};
	uint32_t uid = 0;
	enum err e = replace_take(s, p, &in, &uid);

	if (p->err)
		e = p->err;
	else if (e == E_CANCELLED)
		e = imap_incoming_reply(s, &in);
	else if (s->read_only)
		e = imap_reply_no(s, "READ-ONLY", "The mailbox is selected read-only");
	else if (!uid)
		e = imap_reply_no(s, "NONEXISTENT", "There is no message with this UID");
	else
		e = replace_commit(s, &in, uid);
	imap_incoming_fini(&in);
	return e;
}

const struct imap_command imap_command_replace = {
	.name = "REPLACE",
	.rfc = "8508 3.2",
	.states = IN_SELECTED,
	.uid = 1,
	.expunges = 1,
	.sync = IMAP_SYNC_ALL,
	.capabilities = "REPLACE",
	.run = run_replace,
};
