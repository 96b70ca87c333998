/* SPDX-License-Identifier: MIT */
#include "imap/imap.h"

#include <inttypes.h>

#include "imap/state.h"

/* ---- SELECT, EXAMINE ---- */

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

/* The untagged answers of RFC 3501 section 6.3.1. */
static void
mailbox_tell(struct imap_session *s, const struct index_mailbox *box)
{
	uint32_t unseen = first_unseen(s, box);

	imap_send_mailbox_flags(s);
	imap_untagged(s, "%" PRIu32 " EXISTS", index_view_count(s->view));
	imap_untagged(s, "%" PRIu64 " RECENT", numset_size(&s->recent));
	if (unseen)
		imap_untagged(s, "OK [UNSEEN %" PRIu32 "] First unseen", unseen);
	imap_untagged(s, "OK [UIDVALIDITY %" PRIu32 "] UIDs are valid", box->uidvalidity);
	imap_untagged(s, "OK [UIDNEXT %" PRIu32 "] Next UID", box->uidnext);
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
	if (!e) {
		s->mailbox = id;
		s->uidvalidity = box->uidvalidity;
		imap_state_claim_recent(s, 1);
		imap_state_set(s, IMAP_SELECTED);
		mailbox_tell(s, box);
	}
	index_read_end(s->index);
	return e;
}

static enum err
open_by_name(struct imap_session *s, struct imap_parser *p, int read_only)
{
	struct index_mailbox box = {0};
	struct str name;
	enum err e;

	(void)imap_parse_space(p);
	(void)imap_parse_mailbox(p, &name);
	if (imap_parse_end(p))
		return p->err;
	/* Also a SELECT that fails leaves the mailbox that was selected (RFC 3501 section 6.3.1).
	 */
	imap_state_unselect(s);
	s->read_only = read_only;
	e = index_mailbox_get(s->index, name, &box);
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
	if (e) {
		imap_state_unselect(s);
		return imap_reply_error(s, e, "mailbox");
	}
	return read_only ? imap_reply_ok(s, "READ-ONLY", "Examine completed")
			 : imap_reply_ok(s, "READ-WRITE", "Select completed");
}

static enum err
run_select(struct imap_session *s, struct imap_parser *p)
{
	return open_by_name(s, p, 0);
}

static enum err
run_examine(struct imap_session *s, struct imap_parser *p)
{
	return open_by_name(s, p, 1);
}

/* ---- CLOSE, UNSELECT ---- */

static enum err
run_close(struct imap_session *s, struct imap_parser *p)
{
	enum err e = OK;

	if (imap_parse_end(p))
		return p->err;
	if (!s->read_only)
		e = index_expunge(s->index, s->mailbox, NULL, 0, NULL);
	if (e && e != E_NOTFOUND)
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
