/* SPDX-License-Identifier: MIT */
#include "imap/imap.h"

#include <strings.h>

#include "imap/limit.h"
#include "imap/progress.h"
#include "imap/rights.h"
#include "imap/seqset.h"

/* STORE, UID STORE (RFC 3501 section 6.4.6), with UNCHANGEDSINCE (RFC 7162 section 3.1.3). */

/*
 * Many messages are changed and told in pieces: others get their turn at the index, and what is
 * told is sent between two transactions.
 */
enum { PIECE_MESSAGES = 1000 };

struct store {
	struct numset seqs, all; /* as the client named them; their UIDs */
	struct numset uids; /* the piece at hand */
	struct imap_limit limit;
	enum index_store_op op;
	int silent;
	struct imap_flags flags;
	unsigned mask; /* those of the system's that the user may change */
	int keywords; /* may change these */
	int conditional; /* UNCHANGEDSINCE was given */
	uint64_t unchanged_since; /* else UINT64_MAX */
	struct numset failed; /* UIDs that had changed since: of all, and of the piece */
	struct numset piece_failed;
	struct numset surprising; /* others changed them since the client heard of them last */
	uint64_t modseq; /* of the change of what is not surprising; 0: nothing was changed */
};

/* "(UNCHANGEDSINCE n) " in front of the flags, if it is there. */
static enum err
modifiers_parse(struct imap_parser *p, struct store *st)
{
	st->unchanged_since = UINT64_MAX;
	if (imap_parse_peek(p) != '(')
		return p->err;
	(void)imap_parse_open(p);
	if (!p->err && !imap_parse_try_word(p, "UNCHANGEDSINCE"))
		return imap_parser_fail(p, E_PARSE, "expected UNCHANGEDSINCE");
	st->conditional = 1;
	(void)imap_parse_space(p);
	(void)imap_parse_number64(p, &st->unchanged_since);
	(void)imap_parse_close(p);
	return imap_parse_space(p);
}

