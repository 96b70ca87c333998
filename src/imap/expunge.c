/* SPDX-License-Identifier: MIT */
#include "imap/imap.h"

#include "imap/limit.h"
#include "imap/rights.h"
#include "imap/seqset.h"

static enum err
note_deleted(const struct index_message *m, void *arg)
{
	if (m->flags & INDEX_DELETED)
		numset_add(arg, m->uid);
	return OK;
}

/*
 * RFC 9738 section 3.1: of UID EXPUNGE those count that are \\Deleted; EXPUNGE and CLOSE have no
 * limit.
 */
static enum err
limit_apply(struct imap_session *s, struct numset *uids, struct imap_limit *limit)
{
	uint32_t max = imap_limit_of_messages(s->conf);
	struct numset deleted = {0}, seqs = {0};
	enum err e;

	*limit = (struct imap_limit){0};
	if (numset_size(uids) <= max)
		return OK;
	e = index_read_begin(s->index);
	if (e)
		return e;
	for (size_t i = 0; i < uids->count && !e; i++)
		e = index_message_each(s->index, s->mailbox, uids->ranges[i].first,
			uids->ranges[i].last, note_deleted, &deleted);
	index_read_end(s->index);
	imap_seqset_from_uids(s->view, &deleted, &seqs);
	imap_limit_cut(s->view, &seqs, max, limit);
	if (!e)
		imap_seqset_to_uids(s->view, &seqs, uids);
	numset_free(&deleted);
	numset_free(&seqs);
	return e;
}

/* EXPUNGE (RFC 3501 section 6.4.3), UID EXPUNGE (RFC 4315 section 2.1). */
static enum err
run_expunge(struct imap_session *s, struct imap_parser *p)
{
	struct numset seqs = {0}, uids = {0};
	struct imap_limit limit = {0};
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
	e = limit_apply(s, &uids, &limit);
	if (!e && (!s->uid || !numset_is_empty(&uids)))
		e = index_expunge(s->index, s->mailbox, s->uid ? &uids : NULL, 0, NULL);
	/* The reply tells the EXPUNGEs. */
	e = e ? imap_reply_error(s, e, "mailbox")
	      : imap_limit_reply_ok(s, &limit, NULL, "Expunge completed");
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
