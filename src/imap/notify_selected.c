/* SPDX-License-Identifier: MIT */
#include "imap/notify_private.h"

#include "lib/log.h"

/* What NOTIFY means for the selected mailbox: asked by imap_state_sync, which tells it. */

unsigned
imap_notify_selected(const struct imap_session *s)
{
	const struct imap_notify *n = s->notify;
	unsigned events = n && n->selected ? n->selected->events : 0;

	if (!n)
		return IMAP_NOTIFY_MESSAGES | IMAP_NOTIFY_FLAGS;
	/* What is gone is the answer to these. */
	return s->command && s->command->expunges ? events | IMAP_NOTIFY_MESSAGES : events;
}

void
imap_notify_fetch_new(struct imap_session *s, uint32_t behind_uid)
{
	struct imap_notify *n = s->notify;
	struct numset all = {0}, wanted = {0};
	uint32_t last = imap_largest(s, 1);
	enum err e = OK;

	if (!n || !n->selected || last <= behind_uid)
		return;
	numset_add_range(&all, behind_uid + 1, last);
	numset_subtract(&all, &n->own, &wanted);
	numset_remove_range(&n->own, 0, last);
	if (n->request.has_fetch && !numset_is_empty(&wanted))
		e = imap_fetch_unasked(s, &n->request.fetch, &wanted);
	if (e)
		log_event(LOGL_WARN, "imap.notify failed", "error", err_word(e), "mailbox",
			log_u64(s->mailbox), NULL);
	numset_free(&all);
	numset_free(&wanted);
}

void
imap_notify_miss_flags(struct imap_session *s, uint64_t modseq)
{
	if (!s->notify->flags_missed)
		s->notify->flags_missed = modseq ? modseq : 1;
}

uint64_t
imap_notify_flags_missed(const struct imap_session *s)
{
	return s->notify ? s->notify->flags_missed : 0;
}

void
imap_notify_forget_flags(struct imap_session *s)
{
	s->notify->flags_missed = 0;
}

void
imap_notify_unselected(struct imap_session *s)
{
	if (!s->notify)
		return;
	s->notify->flags_missed = 0;
	numset_free(&s->notify->own);
	/* What happened in it, and was not told of it, is news of another mailbox now. */
	if (s->mailbox && s->notify->has_others)
		numset_add(&s->notify->changed, s->mailbox);
}