static enum err
store_parse(struct imap_session *s, struct imap_parser *p, struct store *st)
{
	size_t start;
	struct str item;

	(void)imap_parse_space(p);
	(void)imap_parse_messages(s, p, &st->seqs);
	(void)imap_parse_space(p);
	(void)modifiers_parse(p, st);
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
 * Tells the new flags, or with .SILENT notes that the client knows them: a CONDSTORE client gets
 * the new mod-sequence alone. A message that somebody else changed after our change is left to the
 * synchronization, unless the store was conditional: then each message has an answer.
 */
static enum err
message_tell(const struct index_message *m, void *arg)
{
	struct telling *t = arg;
	struct imap_session *s = t->s;
	int ours = m->modseq == t->st->modseq;

	if (numset_contains(&t->st->piece_failed, m->uid))
		return OK;
	if (!t->st->silent || (t->st->conditional && !ours) ||
		numset_contains(&t->st->surprising, m->uid))
		imap_send_flags(s, index_view_seq(s->view, m->uid), m, s->uid);
	else if (ours && (s->enabled & IMAP_CONDSTORE))
		imap_send_modseq(s, index_view_seq(s->view, m->uid), m);
	else if (ours)
		index_view_told(s->view, m->uid, m->modseq);
	return OK;
}

/* The ranges of uids come from the view: there is no other message between their ends. */
static void
result_tell(struct imap_session *s, const struct store *st)
{
	struct telling t = {s, st};

	if (index_read_begin(s->index))
		return;
	stream_hold(s->client, 1);
	for (size_t i = 0; i < st->uids.count; i++)
		(void)index_message_each(s->index, s->mailbox, st->uids.ranges[i].first,
			st->uids.ranges[i].last, message_tell, &t);
	index_read_end(s->index);
	stream_hold(s->client, 0);
}

/* What failed the condition, as the client named it; the others are done (RFC 7162 section 3.1.3).
 */
static enum err
reply(struct imap_session *s, const struct store *st)
{
	struct numset seqs = {0};
	struct buf code = BUF_INIT(0);

	if (numset_is_empty(&st->failed))
		return imap_limit_reply_ok(s, &st->limit, NULL, "Store completed");
	if (!s->uid)
		imap_seqset_from_uids(s->view, &st->failed, &seqs);
	(void)buf_add_cstr(&code, "MODIFIED ");
	(void)numset_format(s->uid ? &st->failed : &seqs, &code);
	(void)imap_limit_reply_ok(
		s, &st->limit, buf_cstr(&code), "Some of them were changed by somebody else");
	buf_free(&code);
	numset_free(&seqs);
	return OK;
}

static int
is_asked_for(const struct imap_flags *f, const char *keyword)
{
	for (size_t i = 0; i < f->count; i++)
		if (strcasecmp(f->keywords[i], keyword) == 0)
			return 1;
	return 0;
}

/*
 * FLAGS by one who may change some of them: those that are not named go, those that are come, and
 * the others stay as they are. A condition holds for the first of the two steps.
 */
static enum err
replace_some(struct imap_session *s, struct store *st, const struct numset *uids,
	uint64_t unchanged_since, struct numset *failed, uint64_t *modseq)
{
	const char *gone[INDEX_KEYWORDS_MAX];
	struct numset left = {0}, conflicts = {0};
	uint64_t first = 0;
	size_t n = 0;
	enum err e;

	imap_refresh_keywords(s, NULL);
	for (size_t i = 0; i < s->keyword_count && st->keywords; i++)
		if (s->keywords[i][0] && !is_asked_for(&st->flags, s->keywords[i]))
			gone[n++] = s->keywords[i];
	e = index_store(s->index, s->mailbox, uids, INDEX_STORE_REMOVE,
		st->mask & ~st->flags.system, gone, n, unchanged_since, &conflicts, &first);
	numset_copy(&left, uids);
	for (size_t i = 0; i < conflicts.count; i++)
		numset_remove_range(&left, conflicts.ranges[i].first, conflicts.ranges[i].last);
	*modseq = first;
	if (!e && !numset_is_empty(&left))
		e = index_store(s->index, s->mailbox, &left, INDEX_STORE_ADD,
			st->flags.system & st->mask, st->flags.keywords,
			st->keywords ? st->flags.count : 0, UINT64_MAX, NULL, modseq);
	if (!e && *modseq == 0)
		*modseq = first;
	numset_copy(failed, &conflicts);
	numset_free(&left);
	numset_free(&conflicts);
	return e;
}

static enum err
change(struct imap_session *s, struct store *st, const struct numset *uids,
	uint64_t unchanged_since, struct numset *failed, uint64_t *modseq)
{
	if (st->op == INDEX_STORE_REPLACE && (st->mask != INDEX_FLAGS_ALL || !st->keywords))
		return replace_some(s, st, uids, unchanged_since, failed, modseq);
	return index_store(s->index, s->mailbox, uids, st->op, st->flags.system & st->mask,
		st->flags.keywords, st->keywords ? st->flags.count : 0, unchanged_since, failed,
		modseq);
}

/*
 * With .SILENT the client works out the new flags from those it knows. Messages that others changed
 * and it was not told of are therefore changed in a second step, and their flags are told. So a
 * client that saw no flags of a message during the command knows that it knows them.
 */
static enum err
change_piece(struct imap_session *s, struct store *st)
{
	uint64_t known = index_view_modseq(s->view), modseq;
	struct numset *failed = &st->piece_failed;
	enum err e;

	numset_free(failed);
	numset_free(&st->surprising);
	if (!st->silent || st->unchanged_since <= known)
		return change(s, st, &st->uids, st->unchanged_since, failed, &st->modseq);
	e = change(s, st, &st->uids, known, &st->surprising, &st->modseq);
	if (!e && !numset_is_empty(&st->surprising))
		e = change(s, st, &st->surprising, st->unchanged_since, failed, &modseq);
	return e;
}

/* Moves the next piece from all to uids; the number of its messages. */
static uint64_t
piece_take(struct store *st)
{
	uint64_t left = PIECE_MESSAGES;
	size_t i = 0;

	numset_free(&st->uids);
	for (; i < st->all.count && left > 0; i++) {
		const struct numset_range *r = &st->all.ranges[i];
		uint64_t n = (uint64_t)r->last - r->first + 1;

		n = n < left ? n : left;
		numset_add_range(&st->uids, r->first, (uint32_t)(r->first + n - 1));
		left -= n;
	}
	if (!numset_is_empty(&st->uids))
		numset_remove_range(&st->all, 0, st->uids.ranges[st->uids.count - 1].last);
	return PIECE_MESSAGES - left;
}

/* All of them, also for a client that hangs up meanwhile: it asked for it. */
static enum err
change_all(struct imap_session *s, struct store *st)
{
	struct imap_progress progress;
	uint64_t done = 0, n;
	enum err e = OK;

	imap_progress_begin(&progress, s, numset_size(&st->all));
	while (!e && (n = piece_take(st)) > 0) {
		e = change_piece(s, st);
		if (e)
			break;
		result_tell(s, st);
		for (size_t i = 0; i < st->piece_failed.count; i++)
			numset_add_range(&st->failed, st->piece_failed.ranges[i].first,
				st->piece_failed.ranges[i].last);
		done += n;
		(void)imap_progress_tick(&progress, done);
	}
	return e;
}

/*
 * RFC 4314 section 4: what may not be changed is passed over. E_ACCESS when nothing that was named
 * is left, or with FLAGS nothing that could be changed.
 */
static enum err
rights_apply(struct imap_session *s, struct store *st)
{
	enum err e = imap_rights_selected(s);
	int left;

	st->mask = index_rights_flags(s->rights);
	st->keywords = (s->rights & RIGHT_WRITE) != 0;
	if (st->op == INDEX_STORE_REPLACE)
		left = st->mask != 0;
	else
		left = (st->flags.system & st->mask) || (st->flags.count && st->keywords) ||
		       (!st->flags.system && !st->flags.count);
	return e ? e : left ? OK : E_ACCESS;
}

static enum err
store_do(struct imap_session *s, struct store *st)
{
	enum err e;

	if (s->read_only)
		return imap_reply_no(s, "READ-ONLY", "The mailbox is selected read-only");
	e = rights_apply(s, st);
	if (e)
		return imap_reply_error(s, e, "mailbox");
	if (st->conditional)
		imap_enable(s, IMAP_CONDSTORE);
	imap_limit_cut(s->view, &st->seqs, imap_limit_of_messages(s->conf), &st->limit);
	imap_seqset_to_uids(s->view, &st->seqs, &st->all);
	if (numset_is_empty(&st->all))
		return imap_reply_ok(s, NULL, "Store completed, no messages");
	e = change_all(s, st);
	if (e == E_TOOBIG)
		return imap_reply_no(s, "LIMIT", "Too many different keywords in this mailbox");
	if (e)
		return imap_reply_error(s, e, "mailbox");
	return reply(s, st);
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
	numset_free(&st.all);
	numset_free(&st.uids);
	numset_free(&st.failed);
	numset_free(&st.piece_failed);
	numset_free(&st.surprising);
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
