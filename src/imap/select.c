/* SPDX-License-Identifier: MIT */
#include "imap/imap.h"

#include <inttypes.h>

#include "imap/fetch.h"
#include "imap/list.h"
#include "imap/rights.h"
#include "imap/seqset.h"
#include "imap/state.h"
#include "imap/urlauth.h"

/* ---- SELECT, EXAMINE ---- */

struct select {
	int read_only;
	struct str name;
	int condstore, qresync; /* parameters given */
	uint32_t uidvalidity;
	struct fetch_resync resync;
};

/* The set of a client's own knowledge: "*" means nothing there. */
static enum err
plain_set_parse(struct imap_parser *p, struct numset *out)
{
	size_t start = p->at;

	if (imap_parse_sequence_set(p, UINT32_MAX, out))
		return p->err;
	for (size_t i = start; i < p->at; i++) {
		if (p->line.p[i] == '*') {
			p->at = i;
			return imap_parser_fail(p, E_PARSE, "\"*\" is not allowed here");
		}
	}
	return OK;
}

/* "(seqs uids)" of the same size. */
static enum err
seq_match_parse(struct imap_parser *p, struct fetch_resync *r)
{
	(void)imap_parse_open(p);
	(void)plain_set_parse(p, &r->known_seqs);
	(void)imap_parse_space(p);
	(void)plain_set_parse(p, &r->known_seq_uids);
	if (!p->err && numset_size(&r->known_seqs) != numset_size(&r->known_seq_uids))
		return imap_parser_fail(p, E_PARSE, "the two sets differ in length");
	return imap_parse_close(p);
}

/* "(uidvalidity modseq [known-uids] [seq-match])" (RFC 7162 section 3.2.5). */
static enum err
qresync_parse(const struct imap_session *s, struct imap_parser *p, struct select *sel)
{
	struct fetch_resync *r = &sel->resync;

	sel->qresync = 1;
	(void)imap_parse_space(p);
	(void)imap_parse_open(p);
	(void)imap_parse_nz_number(p, &sel->uidvalidity);
	(void)imap_parse_space(p);
	(void)imap_parse_number64(p, &r->since);
	if (imap_parse_try(p, ' ') && imap_parse_peek(p) != '(') {
		r->has_uids = 1;
		(void)plain_set_parse(p, &r->uids);
		if (imap_parse_peek(p) == ')')
			return imap_parse_close(p);
		(void)imap_parse_space(p);
	}
	/* RFC 9586 section 3.7 */
	if (imap_parse_peek(p) == '(' && (s->enabled & IMAP_UIDONLY))
		return imap_parser_fail_code(
			p, "UIDREQUIRED", "there are no message numbers with UIDONLY");
	if (imap_parse_peek(p) == '(')
		(void)seq_match_parse(p, r);
	return imap_parse_close(p);
}

static enum err
params_parse(const struct imap_session *s, struct imap_parser *p, struct select *sel)
{
	size_t n = 0;

	(void)imap_parse_open(p);
	while (imap_parse_item(p, &n)) {
		size_t start = p->at;
		struct str word;

		if (imap_parse_atom(p, "expected a parameter", &word))
			break;
		if (str_is_i(word, "CONDSTORE")) {
			sel->condstore = 1;
		} else if (str_is_i(word, "QRESYNC") && !sel->qresync) {
			if (!(s->enabled & IMAP_QRESYNC)) {
				p->at = start;
				return imap_parser_fail(p, E_PARSE, "ENABLE QRESYNC first");
			}
			(void)qresync_parse(s, p, sel);
		} else {
			p->at = start;
			return imap_parser_fail(p, E_PARSE, "there is no such parameter");
		}
	}
	if (!p->err && n == 0)
		return imap_parser_fail(p, E_PARSE, "expected a parameter");
	return p->err;
}

static enum err
unseen_find(const struct index_message *m, void *arg)
{
	uint32_t *uid = arg;

	if (m->flags & INDEX_SEEN)
		return OK;
	*uid = m->uid;
	return E_CANCELLED; /* enough seen */
}

/* The first message without \Seen; 0: none. */
static uint32_t
first_unseen(struct imap_session *s, const struct index_mailbox *box)
{
	uint32_t uid = 0;

	if (box->unseen == 0)
		return 0;
	(void)index_message_each(s->index, s->mailbox, 1, UINT32_MAX, unseen_find, &uid);
	return uid ? index_view_seq(s->view, uid) : 0;
}

/* The untagged answers of RFC 3501 section 6.3.1 or RFC 9051 section 6.3.2. */
static void
mailbox_tell(struct imap_session *s, const struct index_mailbox *box)
{
	int rev2 = (s->enabled & IMAP_REV2) != 0;
	/* A message number, and not in IMAP4rev2. */
	uint32_t unseen = s->enabled & (IMAP_REV2 | IMAP_UIDONLY) ? 0 : first_unseen(s, box);

	imap_send_mailbox_flags(s);
	imap_untagged(s, "%" PRIu32 " EXISTS", index_view_count(s->view));
	if (rev2)
		imap_list_send_one(s, box, NULL);
	else
		imap_untagged(s, "%" PRIu64 " RECENT", numset_size(&s->recent));
	if (unseen)
		imap_untagged(s, "OK [UNSEEN %" PRIu32 "] First unseen", unseen);
	imap_untagged(s, "OK [UIDVALIDITY %" PRIu32 "] UIDs are valid", box->uidvalidity);
	imap_untagged(s, "OK [UIDNEXT %" PRIu32 "] Next UID", box->uidnext);
	imap_untagged(
		s, "OK [MAILBOXID (%c%s)] Id of the mailbox", IMAP_MAILBOX_ID, box->object_id);
	imap_urlauth_selected(s);
	imap_send_highest_modseq(s);
}

