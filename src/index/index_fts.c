/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "index/fts/fts_proto.h"
#include "index/index_service.h"
#include "lib/ipc.h"
#include "lib/link.h"
#include "lib/mem.h"

/*
 * Word to roost-fts. It may be lost: roost-fts compares UIDs whenever it looks, and does so too
 * when the user searches.
 */
struct word {
	struct index_service_state *service;
	struct buf body;
};

/* In the main thread, which has the connection. */
static void
word_pass_on(void *owner, void *arg)
{
	struct word *w = arg;

	(void)owner;
	if (service_conf(w->service->run)->fts && link_open(w->service->fts) == OK)
		link_notify(w->service->fts, FTS_CHANGED, buf_str(&w->body));
	buf_free(&w->body);
	free(w);
}

void
index_fts_changed(struct index_user_entry *u)
{
	struct timeval tv = {INDEX_FTS_MS / 1000, INDEX_FTS_MS % 1000 * 1000};

	if (!event_pending(u->fts, EV_TIMEOUT, NULL))
		event_add(u->fts, &tv);
}

void
index_fts_tell(evutil_socket_t fd, short what, void *user)
{
	struct index_user_entry *u = user;
	struct word *w = MEM_NEW(struct word);

	(void)fd;
	(void)what;
	w->service = u->worker->service;
	ipc_put_cstr(&w->body, u->name);
	ipc_put_cstr(&w->body, u->maildir);
	ipc_put_cstr(&w->body, u->index_dir);
	index_queue_add(&w->service->queue, word_pass_on, w);
}
