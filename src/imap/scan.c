/* SPDX-License-Identifier: MIT */
#include "imap/scan.h"

static enum err
on_message(const struct index_message *m, void *arg)
{
	struct imap_scan *scan = arg;
	const struct index_view *view = scan->view;
	uint32_t last = scan->seqs->ranges[scan->range].last, uid = 0;
	enum err e;

	while (scan->next <= last && (uid = index_view_uid(view, scan->next)) < m->uid) {
		scan->next++;
		scan->gone++;
	}
	/* A message in the mailbox that the client has not been told of is none of its business. */
	if (scan->next > last || uid != m->uid)
		return OK;
	e = scan->visit(scan->next, m, scan->ctx);
	if (!e)
		scan->next++;
	return e;
}

static enum err
scan_range(struct imap_scan *scan, const struct numset_range *r)
{
	enum err e = OK;

	if (scan->next < r->first)
		scan->next = r->first;
	if (scan->next <= r->last)
		e = index_message_each(scan->index, scan->mailbox,
			index_view_uid(scan->view, scan->next), index_view_uid(scan->view, r->last),
			on_message, scan);
	if (e)
		return e;
	if (scan->next <= r->last) {
		scan->gone += (uint64_t)r->last - scan->next + 1;
		scan->next = r->last;
	}
	scan->range++;
	return OK;
}

enum err
imap_scan_round(struct imap_scan *scan, int *more)
{
	enum err e = index_read_begin(scan->index);

	*more = 0;
	if (e)
		return e;
	while (!e && scan->range < scan->seqs->count)
		e = scan_range(scan, &scan->seqs->ranges[scan->range]);
	index_read_end(scan->index);
	*more = e == E_CANCELLED;
	return e == E_CANCELLED ? OK : e;
}