/* Opens the view and reads what is told, all of one moment. */
static enum err
mailbox_open(struct imap_session *s, struct index_mailbox *box)
{
	uint32_t id = box->id;
	enum err e = index_read_begin(s->index);

	if (e)
		return e;
	index_mailbox_free(box);
	*box = (struct index_mailbox){0};
	e = index_mailbox_get_id(s->index, id, box);
	if (!e)
		e = index_view_open(s->index, id, &s->view);
	if (!e)
		e = index_mailbox_keywords(s->index, id, &s->keywords, &s->keyword_count);
	if (!e)
		e = index_mailbox_keywords_epoch(s->index, id, &s->keywords_epoch);
	if (!e) {
		s->mailbox = id;
		s->uidvalidity = box->uidvalidity;
		imap_state_claim_recent(s, 1);
		imap_state_set(s, IMAP_SELECTED);
		stream_hold(s->client, 1);
		mailbox_tell(s, box);
	}
	index_read_end(s->index);
	stream_hold(s->client, 0);
	return e;
}

/* Also a SELECT that fails leaves the mailbox that was selected (RFC 3501 section 6.3.1). */
static void
leave(struct imap_session *s)
{
	if (!s->view)
		return;
	imap_state_unselect(s);
	imap_untagged(s, "OK [CLOSED] The mailbox before is closed");
}

static enum err
open_by_name(struct imap_session *s, const struct select *sel)
{
	struct index_mailbox box = {0};
	enum err e;

	leave(s);
	if (sel->condstore)
		imap_enable(s, IMAP_CONDSTORE);
	s->read_only = sel->read_only;
	e = index_mailbox_get(s->index, sel->name, &box);
	if (!e)
		e = imap_rights_get(s, box.id, &s->rights, NULL);
	/* Who may not know of it is not told that it is there (RFC 4314 section 6). */
	if (!e && !(s->rights & RIGHT_READ))
		e = s->rights & RIGHT_LOOKUP ? E_ACCESS : E_NOTFOUND;
	/* RFC 4314 section 5.2 */
	if (!e && !(s->rights & RIGHTS_CHANGE))
		s->read_only = 1;
	if (!e) {
		/*
		 * Without the service we can still read what it knew. A folder that is gone may be
		 * back under another name by now, with this number.
		 */
		e = index_refresh(s->index, box.id) == E_NOTFOUND ? E_NOTFOUND
								  : mailbox_open(s, &box);
	}
	if (!e)
		session_report(s->base, s->user.name, box.name);
	index_mailbox_free(&box);
	if (!e && sel->qresync && sel->uidvalidity == s->uidvalidity)
		e = imap_fetch_resync(s, &sel->resync);
	if (e) {
		imap_state_unselect(s);
		return imap_reply_error(s, e, "mailbox");
	}
	return imap_reply_ok(s, s->read_only ? "READ-ONLY" : "READ-WRITE",
		sel->read_only ? "Examine completed" : "Select completed");
}

static enum err
select_or_examine(struct imap_session *s, struct imap_parser *p, int read_only)
{
	struct select sel = {.read_only = read_only};
	enum err e;

	(void)imap_parse_space(p);
	(void)imap_parse_mailbox(p, &sel.name);
	if (imap_parse_try(p, ' '))
		(void)params_parse(s, p, &sel);
	e = imap_parse_end(p);
	if (!e)
		e = open_by_name(s, &sel);
	numset_free(&sel.resync.uids);
	numset_free(&sel.resync.known_seqs);
	numset_free(&sel.resync.known_seq_uids);
	return e;
}

static enum err
run_select(struct imap_session *s, struct imap_parser *p)
{
	return select_or_examine(s, p, 0);
}

static enum err
run_examine(struct imap_session *s, struct imap_parser *p)
{
	return select_or_examine(s, p, 1);
}

/* ---- CLOSE, UNSELECT ---- */

static enum err
run_close(struct imap_session *s, struct imap_parser *p)
{
	enum err e = OK;

	if (imap_parse_end(p))
		return p->err;
	if (!s->read_only)
		e = imap_rights_check(s, s->mailbox, RIGHT_EXPUNGE);
	if (!s->read_only && !e)
		e = index_expunge(s->index, s->mailbox, NULL, 0, NULL);
	/* RFC 4314 section 4: without the right CLOSE is an UNSELECT. */
	if (e && e != E_NOTFOUND && e != E_ACCESS)
		return imap_reply_error(s, e, "mailbox");
	imap_state_unselect(s);
	return imap_reply_ok(s, NULL, "Close completed");
}

static enum err
run_unselect(struct imap_session *s, struct imap_parser *p)
{
	if (imap_parse_end(p))
		return p->err;
	imap_state_unselect(s);
	return imap_reply_ok(s, NULL, "Unselect completed");
}

const struct imap_command imap_command_select = {
	.name = "SELECT",
	.rfc = "3501 6.3.1",
	.states = IN_BOTH,
	.sync = IMAP_SYNC_NOTHING,
	.run = run_select,
};
const struct imap_command imap_command_examine = {
	.name = "EXAMINE",
	.rfc = "3501 6.3.2",
	.states = IN_BOTH,
	.sync = IMAP_SYNC_NOTHING,
	.run = run_examine,
};
const struct imap_command imap_command_close = {
	.name = "CLOSE",
	.rfc = "3501 6.4.2",
	.states = IN_SELECTED,
	.sync = IMAP_SYNC_NOTHING,
	.run = run_close,
};
const struct imap_command imap_command_unselect = {
	.name = "UNSELECT",
	.rfc = "3691 2",
	.states = IN_SELECTED,
	.sync = IMAP_SYNC_NOTHING,
	.capabilities = "UNSELECT",
	.run = run_unselect,
};
