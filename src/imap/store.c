/* SPDX-License-Identifier: MIT */
#include "imap/imap.h"

#include "imap/seqset.h"

/* STORE, UID STORE (RFC 3501 section 6.4.6). */

struct store {
	struct numset seqs, uids;
	enum index_store_op op;
	int silent;
	struct imap_flags flags;
	uint64_t modseq; /* of the change */
};

static enum err
store_parse(struct imap_session *s, struct imap_parser *p, struct store *st)
{
	size_t start;
	struct str item;

	(void)imap_parse_space(p);
	(void)imap_parse_messages(s, p, &st->seqs);
	(void)imap_parse_space(p);
	st->op = INDEX_STORE_REPLACE;
	if (imap_parse_try(p, '+'))
		st->op = INDEX_STORE_ADD;
	else if (imap_parse_try(p, '-'))
		st->op = INDEX_STORE_REMOVE;
	start = p->at;
	if (imap_parse_word(p, "expected FLAGS", &item))
		return p->err;
	st->silent = str_is_i(item, "FLAGS.SILENT");
	if (!st->silent && !str_is_i(item, "FLAGS")) {
		p->at = start;
		return imap_parser_fail(p, E_PARSE, "expected FLAGS or FLAGS.SILENT");
	}
	(void)imap_parse_space(p);
	(void)imap_parse_store_flags(p, &st->flags);
	return imap_parse_end(p);
}

struct telling {
	struct imap_session *s;
	const struct store *st;
};

/*
 * Tells the new flags, or with .SILENT notes that the client knows them. A message that somebody
 * else changed after our change is left to the synchronization.
 */
static enum err
message_tell(const struct index_message *m, void *arg)
{
	struct telling *t = arg;

	if (!t->st->silent)
		imap_send_flags(t->s, index_view_seq(t->s->view, m->uid), m, t->s->uid);
	else if (m->modseq == t->st->modseq)
		index_view_told(t->s->view, m->uid, m->modseq);
	return OK;
}

/* The ranges of uids come from the view: there is no other message between their ends. */
static void
result_tell(struct imap_session *s, const struct store *st)
{
	struct telling t = {s, st};

	if (index_read_begin(s->index))
		return;
	for (size_t i = 0; i < st->uids.count; i++)
		(void)index_message_each(s->index, s->mailbox, st->uids.ranges[i].first,
			st->uids.ranges[i].last, message_tell, &t);
	index_read_end(s->index);
}

static enum err
store_do(struct imap_session *s, struct store *st)
{
	enum err e;

	if (s->read_only)
		return imap_reply_no(s, "READ-ONLY", "The mailbox is selected read-only");
	imap_seqset_to_uids(s->view, &st->seqs, &st->uids);
	if (numset_is_empty(&st->uids))
		return imap_reply_ok(s, NULL, "Store completed, no messages");
	/* What others changed is told first: .SILENT must not swallow it. */
	imap_state_sync(s, 0);
	e = index_store(s->index, s->mailbox, &st->uids, st->op, st->flags.system,
		st->flags.keywords, st->flags.count, UINT64_MAX, NULL, &st->modseq);
	if (e == E_TOOBIG)
		return imap_reply_no(s, "LIMIT", "Too many different keywords in this mailbox");
	if (e)
		return imap_reply_error(s, e, "mailbox");
	result_tell(s, st);
	return imap_reply_ok(s, NULL, "Store completed");
}

static enum err
run_store(struct imap_session *s, struct imap_parser *p)
{
	struct store st = {0};
	enum err e = store_parse(s, p, &st);

	if (!e)
		e = store_do(s, &st);
	imap_flags_free(&st.flags);
	numset_free(&st.seqs);
	numset_free(&st.uids);
	return e;
}

const struct imap_command imap_command_store = {
	.name = "STORE",
	.rfc = "3501 6.4.6",
	.states = IN_SELECTED,
	.uid = 1,
	.sync = IMAP_SYNC_NO_EXPUNGE,
	.run = run_store,
};
