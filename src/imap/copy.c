/* SPDX-License-Identifier: MIT */
#include "imap/imap.h"

#include <inttypes.h>

#include "imap/limit.h"
#include "imap/notify.h"
#include "imap/rights.h"
#include "imap/seqset.h"

/* COPY (RFC 3501 section 6.4.7), MOVE (RFC 6851), both with COPYUID (RFC 4315 section 3). */

static void
copyuid_write(const struct index_copied *c, struct buf *out)
{
	(void)buf_printf(out, "COPYUID %" PRIu32 " ", c->uidvalidity);
	(void)numset_format(&c->src, out);
	(void)buf_add_char(out, ' ');
	(void)numset_format(&c->dst, out);
}

static enum err
result_tell(struct imap_session *s, const struct index_copied *c, int move,
	const struct imap_limit *limit)
{
	enum err e;

	/* All of them were gone already. */
	if (numset_is_empty(&c->src))
		return imap_limit_reply_ok(s, limit, NULL, "Completed, no messages");
	if (move) {
		/* RFC 6851 section 4.3: the UIDs before the EXPUNGEs, which the reply sends. */
		(void)buf_add_cstr(&s->out, "OK [");
		copyuid_write(c, &s->out);
		(void)buf_add_cstr(&s->out, "] Moved");
		imap_untagged_out(s);
		return imap_limit_reply_ok(s, limit, NULL, "Move completed");
	}
	copyuid_write(c, &s->out);
	e = imap_reply_ok(s, buf_cstr(&s->out), "Copy completed");
	buf_reset(&s->out);
	return e;
}

/* RFC 4314 section 4: flags that may not be set there are lost, and nothing fails for them. */
static unsigned
how(int move, unsigned rights)
{
	unsigned lost = INDEX_FLAGS_ALL & ~index_rights_flags(rights);

	if (!(rights & RIGHT_WRITE))
		lost |= INDEX_COPY_KEYWORDS;
	return (move ? INDEX_COPY_MOVE : 0) | INDEX_COPY_WITHOUT(lost);
}

static enum err
copy_do(struct imap_session *s, struct numset *seqs, struct str name, int move)
{
	struct index_mailbox to = {0};
	struct index_copied copied = {0};
	struct numset uids = {0};
	struct imap_limit limit;
	unsigned rights = 0;
	enum err e = OK;

	if (move && s->read_only)
		return imap_reply_no(s, "READ-ONLY", "The mailbox is selected read-only");
	/* RFC 9738 section 3.1: COPY does all or nothing. */
	imap_limit_cut(s->view, seqs,
		move ? imap_limit_of_messages(s->conf) : imap_limit_of_saving(s->conf), &limit);
	if (limit.messages && !move)
		return imap_limit_reply_no(s, &limit);
	/* RFC 6851 section 4.4 */
	if (move)
		e = imap_rights_check(s, s->mailbox, RIGHT_DELETE | RIGHT_EXPUNGE);
	e = e ? e : index_mailbox_get(s->index, name, &to);
	e = e ? e : imap_rights_get(s, to.id, &rights, NULL);
	if (!e && !(rights & RIGHT_INSERT))
		e = E_ACCESS;
	imap_seqset_to_uids(s->view, seqs, &uids);
	if (!e && !numset_is_empty(&uids))
		e = index_copy(s->index, s->mailbox, to.id, &uids, how(move, rights), &copied);
	if (e == E_NOTFOUND)
		e = imap_reply_no(s, "TRYCREATE", "There is no such mailbox");
	else if (e)
		e = imap_reply_error(s, e, "mailbox");
	else {
		imap_notify_own_messages(s, to.id, &copied.dst);
		e = result_tell(s, &copied, move, &limit);
	}
	index_mailbox_free(&to);
	numset_free(&copied.src);
	numset_free(&copied.dst);
	numset_free(&uids);
	return e;
}

static enum err
copy_or_move(struct imap_session *s, struct imap_parser *p, int move)
{
	struct numset seqs = {0};
	struct str name;
	enum err e;

	(void)imap_parse_space(p);
	(void)imap_parse_messages(s, p, &seqs);
	(void)imap_parse_space(p);
	(void)imap_parse_mailbox(p, &name);
	e = imap_parse_end(p);
	if (!e)
		e = copy_do(s, &seqs, name, move);
	numset_free(&seqs);
	return e;
}

static enum err
run_copy(struct imap_session *s, struct imap_parser *p)
{
	return copy_or_move(s, p, 0);
}

static enum err
run_move(struct imap_session *s, struct imap_parser *p)
{
	return copy_or_move(s, p, 1);
}

const struct imap_command imap_command_copy = {
	.name = "COPY",
	.rfc = "3501 6.4.7",
	.states = IN_SELECTED,
	.uid = 1,
	.sync = IMAP_SYNC_ALL,
	.run = run_copy,
};
const struct imap_command imap_command_move = {
	.name = "MOVE",
	.rfc = "6851 3.1",
	.states = IN_SELECTED,
	.uid = 1,
	.expunges = 1,
	.sync = IMAP_SYNC_ALL,
	.capabilities = "MOVE",
	.run = run_move,
};
