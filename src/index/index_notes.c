/* SPDX-License-Identifier: MIT */
#include "index/index_service.h"

#include <stdlib.h>

#include "lib/log.h"
#include "lib/mem.h"

/*
 * The first look at an adopted mailbox brings a cache record and facts for each message. A
 * transaction for each would cost more than finding them out did.
 */
struct index_notes {
	struct index_core_note list[INDEX_NOTES_MAX];
	size_t offsets[INDEX_NOTES_MAX]; /* of the blobs in bytes, which moves as it grows */
	size_t count;
	struct buf bytes;
};

static void
on_notes(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	index_notes_flush(arg);
}

void
index_note_add(struct index_user_entry *u, const struct index_core_note *note)
{
	static const struct timeval soon = {0, INDEX_NOTES_MS * 1000};
	struct index_notes *n = u->notes;

	if (!n) {
		n = u->notes = MEM_NEW(struct index_notes);
		u->notes_event = evtimer_new(u->worker->base, on_notes, u);
	}
	if (n->count == 0)
		event_add(u->notes_event, &soon);
	n->list[n->count] = *note;
	n->offsets[n->count++] = n->bytes.len;
	buf_add_str(&n->bytes, note->blob);
	if (n->count == INDEX_NOTES_MAX || n->bytes.len >= INDEX_NOTES_BYTES_MAX)
		index_notes_flush(u);
}

void
index_notes_flush(struct index_user_entry *u)
{
	struct index_notes *n = u->notes;
	enum err e;

	if (!n || n->count == 0)
		return;
	for (size_t i = 0; i < n->count; i++)
		if (n->list[i].blob.len)
			n->list[i].blob.p = n->bytes.p + n->offsets[i];
	e = index_core_notes_put(u->core, n->list, n->count);
	if (e)
		log_event(LOGL_WARN, "index.notes failed", "user", u->name, "error", err_word(e),
			NULL);
	if (e == E_CORRUPT)
		index_user_corrupt(u);
	index_notes_free(u);
}

void
index_notes_free(struct index_user_entry *u)
{
	if (!u->notes)
		return;
	event_free(u->notes_event);
	buf_free(&u->notes->bytes);
	MEM_FREE(u->notes);
	u->notes_event = NULL;
}
