/* SPDX-License-Identifier: MIT */
#include "imap/notify_private.h"

#include <stdlib.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

/*
 * The NOTIFY command (RFC 5465), and what is told between commands because of it. The session waits
 * for its client and the index service together; each notice makes a turn, which compares what the
 * client knows with what is there. So no notice is kept: whatever happened while a client took its
 * time is told as one change. The selected mailbox is told by imap_state_sync alone.
 */

static void
quiet_clear(struct imap_notify *n)
{
	while (n->quiet_count)
		free(n->quiet[--n->quiet_count]);
}

/* Forgets what was asked for, as NOTIFY NONE does. */
static void
clear(struct imap_notify *n)
{
	notify_request_fini(&n->request);
	n->selected = NULL;
	n->has_others = n->server_metadata = 0;
	notify_boxes_fini(&n->boxes);
	notify_entries_fini(&n->server);
	numset_free(&n->changed);
	n->tree_changed = 0;
	n->stuck = 0;
	quiet_clear(n);
}

void
imap_notify_free(struct imap_session *s)
{
	if (!s->notify)
		return;
	clear(s->notify);
	numset_free(&s->notify->own);
	MEM_FREE(s->notify);
}

int
imap_notify_is_on(const struct imap_session *s)
{
	const struct imap_notify *n = s->notify;

	return n && (n->has_others || n->overflow || (n->selected && n->selected->events));
}

/* ---- what the client did itself ---- */

void
imap_notify_own_name(struct imap_session *s, struct str name)
{
	struct imap_notify *n = s->notify;

	if (!n || !n->has_others || n->quiet_count == NOTIFY_QUIET_MAX)
		return;
	n->quiet[n->quiet_count++] = str_dup(name);
	n->tree_changed = 1;
}

void
imap_notify_own_messages(struct imap_session *s, uint32_t mailbox, const struct numset *uids)
{
	struct imap_notify *n = s->notify;
	struct notify_box *box;
	uint32_t last = uids->count ? uids->ranges[uids->count - 1].last : 0;

	if (!n || !last)
		return;
	if (s->view && mailbox == s->mailbox) {
		for (size_t i = 0; i < uids->count; i++)
			numset_add_range(&n->own, uids->ranges[i].first, uids->ranges[i].last);
		return;
	}
	box = notify_boxes_find_id(&n->boxes, mailbox);
	if (!box || !box->uidvalidity)
		return;
	/* If nobody else adds or removes anything that is what will be found. */
	box->messages += (uint32_t)numset_size(uids);
	if (box->uidnext <= last)
		box->uidnext = last + 1;
}

void
imap_notify_own_metadata(
	struct imap_session *s, uint32_t mailbox, const struct index_metadata *list, size_t count)
{
	struct imap_notify *n = s->notify;
	struct notify_box *box;

	if (!n)
		return;
	if (mailbox == INDEX_METADATA_SERVER) {
		if (n->server_metadata)
			notify_entries_set(&n->server, list, count);
		return;
	}
	box = notify_boxes_find_id(&n->boxes, mailbox);
	if (box && (box->events & IMAP_NOTIFY_METADATA))
		notify_entries_set(&box->entries, list, count);
}

/* ---- a turn ---- */

/* RFC 5465 section 5.8: as if NOTIFY NONE had come. */
static void
overflow(struct imap_session *s, const char *why)
{
	log_event(LOGL_INFO, "imap.notify overflow", "user", s->user.name, "reason", why, NULL);
	clear(s->notify);
	s->notify->overflow = 1;
}

/* 1: it is known from here on what happens, or nothing has to be. */
static int
watch(struct imap_session *s)
{
	struct imap_notify *n = s->notify;
	uint32_t box = s->view && n->selected && n->selected->events ? s->mailbox : 0;

	if (n->has_others && !n->watches_all) {
		n->watches_all = !index_watch(s->index, 0, 1);
		n->tree_changed |= n->watches_all;
	} else if (!n->has_others && n->watches_all) {
		(void)index_watch(s->index, 0, 0);
		n->watches_all = 0;
	}
	if (n->watched && n->watched != box) {
		(void)index_watch(s->index, n->watched, 0);
		n->watched = 0;
	}
	if (box && !n->watched)
		n->watched = index_watch(s->index, box, 1) ? 0 : box;
	return (!n->has_others || n->watches_all) && n->watched == box;
}

/* Takes the notices: there may be some although none of them is of interest. */
static int
news_take(struct imap_session *s)
{
	struct imap_notify *n = s->notify;
	struct numset boxes = {0};
	int changed = 0, tree = 0;

	if ((n->watches_all || n->watched) && index_watch_read(s->index, &changed)) {
		n->watches_all = 0;
		n->watched = 0;
	}
	index_watch_changed(s->index, &boxes, &tree);
	n->tree_changed |= tree;
	for (size_t i = 0; i < boxes.count; i++)
		numset_add_range(&n->changed, boxes.ranges[i].first, boxes.ranges[i].last);
	numset_free(&boxes);
	return changed;
}

static enum err
tree_look(struct imap_session *s)
{
	struct imap_notify *n = s->notify;
	struct notify_boxes now;
	enum err e = notify_boxes_load(s, &n->request, &now);

	if (e)
		return e;
	n->tree_changed = 0;
	numset_free(&n->changed);
	notify_boxes_compare(s, &n->boxes, &now, n->quiet, n->quiet_count);
	quiet_clear(n);
	notify_boxes_fini(&n->boxes);
	n->boxes = now;
	return n->server_metadata ? notify_entries_look(s, INDEX_METADATA_SERVER, "", &n->server)
				  : OK;
}

