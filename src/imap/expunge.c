/* SPDX-License-Identifier: MIT */
#include "imap/imap.h"

#include "imap/rights.h"
#include "imap/seqset.h"

/* EXPUNGE (RFC 3501 section 6.4.3), UID EXPUNGE (RFC 4315 section 2.1). */
static enum err
run_expunge(struct imap_session *s, struct imap_parser *p)
{
	struct numset seqs = {0}, uids = {0};
	enum err e;

	if (s->uid) {
		(void)imap_parse_space(p);
		(void)imap_parse_messages(s, p, &seqs);
	}
	e = imap_parse_end(p);
	if (e)
		goto out;
	if (s->read_only) {
		e = imap_reply_no(s, "READ-ONLY", "The mailbox is selected read-only");
		goto out;
	}
	e = imap_rights_check(s, s->mailbox, RIGHT_EXPUNGE);
	if (e) {
		e = imap_reply_error(s, e, "mailbox");
		goto out;
	}
	imap_seqset_to_uids(s->view, &seqs, &uids);
	if (!s->uid || !numset_is_empty(&uids))
		e = index_expunge(s->index, s->mailbox, s->uid ? &uids : NULL, 0, NULL);
	/* The reply tells the EXPUNGEs. */
	e = e ? imap_reply_error(s, e, "mailbox") : imap_reply_ok(s, NULL, "Expunge completed");
out:
	numset_free(&seqs);
	numset_free(&uids);
	return e;
}

const struct imap_command imap_command_expunge = {
	.name = "EXPUNGE",
	.rfc = "3501 6.4.3",
	.states = IN_SELECTED,
	.uid = 1,
	.numberless = 1,
	.expunges = 1,
	.sync = IMAP_SYNC_ALL,
	.run = run_expunge,
};