static enum err
boxes_look(struct imap_session *s)
{
	struct imap_notify *n = s->notify;
	struct numset changed = n->changed;
	enum err e = OK;

	n->changed = (struct numset){0};
	for (size_t i = 0; i < changed.count; i++) {
		for (uint64_t id = changed.ranges[i].first; id <= changed.ranges[i].last; id++) {
			struct notify_box *box = notify_boxes_find_id(&n->boxes, (uint32_t)id);

			if (!box || e)
				continue;
			e = notify_box_look(s, box);
			/* The notice of the tree is on its way. */
			e = e == E_NOTFOUND ? OK : e;
		}
	}
	numset_free(&changed);
	return e;
}

static void
others_tell(struct imap_session *s)
{
	struct imap_notify *n = s->notify;
	enum err e = n->tree_changed ? tree_look(s) : boxes_look(s);

	if (e == E_TOOBIG) {
		overflow(s, "mailboxes");
	} else if (e) {
		log_event(LOGL_WARN, "imap.notify failed", "error", err_word(e), NULL);
		n->tree_changed = 1;
	}
}

static int
watched_fd(const struct imap_session *s)
{
	return s->notify->watches_all || s->notify->watched ? index_watch_fd(s->index) : -1;
}

int
imap_notify_turn(struct imap_session *s, int with_expunges, int *again)
{
	struct imap_notify *n = s->notify;
	int known = watch(s), news = news_take(s);
	int takes = io_wait_writable(stream_fd(s->client), 0) != E_TIMEOUT;

	/* A client that does not read gets nothing more, and nobody waits for it. */
	if (!takes) {
		n->stuck += news != 0;
		if (n->stuck > NOTIFY_STUCK_MAX && !n->overflow)
			overflow(s, "client");
		*again = 1;
		return watched_fd(s);
	}
	n->stuck = 0;
	if (n->overflow) {
		n->overflow = 0;
		imap_untagged(s,
			"OK [NOTIFICATIONOVERFLOW] This is too much: no more notifications until "
			"the next NOTIFY");
	}
	s->command = with_expunges ? s->command : NULL;
	s->uid = with_expunges ? s->uid : 0;
	if (n->selected && n->selected->events)
		imap_state_sync(s, with_expunges || n->selected->filter == NOTIFY_SELECTED);
	if (n->has_others && !s->end)
		others_tell(s);
	*again = !known || n->overflow;
	return watched_fd(s);
}

/* ---- the command ---- */

static void
begin(struct imap_session *s, struct notify_request *r)
{
	struct imap_notify *n = s->notify;

	clear(n);
	n->overflow = 0;
	n->request = *r;
	*r = (struct notify_request){0};
	for (size_t i = 0; i < n->request.count; i++) {
		const struct notify_group *g = &n->request.groups[i];

		if (g->filter == NOTIFY_SELECTED || g->filter == NOTIFY_SELECTED_DELAYED) {
			n->selected = g;
		} else {
			n->has_others |= g->events != 0;
			n->server_metadata |= (g->events & IMAP_NOTIFY_SERVER_METADATA) != 0;
		}
	}
	/* What happens between the two is found by the first turn. */
	(void)watch(s);
	(void)news_take(s);
}

static enum err
set(struct imap_session *s, struct notify_request *r)
{
	struct notify_boxes boxes = {0};
	struct notify_entries server = {0};
	unsigned wanted = 0;
	enum err e = OK;

	for (size_t i = 0; i < r->count; i++)
		if (r->groups[i].filter > NOTIFY_SELECTED_DELAYED)
			wanted |= r->groups[i].events;
	if (wanted)
		e = notify_boxes_load(s, r, &boxes);
	if (!e && (wanted & IMAP_NOTIFY_SERVER_METADATA))
		e = notify_entries_load(s, INDEX_METADATA_SERVER, NOTIFY_ENTRIES_MAX, &server);
	if (e) {
		notify_boxes_fini(&boxes);
		return e;
	}
	if (!s->notify)
		s->notify = MEM_NEW(struct imap_notify);
	notify_boxes_send_refused(s, &boxes);
	if (r->status)
		notify_boxes_send_status(s, &boxes);
	begin(s, r);
	s->notify->boxes = boxes;
	s->notify->server = server;
	return OK;
}

/* It is a NOOP, too (section 3.1). */
static enum err
set_and_reply(struct imap_session *s, struct notify_request *r)
{
	enum err e;

	if (s->view)
		(void)index_refresh(s->index, s->mailbox);
	e = set(s, r);
	return e ? e : imap_reply_ok(s, NULL, "Notify completed");
}

static enum err
run_notify(struct imap_session *s, struct imap_parser *p)
{
	struct notify_request r;
	enum err e = notify_request_parse(p, &r);

	if (!e && r.too_much)
		e = E_TOOBIG;
	if (!e && r.bad_event)
		e = imap_reply_no(s,
			"BADEVENT (MessageNew MessageExpunge FlagChange MailboxName "
			"SubscriptionChange MailboxMetadataChange ServerMetadataChange)",
			"There is no such event");
	else if (!e)
		e = set_and_reply(s, &r);
	notify_request_fini(&r);
	if (!p->err && e == E_TOOBIG)
		return imap_reply_no(s, "NOTIFICATIONOVERFLOW", "This is too much to be watched");
	if (!p->err && e)
		return imap_reply_error(s, e, "mailbox");
	return e;
}

const struct imap_command imap_command_notify = {
	.name = "NOTIFY",
	.rfc = "5465 3.1",
	.states = IN_BOTH,
	.sync = IMAP_SYNC_ALL,
	.capabilities = "NOTIFY",
	.run = run_notify,
};
